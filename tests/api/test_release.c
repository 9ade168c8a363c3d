// SPDX-License-Identifier: Apache-2.0
//
// larder_release, malloc_trim and larder_thread_flush: memory really goes back, the results are
// honest, and what the program still holds is untouched.
#include <larder/ctl.h>
#include <larder/larder.h>
#include <larder/stats.h>
#include <pthread.h>
#include <unistd.h>

#include "../support/support.h"

static const size_t mib = 1024 * 1024;

enum { LARGE_COUNT = 64 };

// 64 MiB, touched, then free. The scavenger would do its share of what the tests ask for.
static void fill_and_free(void) {
    EXPECT_INT(larder_option_set("scavenger", 2), ==, 0);
    char *blocks[LARGE_COUNT];
    for (unsigned i = 0; i < LARGE_COUNT; i++) {
        blocks[i] = larder_malloc(mib);
        EXPECT(blocks[i] != NULL);
        test_fill(blocks[i], mib, i);
    }
    for (unsigned i = 0; i < LARGE_COUNT; i++)
        larder_free(blocks[i]);
}

START_TEST(test_release__all_goes_back) {
    fill_and_free();
    const size_t before = test_rss_bytes();
    EXPECT_UINT(before, >, 60 * mib);
    const size_t said = larder_release(SIZE_MAX);
    const size_t after = test_rss_bytes();
    EXPECT_UINT(said, >=, 60 * mib);
    EXPECT_UINT(after, <, before - 60 * mib);
    EXPECT_UINT(larder_release(SIZE_MAX), <, mib); // nothing left
}
END_TEST

START_TEST(test_release__only_as_much_as_asked) {
    fill_and_free();
    const size_t said = larder_release(8 * mib);
    EXPECT_UINT(said, >=, 8 * mib);
    EXPECT_UINT(said, <=, 16 * mib);
    EXPECT_UINT(larder_release(0), ==, 0);
    EXPECT_UINT(larder_release(SIZE_MAX), >=, 40 * mib);
}
END_TEST

START_TEST(test_release__live_blocks_stay) {
    enum { COUNT = 20000 };
    static char *blocks[COUNT];
    struct test_rng rng = {test_seed()};
    static size_t sizes[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        sizes[i] = 1 + test_rng_below(&rng, 6000);
        blocks[i] = larder_malloc(sizes[i]);
        EXPECT(blocks[i] != NULL);
        test_fill(blocks[i], sizes[i], i);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (i % 50 != 0)
            larder_free(blocks[i]);
    }
    larder_thread_flush();
    EXPECT_UINT(larder_release(SIZE_MAX), >, 0);
    for (unsigned i = 0; i < COUNT; i += 50) {
        EXPECT_FILLED(blocks[i], sizes[i], i);
        larder_free(blocks[i]);
    }
}
END_TEST

START_TEST(test_release__memory_can_be_taken_again) {
    for (unsigned round = 0; round < 5; round++) {
        fill_and_free();
        EXPECT_UINT(larder_release(SIZE_MAX), >=, 60 * mib);
    }
}
END_TEST

START_TEST(test_release__malloc_trim_is_honest) {
    fill_and_free();
    const size_t before = test_rss_bytes();
    EXPECT_INT(larder_malloc_trim(0), ==, 1);
    EXPECT_UINT(test_rss_bytes(), <, before - 60 * mib);
    EXPECT_INT(larder_malloc_trim(0), ==, 0);
}
END_TEST

START_TEST(test_release__malloc_trim_keeps_the_pad) {
    fill_and_free();
    const size_t before = test_rss_bytes();
    EXPECT_INT(larder_malloc_trim(32 * mib), ==, 1);
    const size_t padded = test_rss_bytes();
    EXPECT_UINT(padded, <, before - 24 * mib);
    EXPECT_INT(larder_malloc_trim(0), ==, 1);
    EXPECT_UINT(test_rss_bytes(), <, padded - 24 * mib);
}
END_TEST

START_TEST(test_release__thread_flush_says_what_it_gave) {
    enum { COUNT = 200, BYTES = 1000 };
    char *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = larder_malloc(BYTES);
        EXPECT(blocks[i] != NULL);
    }
    larder_thread_flush();
    for (unsigned i = 0; i < COUNT; i++)
        larder_free(blocks[i]);
    // Some of them are cached, all of them at most (and a few bytes of other sizes).
    const size_t given = larder_thread_flush();
    EXPECT_UINT(given, >=, BYTES);
    EXPECT_UINT(given, <=, (size_t)COUNT * larder_good_size(BYTES, 0) + 65536);
    EXPECT_UINT(larder_thread_flush(), ==, 0);
}
END_TEST

enum { SMALL_COUNT = 64000, SMALL_BYTES = 1000, KEPT_EVERY = 100 };
static void *small_blocks[SMALL_COUNT];

