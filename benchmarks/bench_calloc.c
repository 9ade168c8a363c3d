// SPDX-License-Identifier: Apache-2.0
// calloc: small blocks that must be cleared, large ones whose pages may be known to be zero.

#include "bench_suite.h"
#include "shim/bench.h"

#include <stdlib.h>

static void zeroed(struct bench_state *state) {
    const size_t bytes = (size_t)bench_arg(state, 0);
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        char *block = calloc(1, bytes);
        block[0] = 1;
        bench_keep(block);
        free(block);
    }
    bench_end(state);
    bench_items(state, iterations);
}

void bench_register_calloc(void) {
    static const int64_t sizes[] = {16, 64, 1024, 16384, 262144, 1 << 20, 32 << 20};
    bench_register(&(struct bench_spec){
        .name = "calloc",
        .run = zeroed,
        .arg_name = {"bytes"},
        .arg = {sizes},
        .arg_count = {BENCH_COUNT(sizes)},
    });
}
