// SPDX-License-Identifier: Apache-2.0
//
// Threads come and go all the time: each inherits blocks of threads that have ended, frees them and
// leaves its own to those that follow. LARDER_TEST_SECONDS: for how long (2 unless set).
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "../support/crew.h"
#include "../support/support.h"
#include "block.h"

static const size_t mib = 1024 * 1024;

enum { STARTERS = 4, AT_ONCE = 8, INHERITED = 2048, LIVES_BLOCKS = 300 };

static _Atomic(struct test_block *) inheritance[INHERITED];
static uint64_t deadline;
static atomic_ulong lives;

static void *live_shortly(void *arg) {
    struct test_rng rng = {*(const uint64_t *)arg};
    for (unsigned i = 0; i < LIVES_BLOCKS; i++) {
        struct test_block *const block = test_block_new(&rng, 8000);
        const unsigned place = (unsigned)test_rng_below(&rng, INHERITED);
        test_block_delete(atomic_exchange(&inheritance[place], block));
    }
    atomic_fetch_add(&lives, 1);
    return NULL;
}

static void start_threads(struct test_worker *worker) {
    struct test_rng rng = {worker->seed};
    while (test_now_ms() < deadline) {
        pthread_t threads[AT_ONCE];
        uint64_t seeds[AT_ONCE];
        for (unsigned i = 0; i < AT_ONCE; i++) {
            seeds[i] = test_rng_next(&rng);
            EXPECT_INT(pthread_create(&threads[i], NULL, live_shortly, &seeds[i]), ==, 0);
        }
        for (unsigned i = 0; i < AT_ONCE; i++)
            EXPECT_INT(pthread_join(threads[i], NULL), ==, 0);
    }
}

static unsigned seconds(void) { return (unsigned)test_env_u64("LARDER_TEST_SECONDS", 2); }

START_TEST(test_stress_thread_churn__blocks_outlive_threads) {
    const size_t before = test_rss_bytes();
    deadline = test_now_ms() + 1000 * (uint64_t)seconds();
    test_crew_run(STARTERS, start_threads, NULL);
    EXPECT_UINT(atomic_load(&lives), >=, STARTERS * AT_ONCE);
    printf("%lu threads\n", atomic_load(&lives));
    // 2048 live blocks of 8 KiB at most and the caches of 32 threads.
    if (!TEST_UNDER_TSAN)
        EXPECT_UINT(test_rss_bytes(), <, before + 160 * mib);
    for (unsigned i = 0; i < INHERITED; i++)
        test_block_delete(atomic_load(&inheritance[i]));
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("stress_thread_churn");
    test_add_limit(suite, test_stress_thread_churn__blocks_outlive_threads, 60 + 2 * seconds());
    return suite;
}
