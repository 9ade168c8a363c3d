// SPDX-License-Identifier: Apache-2.0
// Large blocks, served by whole runs of pages: bare, and with every page written.

#include "bench_suite.h"
#include "shim/bench.h"

#include <stdlib.h>
#include <sys/resource.h>

enum { PAGE = 4096 };

// Page faults of this thread so far that needed no disk.
static double page_faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (double)usage.ru_minflt;
}

static void large(struct bench_state *state) {
    const size_t bytes = (size_t)bench_arg(state, 0);
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        char *block = malloc(bytes);
        block[0] = 1;
        bench_keep(block);
        free(block);
    }
    bench_end(state);
    bench_items(state, iterations);
}

static void large_written(struct bench_state *state) {
    const size_t bytes = (size_t)bench_arg(state, 0);
    const double faults = page_faults();
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        char *block = malloc(bytes);
        for (size_t at = 0; at < bytes; at += PAGE)
            block[at] = 1;
        bench_keep(block);
        free(block);
    }
    bench_end(state);
    bench_items(state, iterations);
    bench_counter(state, "page_faults", (page_faults() - faults) / (double)iterations);
}

void bench_register_large(void) {
    static const int64_t sizes[] = {512 << 10, 1 << 20, 4 << 20, 32 << 20, 256 << 20};
    static const int64_t written_sizes[] = {512 << 10, 4 << 20, 32 << 20};
    static const int threads[] = {1, 2};
    bench_register(&(struct bench_spec){
        .name = "large",
        .run = large,
        .arg_name = {"bytes"},
        .arg = {sizes},
        .arg_count = {BENCH_COUNT(sizes)},
        .threads = threads,
        .threads_count = BENCH_COUNT(threads),
    });
    bench_register(&(struct bench_spec){
        .name = "large_written",
        .run = large_written,
        .arg_name = {"bytes"},
        .arg = {written_sizes},
        .arg_count = {BENCH_COUNT(written_sizes)},
    });
}
