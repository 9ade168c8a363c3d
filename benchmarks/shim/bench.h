// SPDX-License-Identifier: Apache-2.0
// C interface to Google Benchmark. A benchmark is a C function that asks how many iterations to do,
// does them in a loop of its own, and says when it is done, so nothing of the library stands
// between two iterations:
//
//     static void hit(struct bench_state *state)
//     {
//         const size_t bytes = (size_t)bench_arg(state, 0);
//         const uint64_t iterations = bench_begin(state);
//         for (uint64_t i = 0; i < iterations; i++) {
//             void *block = malloc(bytes);
//             bench_keep(block);
//             free(block);
//         }
//         bench_end(state);
//         bench_items(state, iterations);
//     }
//
// With several threads the function runs in each of them; bench_begin() waits for all.

#ifndef LARDER_BENCHMARKS_SHIM_BENCH_H
#define LARDER_BENCHMARKS_SHIM_BENCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_state;

// How a benchmark is to be run. Unused members stay zero.
struct bench_spec {
    const char *name;
    void (*run)(struct bench_state *state);
    const char *arg_name[2]; // as shown in the report; NULL after the last
    const int64_t *arg[2];   // values of each argument; every combination is run
    size_t arg_count[2];     // number of those values
    const int *threads;      // thread counts to run with; NULL: one thread
    size_t threads_count;
    int real_time; // nonzero: judge by elapsed time instead of CPU time
};

// Adds a benchmark. The spec is copied; its strings must stay.
void bench_register(const struct bench_spec *spec);

// Parses Google Benchmark's flags (--benchmark_filter and so on; --help lists them), runs what was
// registered and reports. Returns the exit status.
int bench_main(int argc, char **argv);

// Starts the clock, once all threads are here; returns the iterations this thread is to do (>= 1).
uint64_t bench_begin(struct bench_state *state);
// Stops the clock. Each bench_begin() needs exactly one.
void bench_end(struct bench_state *state);

// Take the clock out for work that belongs to no iteration. Each costs some hundred nanoseconds:
// only around work of tens of microseconds.
void bench_pause(struct bench_state *state);
void bench_resume(struct bench_state *state);

// The value of argument 0 or 1 in this run.
int64_t bench_arg(const struct bench_state *state, size_t index);
// This thread's number, 0..bench_threads()-1.
int bench_thread(const struct bench_state *state);
int bench_threads(const struct bench_state *state);

// After bench_end(): operations done by this thread, reported as a rate over all threads.
void bench_items(struct bench_state *state, uint64_t items);
// After bench_end(): a figure of this thread, summed over the threads.
void bench_counter(struct bench_state *state, const char *name, double value);
// Ends the benchmark with an error in the report. Call instead of bench_begin().
void bench_skip(struct bench_state *state, const char *reason);

// The compiler must assume that the block is used here, so malloc and free stay where they are.
static inline void bench_keep(void *block) { __asm__ volatile("" : : "r"(block) : "memory"); }

#ifdef __cplusplus
}
#endif

#endif
