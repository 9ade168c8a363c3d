// SPDX-License-Identifier: Apache-2.0
// Splitting and merging of runs of pages: neighbours are freed in an order that leaves holes, the
// holes are joined, and requests of other sizes are cut from them.

#include "bench_suite.h"
#include "shim/bench.h"

#include <stdlib.h>

enum {
    RUNS = 64,
    RUN_BYTES = 320 * 1024, // above what any thread caches
};

static void take(void **run, unsigned count, size_t bytes) {
    for (unsigned i = 0; i < count; i++) {
        run[i] = malloc(bytes);
        bench_keep(run[i]);
    }
}

static void give(void **run, unsigned first, unsigned step) {
    for (unsigned i = first; i < RUNS; i += step) {
        free(run[i]);
        run[i] = NULL;
    }
}

// 64 runs; every second is freed, so no two holes touch; then the others, so all merge; then half
// as many runs of twice the size are cut from what came together.
static void split_merge(struct bench_state *state) {
    void *run[RUNS] = {NULL};
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        take(run, RUNS, RUN_BYTES);
        give(run, 0, 2);
        give(run, 1, 2);
        take(run, RUNS / 2, 2 * (size_t)RUN_BYTES);
        give(run, 0, 1);
    }
    bench_end(state);
    bench_items(state, iterations * (RUNS + RUNS / 2));
}

// Holes stay: every second run is freed and its place is asked for again in two halves.
static void split_holes(struct bench_state *state) {
    void *run[RUNS];
    void *half[RUNS];
    take(run, RUNS, RUN_BYTES);
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        for (unsigned j = 0; j < RUNS; j += 2)
            free(run[j]);
        take(half, RUNS, RUN_BYTES / 2);
        give(half, 0, 1);
        for (unsigned j = 0; j < RUNS; j += 2) {
            run[j] = malloc(RUN_BYTES);
            bench_keep(run[j]);
        }
    }
    bench_end(state);
    give(run, 0, 1);
    bench_items(state, iterations * (RUNS + RUNS / 2));
}

void bench_register_span(void) {
    static const int threads[] = {1, 2};
    bench_register(&(struct bench_spec){
        .name = "split_merge",
        .run = split_merge,
        .threads = threads,
        .threads_count = BENCH_COUNT(threads),
    });
    bench_register(&(struct bench_spec){
        .name = "split_holes",
        .run = split_holes,
        .threads = threads,
        .threads_count = BENCH_COUNT(threads),
    });
}
