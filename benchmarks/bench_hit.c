// SPDX-License-Identifier: Apache-2.0
// The fast path: a block of one size is allocated and freed again, so the same block comes back
// every time and no tier below the thread's own cache is asked.

#include "bench_suite.h"
#include "shim/bench.h"

#include <malloc.h>
#include <stdlib.h>

enum { RING = 16 }; // blocks live at a time in `hit_ring`; a power of two

// malloc and free of the same size, nothing live in between.
static void hit(struct bench_state *state) {
    const size_t bytes = (size_t)bench_arg(state, 0);
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        void *block = malloc(bytes);
        bench_keep(block);
        free(block);
    }
    bench_end(state);
    bench_items(state, iterations);
}

// The same with a few blocks live, freed oldest first: free does not get what malloc just gave.
static void hit_ring(struct bench_state *state) {
    const size_t bytes = (size_t)bench_arg(state, 0);
    void *ring[RING] = {NULL};
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        free(ring[i % RING]);
        ring[i % RING] = malloc(bytes);
        bench_keep(ring[i % RING]);
    }
    bench_end(state);
    for (unsigned i = 0; i < RING; i++)
        free(ring[i]);
    bench_items(state, iterations);
}

// Sizes from a mixed sequence: the size class cannot be predicted.
static void hit_mixed(struct bench_state *state) {
    size_t bytes[64];
    uint32_t seed = 1;
    for (unsigned i = 0; i < BENCH_COUNT(bytes); i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = 8 + (seed >> 16) % 1000;
    }
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        void *block = malloc(bytes[i % BENCH_COUNT(bytes)]);
        bench_keep(block);
        free(block);
    }
    bench_end(state);
    bench_items(state, iterations);
}

static void usable_size(struct bench_state *state) {
    void *block = malloc((size_t)bench_arg(state, 0));
    size_t sum = 0;
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        sum += malloc_usable_size(block);
        bench_keep(&sum);
    }
    bench_end(state);
    free(block);
    bench_items(state, iterations);
}

void bench_register_hit(void) {
    static const int64_t sizes[] = {8, 16, 64, 256, 1024, 4096, 16384, 65536, 262144};
    static const int64_t few_sizes[] = {64, 2000};
    static const int threads[] = {1, 2};
    bench_register(&(struct bench_spec){
        .name = "hit",
        .run = hit,
        .arg_name = {"bytes"},
        .arg = {sizes},
        .arg_count = {BENCH_COUNT(sizes)},
        .threads = threads,
        .threads_count = BENCH_COUNT(threads),
    });
    bench_register(&(struct bench_spec){
        .name = "hit_ring",
        .run = hit_ring,
        .arg_name = {"bytes"},
        .arg = {few_sizes},
        .arg_count = {BENCH_COUNT(few_sizes)},
    });
    bench_register(&(struct bench_spec){.name = "hit_mixed", .run = hit_mixed});
    bench_register(&(struct bench_spec){
        .name = "usable_size",
        .run = usable_size,
        .arg_name = {"bytes"},
        .arg = {few_sizes},
        .arg_count = {BENCH_COUNT(few_sizes)},
    });
}
