// SPDX-License-Identifier: Apache-2.0
// bench.h on top of Google Benchmark. bench_state is the library's State under another name.

#include "shim/bench.h"

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace {

benchmark::State &state_of(bench_state *state) {
    return *reinterpret_cast<benchmark::State *>(state);
}

const benchmark::State &state_of(const bench_state *state) {
    return *reinterpret_cast<const benchmark::State *>(state);
}

} // namespace

extern "C" {

void bench_register(const bench_spec *spec) {
    void (*run)(bench_state *) = spec->run;
    benchmark::internal::Benchmark *bench =
        benchmark::RegisterBenchmark(spec->name, [run](benchmark::State &state) {
            run(reinterpret_cast<bench_state *>(&state));
        });
    std::vector<std::string> names;
    std::vector<std::vector<int64_t>> values;
    for (size_t i = 0; i < 2 && spec->arg_name[i] != nullptr; i++) {
        names.emplace_back(spec->arg_name[i]);
        values.emplace_back(spec->arg[i], spec->arg[i] + spec->arg_count[i]);
    }
    if (!names.empty())
        bench->ArgNames(names)->ArgsProduct(values);
    for (size_t i = 0; i < spec->threads_count; i++)
        bench->Threads(spec->threads[i]);
    if (spec->real_time != 0)
        bench->UseRealTime();
}

int bench_main(int argc, char **argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}

uint64_t bench_begin(bench_state *state) {
    benchmark::State &s = state_of(state);
    // One batch of all iterations; the library is not asked again until it is done.
    s.KeepRunningBatch(s.max_iterations);
    return static_cast<uint64_t>(s.max_iterations);
}

void bench_end(bench_state *state) { state_of(state).KeepRunningBatch(1); }

void bench_pause(bench_state *state) { state_of(state).PauseTiming(); }

void bench_resume(bench_state *state) { state_of(state).ResumeTiming(); }

int64_t bench_arg(const bench_state *state, size_t index) { return state_of(state).range(index); }

int bench_thread(const bench_state *state) { return state_of(state).thread_index(); }

int bench_threads(const bench_state *state) { return state_of(state).threads(); }

void bench_items(bench_state *state, uint64_t items) {
    state_of(state).SetItemsProcessed(static_cast<int64_t>(items));
}

void bench_counter(bench_state *state, const char *name, double value) {
    state_of(state).counters[name] = benchmark::Counter(value);
}

void bench_skip(bench_state *state, const char *reason) { state_of(state).SkipWithError(reason); }

} // extern "C"
