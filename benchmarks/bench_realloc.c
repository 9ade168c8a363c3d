// SPDX-License-Identifier: Apache-2.0
// realloc: in place, growing step by step, and growing large.

#include "bench_suite.h"
#include "shim/bench.h"

#include <stdlib.h>

// Between two sizes one byte apart, which share a size class in every allocator.
static void realloc_in_place(struct bench_state *state) {
    const size_t bytes = (size_t)bench_arg(state, 0);
    void *block = malloc(bytes);
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        block = realloc(block, bytes - (i & 1));
        bench_keep(block);
    }
    bench_end(state);
    free(block);
    bench_items(state, iterations);
}

// A block grows from 16 bytes to the given size, doubling; one item is one realloc.
static void realloc_double(struct bench_state *state) {
    const size_t last = (size_t)bench_arg(state, 0);
    uint64_t steps = 0;
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        char *block = NULL;
        for (size_t bytes = 16; bytes <= last; bytes *= 2, steps++) {
            block = realloc(block, bytes);
            block[bytes - 1] = 1;
            bench_keep(block);
        }
        free(block);
    }
    bench_end(state);
    bench_items(state, steps);
}

// A block grows from 64 bytes to the given size in steps of 64 bytes.
static void realloc_append(struct bench_state *state) {
    const size_t last = (size_t)bench_arg(state, 0);
    uint64_t steps = 0;
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        char *block = NULL;
        for (size_t bytes = 64; bytes <= last; bytes += 64, steps++) {
            block = realloc(block, bytes);
            block[bytes - 1] = 1;
            bench_keep(block);
        }
        free(block);
    }
    bench_end(state);
    bench_items(state, steps);
}

void bench_register_realloc(void) {
    static const int64_t sizes[] = {32, 1024, 32768, 1 << 20};
    static const int64_t ends[] = {4096, 1 << 20, 64 << 20};
    static const int64_t append_ends[] = {4096, 65536};
    bench_register(&(struct bench_spec){
        .name = "realloc_in_place",
        .run = realloc_in_place,
        .arg_name = {"bytes"},
        .arg = {sizes},
        .arg_count = {BENCH_COUNT(sizes)},
    });
    bench_register(&(struct bench_spec){
        .name = "realloc_double",
        .run = realloc_double,
        .arg_name = {"last_bytes"},
        .arg = {ends},
        .arg_count = {BENCH_COUNT(ends)},
    });
    bench_register(&(struct bench_spec){
        .name = "realloc_append",
        .run = realloc_append,
        .arg_name = {"last_bytes"},
        .arg = {append_ends},
        .arg_count = {BENCH_COUNT(append_ends)},
    });
}
