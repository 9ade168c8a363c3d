// SPDX-License-Identifier: Apache-2.0
//
// The option soft_limit: free memory goes back although its time has not come, nothing fails, and
// caches give up what they hold.
#include <larder/ctl.h>
#include <larder/larder.h>
#include <larder/stats.h>

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/child.h"
#include "../support/support.h"

static const size_t mib = 1024 * 1024;

enum { ROOM_MIB = 80 };

static struct larder_stats stats(void) {
    struct larder_stats out;
    EXPECT_INT(larder_stats_get(&out, sizeof out), ==, 0);
    return out;
}

// Nothing goes back by itself.
static void keep_free_memory(void) { EXPECT_INT(larder_option_set("scavenger", 2), ==, 0); }

// 60 MiB, of which every other one is freed, and 40 MiB in one piece, for which the holes are no
// use: 70 live, 100 held.
static size_t peak_of_work(void) {
    char *blocks[60];
    for (unsigned i = 0; i < 60; i++) {
        blocks[i] = larder_malloc(mib);
        EXPECT(blocks[i] != NULL);
        memset(blocks[i], 1, mib);
    }
    for (unsigned i = 0; i < 60; i += 2)
        larder_free(blocks[i]);
    char *const large = larder_malloc(40 * mib);
    EXPECT(large != NULL);
    memset(large, 1, 40 * mib);
    const size_t rss = test_rss_bytes();
    for (unsigned i = 1; i < 60; i += 2)
        larder_free(blocks[i]);
    larder_free(large);
    return rss;
}

static void expect_it_is_kept(size_t room) {
    const size_t base = test_rss_bytes();
    EXPECT_INT(larder_option_set("soft_limit", base + room), ==, 0);
    EXPECT_UINT(peak_of_work(), <=, base + room + 10 * mib);
}

START_TEST(test_soft_limit__memory_stays_below_it) {
    keep_free_memory();
    larder_free(larder_malloc(1000));
    const size_t base = test_rss_bytes();
    EXPECT_UINT(peak_of_work(), >, base + (ROOM_MIB + 15) * mib); // without it
    EXPECT_UINT(larder_release(SIZE_MAX), >, 0);
    expect_it_is_kept(ROOM_MIB * mib);
}
END_TEST

static void work_in_child(void *arg) {
    (void)arg;
    expect_it_is_kept(ROOM_MIB * mib);
}

START_TEST(test_soft_limit__in_a_forked_child) {
    keep_free_memory();
    larder_free(larder_malloc(1000));
    struct test_child child;
    test_child_run(&child, 30, work_in_child, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

// A live set above the limit: every request is served all the same, and all free memory goes.
START_TEST(test_soft_limit__nothing_fails_above_it) {
    keep_free_memory();
    EXPECT_INT(larder_option_set("soft_limit", mib), ==, 0);
    enum { COUNT = 60000 };
    static char *blocks[COUNT];
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < COUNT; i++) {
        const size_t bytes = 16 + test_rng_below(&rng, 1500);
        blocks[i] = larder_malloc(bytes);
        EXPECT(blocks[i] != NULL);
        test_fill(blocks[i], 16, i);
        if (i % 3 == 2) {
            larder_free(blocks[i - 1]);
            blocks[i - 1] = NULL;
        }
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (blocks[i] != NULL)
            EXPECT_FILLED(blocks[i], 16, i);
        larder_free(blocks[i]);
    }
    EXPECT_UINT(stats().soft_limit_bytes, ==, mib);
}
END_TEST

static bool was_hit(void *arg) {
    (void)arg;
    return stats().soft_limit_hits > 0;
}

static bool is_empty(void *arg) {
    (void)arg;
    larder_free(larder_malloc(300000)); // the thread's slow calls are when it looks
    for (unsigned i = 0; i < 64; i++)
        larder_free(larder_malloc(200000));
    return stats().thread_cache_bytes < mib / 2;
}

// The scavenger sees it, and a cache that would have been kept is given up by its own thread.
START_TEST(test_soft_limit__caches_are_given_up) {
    EXPECT_INT(larder_option_set("scavenge_start", 0), ==, 0);
    EXPECT_INT(larder_option_set("idle_thread_ms", 0), ==, 0);
    enum { COUNT = 20000, BYTES = 100 };
    static void *blocks[COUNT];
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < COUNT; i++)
            blocks[i] = larder_malloc(BYTES << (i % 4));
        for (unsigned i = 0; i < COUNT; i++)
            larder_free(blocks[i]);
    }
    EXPECT_UINT(stats().thread_cache_bytes, >=, mib / 2);
    EXPECT_INT(larder_option_set("soft_limit", mib), ==, 0);
    void *const block = larder_malloc(8 * mib);
    memset(block, 1, 8 * mib);
    EXPECT(test_wait_until(was_hit, NULL, 10000));
    EXPECT(test_wait_until(is_empty, NULL, 10000));
    larder_free(block);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("soft_limit");
    if (!TEST_UNDER_TSAN) { // its shadow memory drowns the figures
        test_add(suite, test_soft_limit__memory_stays_below_it);
        test_add(suite, test_soft_limit__in_a_forked_child);
    }
    test_add(suite, test_soft_limit__nothing_fails_above_it);
    test_add(suite, test_soft_limit__caches_are_given_up);
    return suite;
}
