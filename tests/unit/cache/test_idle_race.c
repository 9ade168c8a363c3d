// SPDX-License-Identifier: Apache-2.0
//
// The hand-over of idle caches under pressure: threads that work, sleep, end and are born while
// their caches are taken from them as often as can be. Every block's contents are checked, and the
// central lists see each one that would be given out or come back twice.
#include <larder/larder.h>

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "../../support/crew.h"
#include "../../support/support.h"
#include "api/start.h"
#include "cache/idle.h"
#include "cache_test.h"

enum { WORKERS = 6, HELD = 60, DRAINS = 50 };

static atomic_bool stop;

struct held {
    unsigned char *block;
    size_t bytes;
    uint64_t seed;
};

static void use_blocks(struct test_rng *rng, struct held *held, unsigned steps) {
    while (steps-- > 0) {
        struct held *const at = &held[test_rng_below(rng, HELD)];
        if (at->block != NULL) {
            EXPECT_FILLED(at->block, at->bytes, at->seed);
            larder_free(at->block);
            at->block = NULL;
        } else {
            at->bytes = 1 + test_rng_size(rng, 3000);
            at->seed = test_rng_next(rng);
            at->block = larder_malloc(at->bytes);
            EXPECT(at->block != NULL);
            test_fill(at->block, at->bytes, at->seed);
        }
    }
}

// Short enough to be interrupted by its end at every stage of the scavenger's look.
static void *live_shortly(void *arg) {
    struct held held[HELD] = {{0}};
    struct test_rng rng = {*(uint64_t *)arg};
    const unsigned naps = (unsigned)test_rng_below(&rng, 4);
    for (unsigned i = 0; i <= naps; i++) {
        use_blocks(&rng, held, 1 + (unsigned)test_rng_below(&rng, 200));
        if (i < naps)
            usleep((useconds_t)test_rng_below(&rng, 1500));
    }
    for (unsigned i = 0; i < HELD; i++)
        larder_free(held[i].block);
    return NULL;
}

static void live_and_beget(struct test_worker *worker) {
    struct held held[HELD] = {{0}};
    struct test_rng rng = {worker->seed};
    while (!atomic_load(&stop)) {
        use_blocks(&rng, held, 1 + (unsigned)test_rng_below(&rng, 300));
        if (test_rng_below(&rng, 3) == 0) {
            uint64_t seed = test_rng_next(&rng);
            pthread_t thread;
            EXPECT_INT(pthread_create(&thread, NULL, live_shortly, &seed), ==, 0);
            pthread_join(thread, NULL); // meanwhile this one is idle
        } else {
            usleep((useconds_t)test_rng_below(&rng, 1500));
        }
    }
    for (unsigned i = 0; i < HELD; i++)
        larder_free(held[i].block);
}

START_TEST(test_idle_race__taken_caches_and_working_threads) {
    static struct test_crew crew;
    EXPECT(lr_start());
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_OFF), ==, 0);
    EXPECT_INT(lr_option_set("idle_thread_ms", 1), ==, 0);
    test_crew_start(&crew, WORKERS, live_and_beget, NULL);
    const uint64_t start_ms = test_now_ms();
    const uint64_t drained = DRAINS + lr_idle_counts().drains;
    // Each look finds that a second has passed: what did not change is idle. On a machine that is
    // busy with other things it takes longer until enough caches were taken.
    for (uint64_t now_ns = 1000000000;
         test_now_ms() < start_ms + 2000 || lr_idle_counts().drains < drained;
         now_ns += 1000000000) {
        EXPECT_UINT(test_now_ms() - start_ms, <, 40000);
        lr_idle_drain(now_ns);
        if (now_ns / 1000000000 % 64 == 0)
            lr_thread_state_reclaim(now_ns);
    }
    atomic_store(&stop, true);
    test_crew_join(&crew);
    lr_thread_state_reclaim(UINT64_MAX / 4);
    lr_thread_state_reclaim(UINT64_MAX / 2);
    expect_all_returned();
}
END_TEST

START_TEST(test_idle_race__skipped) { TEST_SKIP("caches of idle threads are not taken here"); }
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("idle_race");
    const bool can_drain =
        lr_os_membarrier_register() && access("/proc/thread-self/syscall", R_OK) == 0;
    test_add(suite, can_drain ? test_idle_race__taken_caches_and_working_threads
                              : test_idle_race__skipped);
    return suite;
}
