// SPDX-License-Identifier: Apache-2.0
// A thread's life: start, some blocks, end. Against the run with no blocks it shows what an
// allocator adds to a thread.

#include "bench_suite.h"
#include "shim/bench.h"

#include <pthread.h>
#include <stdlib.h>

enum { MAX_BLOCKS = 1000 };

static void *life(void *arg) {
    const size_t blocks = *(const size_t *)arg;
    void *block[MAX_BLOCKS];
    for (size_t i = 0; i < blocks; i++) {
        block[i] = malloc(16 + i % 64 * 16);
        bench_keep(block[i]);
    }
    for (size_t i = 0; i < blocks; i++)
        free(block[i]);
    return NULL;
}

static void thread_life(struct bench_state *state) {
    size_t blocks = (size_t)bench_arg(state, 0);
    const uint64_t iterations = bench_begin(state);
    for (uint64_t i = 0; i < iterations; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, life, &blocks) != 0)
            abort();
        pthread_join(thread, NULL);
    }
    bench_end(state);
    bench_items(state, iterations);
}

void bench_register_thread(void) {
    static const int64_t blocks[] = {0, 1, 100, MAX_BLOCKS};
    bench_register(&(struct bench_spec){
        .name = "thread_life",
        .run = thread_life,
        .arg_name = {"blocks"},
        .arg = {blocks},
        .arg_count = {BENCH_COUNT(blocks)},
        .real_time = 1,
    });
}