// 64 MiB of small blocks, of which one in a hundred stays: hardly a page run is free.
static void leave_a_residue(void) {
    EXPECT_INT(larder_option_set("scavenger", 2), ==, 0);
    for (unsigned i = 0; i < SMALL_COUNT; i++) {
        small_blocks[i] = larder_malloc(SMALL_BYTES);
        EXPECT(small_blocks[i] != NULL);
        test_fill(small_blocks[i], SMALL_BYTES, i);
    }
    for (unsigned i = 0; i < SMALL_COUNT; i++) {
        if (i % KEPT_EVERY != 0)
            larder_free(small_blocks[i]);
    }
}

static void expect_residue(void) {
    for (unsigned i = 0; i < SMALL_COUNT; i += KEPT_EVERY) {
        EXPECT_FILLED(small_blocks[i], SMALL_BYTES, i);
        larder_free(small_blocks[i]);
    }
}

// What was said to have gone is what the kernel sees.
static void expect_honest(size_t (*give)(void)) {
    leave_a_residue();
    const size_t before = test_rss_bytes();
    const size_t said = give();
    const size_t after = test_rss_bytes();
    EXPECT_UINT(said, >=, 45 * mib);
    EXPECT_UINT(before - after + 2 * mib, >=, said);
    EXPECT_UINT(before - after, <=, said + 2 * mib);
    EXPECT_UINT(give(), <, mib); // nothing left
    expect_residue();
}

static size_t release_all(void) { return larder_release(SIZE_MAX); }

START_TEST(test_release__pages_inside_spans_go_too) { expect_honest(release_all); }
END_TEST

START_TEST(test_release__idle) { expect_honest(larder_idle); }
END_TEST

START_TEST(test_release__malloc_trim_finds_pages_inside_spans) {
    leave_a_residue();
    const size_t before = test_rss_bytes();
    EXPECT_INT(larder_malloc_trim(0), ==, 1);
    EXPECT_UINT(test_rss_bytes() + 45 * mib, <=, before);
    expect_residue();
}
END_TEST

static uint64_t idle_drains(void) {
    struct larder_stats stats;
    EXPECT_INT(larder_stats_get(&stats, sizeof stats), ==, 0);
    return stats.idle_drains;
}

static bool has_drained(void *before) { return idle_drains() > *(const uint64_t *)before; }

static int filled[2], over[2]; // pipes

static void *fill_and_wait(void *unused) {
    (void)unused;
    void *blocks[100];
    for (unsigned i = 0; i < 100; i++)
        blocks[i] = larder_malloc(500);
    for (unsigned i = 0; i < 100; i++)
        larder_free(blocks[i]);
    char byte = 0;
    EXPECT_INT(write(filled[1], &byte, 1), ==, 1);
    EXPECT_INT(read(over[0], &byte, 1), ==, 1);
    return NULL;
}

// Another thread's cache is emptied long before its time.
START_TEST(test_release__idle_hurries_others) {
    EXPECT_INT(larder_option_set("idle_thread_ms", 3600000), ==, 0);
    EXPECT_INT(larder_option_set("scavenge_start", 0), ==, 0);
    uint64_t drains = idle_drains();
    pthread_t thread;
    char byte = 0;
    EXPECT_INT(pipe(filled), ==, 0);
    EXPECT_INT(pipe(over), ==, 0);
    EXPECT_INT(pthread_create(&thread, NULL, fill_and_wait, NULL), ==, 0);
    EXPECT_INT(read(filled[0], &byte, 1), ==, 1);
    larder_free(larder_malloc(mib)); // starts the background thread
    bool drained = false;
    for (unsigned i = 0; i < 20 && !drained; i++) { // on a busy machine a second may be short
        larder_idle();
        drained = test_wait_until(has_drained, &drains, 1000);
    }
    EXPECT(drained);
    EXPECT_INT(write(over[1], &byte, 1), ==, 1);
    pthread_join(thread, NULL);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("release");
    if (!TEST_UNDER_TSAN) { // its shadow memory drowns the figures
        test_add(suite, test_release__all_goes_back);
        test_add(suite, test_release__malloc_trim_is_honest);
        test_add(suite, test_release__malloc_trim_keeps_the_pad);
        test_add(suite, test_release__pages_inside_spans_go_too);
        test_add(suite, test_release__idle);
        test_add(suite, test_release__malloc_trim_finds_pages_inside_spans);
    }
    test_add(suite, test_release__only_as_much_as_asked);
    test_add(suite, test_release__live_blocks_stay);
    test_add(suite, test_release__memory_can_be_taken_again);
    test_add(suite, test_release__thread_flush_says_what_it_gave);
    if (!TEST_UNDER_TSAN) // the hand-over as such is unit.cache.idle's, there too
        test_add(suite, test_release__idle_hurries_others);
    return suite;
}
