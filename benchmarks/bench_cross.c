// SPDX-License-Identifier: Apache-2.0
// Blocks allocated by one thread and freed by another. Threads work in pairs: an even one
// allocates batches, the odd one after it frees them. A pair's ring lets the first run ahead by a
// few batches.

#include "bench_suite.h"
#include "shim/bench.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    BATCH = 256, // blocks
    AHEAD = 16,  // batches in a ring
    MAX_PAIRS = 8,
    LINE = 64,
};

// sent - taken batches are in the ring; each is written by one side only.
struct ring {
    _Alignas(LINE) _Atomic uint64_t sent;
    _Alignas(LINE) _Atomic uint64_t taken;
    _Alignas(LINE) void *block[AHEAD][BATCH];
};

static struct ring rings[MAX_PAIRS];

static void allocate(struct ring *ring, uint64_t batches, size_t bytes) {
    const uint64_t start = atomic_load_explicit(&ring->sent, memory_order_relaxed);
    for (uint64_t n = start; n < start + batches; n++) {
        // pairs with: release_all(), which is done with the slot
        while (n - atomic_load_explicit(&ring->taken, memory_order_acquire) >= AHEAD)
            sched_yield();
        void **slot = ring->block[n % AHEAD];
        for (unsigned i = 0; i < BATCH; i++) {
            slot[i] = malloc(bytes);
            *(char *)slot[i] = 1;
        }
        // pairs with: release_all(), publishes the slot
        atomic_store_explicit(&ring->sent, n + 1, memory_order_release);
    }
}

static void release_all(struct ring *ring, uint64_t batches) {
    const uint64_t start = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    for (uint64_t n = start; n < start + batches; n++) {
        // pairs with: allocate(), which has filled the slot
        while (atomic_load_explicit(&ring->sent, memory_order_acquire) == n)
            sched_yield();
        void **slot = ring->block[n % AHEAD];
        for (unsigned i = 0; i < BATCH; i++)
            free(slot[i]);
        // pairs with: allocate(), hands the slot back
        atomic_store_explicit(&ring->taken, n + 1, memory_order_release);
    }
}

static void cross(struct bench_state *state) {
    const size_t bytes = (size_t)bench_arg(state, 0);
    const int thread = bench_thread(state);
    struct ring *ring = &rings[thread / 2];
    if (bench_threads(state) % 2 != 0) {
        bench_skip(state, "needs pairs of threads");
        return;
    }
    // Both sides of a pair get the same number of iterations, so each batch meets its taker.
    const uint64_t iterations = bench_begin(state);
    if (thread % 2 == 0)
        allocate(ring, iterations, bytes);
    else
        release_all(ring, iterations);
    bench_end(state);
    // Counted once a pair.
    bench_items(state, thread % 2 == 0 ? iterations * BATCH : 0);
}

void bench_register_cross(void) {
    static const int64_t sizes[] = {64, 256, 2000};
    static const int threads[] = {2, 4, 2 * MAX_PAIRS};
    bench_register(&(struct bench_spec){
        .name = "cross_thread",
        .run = cross,
        .arg_name = {"bytes"},
        .arg = {sizes},
        .arg_count = {BENCH_COUNT(sizes)},
        .threads = threads,
        .threads_count = BENCH_COUNT(threads),
        .real_time = 1,
    });
}
