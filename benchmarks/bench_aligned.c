// SPDX-License-Identifier: Apache-2.0
// Aligned blocks: a cache line, a page, a huge page, with a few live at a time.

#include "bench_suite.h"
#include "shim/bench.h"

#include <stdlib.h>

enum { RING = 16 }; // blocks live at a time; a power of two

static void aligned(struct bench_state *state) {
    const size_t alignment = (size_t)bench_arg(state, 0);
    const size_t bytes = (size_t)bench_arg(state, 1);
    void *ring[RING] = {NULL};
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        free(ring[i % RING]);
        void *block = NULL;
        if (posix_memalign(&block, alignment, bytes) != 0)
            abort();
        ring[i % RING] = block;
        bench_keep(block);
    }
    bench_end(state);
    for (unsigned i = 0; i < RING; i++)
        free(ring[i]);
    bench_items(state, iterations);
}

void bench_register_aligned(void) {
    static const int64_t alignments[] = {32, 64, 4096, 2 << 20};
    static const int64_t sizes[] = {64, 1000, 65536};
    bench_register(&(struct bench_spec){
        .name = "aligned",
        .run = aligned,
        .arg_name = {"alignment", "bytes"},
        .arg = {alignments, sizes},
        .arg_count = {BENCH_COUNT(alignments), BENCH_COUNT(sizes)},
    });
}
