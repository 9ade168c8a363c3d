// SPDX-License-Identifier: Apache-2.0
// Misses: more blocks are taken, and then given back, than a thread's cache holds, so that refills
// and flushes run. With few blocks the same loop measures a cache used to some depth.

#include "bench_suite.h"
#include "shim/bench.h"

#include <stdlib.h>

enum { MAX_BLOCKS = 100000 };

struct blocks {
    void *at[MAX_BLOCKS];
};

static void fill(struct blocks *blocks, size_t count, size_t bytes) {
    for (size_t i = 0; i < count; i++) {
        blocks->at[i] = malloc(bytes);
        bench_keep(blocks->at[i]);
    }
}

static void drain(struct blocks *blocks, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(blocks->at[i]);
}

static struct blocks *prepare(struct bench_state *state, size_t *bytes, size_t *count) {
    *bytes = (size_t)bench_arg(state, 0);
    *count = (size_t)bench_arg(state, 1);
    struct blocks *blocks = malloc(sizeof *blocks);
    if (blocks == NULL)
        bench_skip(state, "out of memory");
    return blocks;
}

// One iteration allocates `blocks` blocks and frees them in the same order.
static void fill_drain(struct bench_state *state) {
    size_t bytes, count;
    struct blocks *blocks = prepare(state, &bytes, &count);
    if (blocks == NULL)
        return;
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        fill(blocks, count, bytes);
        drain(blocks, count);
    }
    bench_end(state);
    bench_items(state, iterations * count);
    free(blocks);
}

// The same with the clock running only while blocks are taken.
static void refill(struct bench_state *state) {
    size_t bytes, count;
    struct blocks *blocks = prepare(state, &bytes, &count);
    if (blocks == NULL)
        return;
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        fill(blocks, count, bytes);
        bench_pause(state);
        drain(blocks, count);
        bench_resume(state);
    }
    bench_end(state);
    bench_items(state, iterations * count);
    free(blocks);
}

// The same with the clock running only while blocks are given back.
static void flush(struct bench_state *state) {
    size_t bytes, count;
    struct blocks *blocks = prepare(state, &bytes, &count);
    if (blocks == NULL)
        return;
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        bench_pause(state);
        fill(blocks, count, bytes);
        bench_resume(state);
        drain(blocks, count);
    }
    bench_end(state);
    bench_items(state, iterations * count);
    free(blocks);
}

void bench_register_refill(void) {
    static const int64_t sizes[] = {16, 64, 256, 2000};
    static const int64_t counts[] = {100, 1000, 10000, MAX_BLOCKS};
    static const int64_t few_sizes[] = {64, 2000};
    // Fewer blocks would measure the clock: see bench_pause().
    static const int64_t large_counts[] = {10000, MAX_BLOCKS};
    static const int threads[] = {1, 2};
    bench_register(&(struct bench_spec){
        .name = "fill_drain",
        .run = fill_drain,
        .arg_name = {"bytes", "blocks"},
        .arg = {sizes, counts},
        .arg_count = {BENCH_COUNT(sizes), BENCH_COUNT(counts)},
        .threads = threads,
        .threads_count = BENCH_COUNT(threads),
    });
    bench_register(&(struct bench_spec){
        .name = "refill",
        .run = refill,
        .arg_name = {"bytes", "blocks"},
        .arg = {few_sizes, large_counts},
        .arg_count = {BENCH_COUNT(few_sizes), BENCH_COUNT(large_counts)},
    });
    bench_register(&(struct bench_spec){
        .name = "flush",
        .run = flush,
        .arg_name = {"bytes", "blocks"},
        .arg = {few_sizes, large_counts},
        .arg_count = {BENCH_COUNT(few_sizes), BENCH_COUNT(large_counts)},
    });
}
