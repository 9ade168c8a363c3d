// SPDX-License-Identifier: Apache-2.0
//
// How much free memory goes back, when, and how fast.
#include "heap/scavenger.h"

#include <string.h>

#include "base/bits.h"
#include "heap/release.h"
#include "heap_test.h"
#include "still_clock.h"

enum { WHOLE = LR_PAGES_PER_HUGE, TICKS_A_DELAY = 4 };

static void start_with(const char *thp, uint64_t delay_ms, uint64_t rate) {
    start_heap_with(thp, 4 * LR_GIB);
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_THREAD), ==, 0);
    EXPECT_INT(lr_option_set("scavenge_delay_ms", delay_ms), ==, 0);
    EXPECT_INT(lr_option_set("scavenge_rate", rate), ==, 0);
    lr_scavenger_note_used(SIZE_MAX / LR_PAGE_BYTES);
    lr_scavenger_start();
}

static void start(uint64_t delay_ms, uint64_t rate) { start_with("never", delay_ms, rate); }

static void start_still(uint64_t delay_ms, uint64_t rate) {
    still_clock_start();
    start(delay_ms, rate);
}

static struct span *make_resident(size_t bytes) {
    struct span *const span = lr_span_alloc_large(bytes >> LR_PAGE_SHIFT, 1);
    EXPECT(span != NULL);
    for (size_t at = 0; at < bytes; at += 4096)
        lr_span_start(span)[at] = 1;
    return span;
}

static size_t dirty_bytes(void) { return lr_span_heap_counts().free_dirty_pages << LR_PAGE_SHIFT; }

static size_t released_bytes(void) { return lr_release_counts().pages << LR_PAGE_SHIFT; }

// How long it takes until so much has gone back, in the clock's milliseconds.
static uint64_t ms_until_released(size_t bytes, uint64_t most_ms) {
    const uint64_t start_ms = still_clock_ms();
    while (released_bytes() < bytes) {
        EXPECT_UINT(still_clock_ms() - start_ms, <, most_ms);
        still_clock_advance(5);
    }
    return still_clock_ms() - start_ms;
}

START_TEST(test_scavenger_pace__free_memory_goes_back_by_itself) {
    start_still(80, 16 * LR_GIB);
    for (unsigned round = 0; round < 3; round++) {
        struct span *const span = make_resident(64 * LR_MIB);
        const size_t rss = test_rss_bytes();
        lr_span_free(span);
        const uint64_t ms = ms_until_released((round + 1) * 64 * LR_MIB, 5000);
        // The demand of the last 80 ms, less the step that may just have ended, is kept.
        EXPECT_UINT(ms, >=, 80 - 2 * 80 / TICKS_A_DELAY);
        if (!TEST_UNDER_TSAN)
            EXPECT_UINT(test_rss_bytes() + 60 * LR_MIB, <, rss);
        EXPECT_UINT(expect_counts_add_up().free_clean_pages, ==, pool_pages());
    }
}
END_TEST

START_TEST(test_scavenger_pace__recent_demand_is_kept) {
    start_still(TICKS_A_DELAY * 50, 16 * LR_GIB); // a tick every 50 ms
    struct span *const kept = make_resident(16 * LR_MIB);
    struct span *span = make_resident(4 * LR_MIB);
    // Demand comes back again and again within the delay: no page is given back meanwhile.
    for (unsigned round = 0; round < 8; round++) {
        const uint64_t ticks = lr_scavenger_counts().ticks;
        lr_span_free(span);
        still_clock_advance(TICKS_A_DELAY * 50 - 10);
        EXPECT_UINT(lr_scavenger_counts().ticks, >=, ticks + TICKS_A_DELAY - 1);
        EXPECT_UINT(dirty_bytes(), ==, 4 * LR_MIB);
        span = lr_span_alloc_large(4 * LR_MIB >> LR_PAGE_SHIFT, 1);
        EXPECT(!span->zeroed);
    }
    EXPECT_UINT(lr_release_counts().pages, ==, 0);
    // When it stays away, all of it goes; what is used stays.
    lr_span_free(span);
    (void)ms_until_released(4 * LR_MIB, 8000);
    EXPECT_UINT(released_bytes(), ==, 4 * LR_MIB);
    EXPECT_UINT(dirty_bytes(), ==, 0);
    EXPECT_UINT(lr_span_bytes(kept), ==, 16 * LR_MIB);
}
END_TEST

// Demand that falls in steps: what is above the newest peaks goes first.
START_TEST(test_scavenger_pace__surplus_over_the_demand_goes) {
    start_still(TICKS_A_DELAY * 40, 16 * LR_GIB);
    struct span *const big = make_resident(64 * LR_MIB);
    struct span *small = make_resident(8 * LR_MIB);
    lr_span_free(big);
    // The small demand goes on; the big one, that of a large block, is forgotten after a second.
    for (unsigned tick = 0; tick < 1000 / 40 + TICKS_A_DELAY; tick++) {
        lr_span_free(small);
        small = lr_span_alloc_large(8 * LR_MIB >> LR_PAGE_SHIFT, 1);
        still_clock_advance(40);
    }
    EXPECT_UINT(dirty_bytes(), <=, 8 * LR_MIB);
    EXPECT_UINT(released_bytes(), >=, 56 * LR_MIB);
}
END_TEST

enum { HUGE = 32 };

// Huge pages that are backed whole, each of a span of `first` pages and one of the rest; false
// where there are none.
static bool fill_huge_pages(size_t first, struct span *firsts[HUGE], struct span *rests[HUGE]) {
    still_clock_start();
    start_with("auto", TICKS_A_DELAY * 50, 16 * LR_GIB);
    if (lr_os_thp() != LR_OS_THP_ASKED)
        return false;
    find_larger_filled();
    EXPECT(lr_span_alloc_large((size_t)16 * WHOLE, 1) != NULL);
    for (unsigned i = 0; i < HUGE; i++) {
        firsts[i] = lr_span_alloc_small((uint32_t)first, 4, 1, 32);
        rests[i] = lr_span_alloc_small((uint32_t)(WHOLE - first), 4, 1, 32);
        EXPECT(firsts[i] != NULL && rests[i] != NULL);
    }
    return true;
}

// Holes of huge pages that are backed whole stay while there is a load, and go when it is over,
// though nobody calls then.
START_TEST(test_scavenger_pace__load_keeps_huge_pages_whole) {
    enum { HOLE = 30 };
    struct span *holes[HUGE], *rests[HUGE];
    if (!fill_huge_pages(HOLE, holes, rests))
        TEST_SKIP("huge pages cannot be asked for here");
    for (unsigned i = 0; i < HUGE; i++)
        lr_span_free(holes[i]);
    for (unsigned i = 0; i < 200; i++) { // 10 s, longer than anything is kept that is not in use
        struct span *const span = lr_span_alloc_small(HOLE, 4, 1, 32);
        EXPECT(span != NULL);
        lr_span_free(span);
        still_clock_advance(50);
    }
    EXPECT_UINT(lr_release_counts().pages, ==, 0);
    EXPECT_UINT(dirty_bytes(), ==, HUGE * HOLE * LR_PAGE_BYTES);
    still_clock_advance(5000);
    EXPECT_UINT(dirty_bytes(), ==, 0);
}
END_TEST

// Huge pages of which most is free are broken up under load once an eighth of the heap would be
// gained.
START_TEST(test_scavenger_pace__load_breaks_up_for_an_eighth) {
    enum { HOLE = WHOLE * 3 / 4, FEW = 4 };
    struct span *firsts[HUGE], *holes[HUGE];
    if (!fill_huge_pages(WHOLE - HOLE, firsts, holes))
        TEST_SKIP("huge pages cannot be asked for here");
    for (unsigned i = 0; i < HUGE; i++) {
        lr_span_free(holes[i]);
        for (unsigned tick = 0; i + 1 == FEW && tick < 200; tick++) {
            lr_span_free(lr_span_alloc_small(WHOLE - HOLE, 4, 1, 32));
            still_clock_advance(50);
        }
        if (i < FEW)
            EXPECT_UINT(lr_release_counts().pages, ==, 0);
    }
    for (unsigned tick = 0; tick < 200; tick++) {
        lr_span_free(lr_span_alloc_small(WHOLE - HOLE, 4, 1, 32));
        still_clock_advance(50);
    }
    EXPECT_UINT(lr_release_counts().pages, >, HUGE / 2 * HOLE);
}
END_TEST

// Frees `bytes` and looks at what went back by when, until half of it has.
static void expect_rate(uint64_t rate, size_t bytes) {
    start_still(TICKS_A_DELAY * 20, rate); // a tick every 20 ms
    lr_span_free(make_resident(bytes));
    const uint64_t start_ms = still_clock_ms();
    uint64_t released = 0;
    double seconds = 0;
    while (released < bytes / 2) {
        still_clock_advance(2);
        released = released_bytes();
        seconds = (double)(still_clock_ms() - start_ms) / 1e3;
        // One tick's share and one huge page may come early.
        const double allowed = (double)rate * (seconds + 0.02) + (double)LR_HUGE_BYTES;
        if ((double)released > allowed)
            test_fail(__FILE__, __LINE__, "%ju bytes went back in %.3f s at %ju bytes a second",
                      (uintmax_t)released, seconds, (uintmax_t)rate);
        EXPECT_UINT(still_clock_ms() - start_ms, <, 30000);
    }
    // No slower either, once the watch on large blocks is over.
    EXPECT(seconds < (double)released / (double)rate + 1.2);
}

START_TEST(test_scavenger_pace__rate) { expect_rate(256 * LR_MIB, 128 * LR_MIB); }
END_TEST

START_TEST(test_scavenger_pace__low_rate) { expect_rate(8 * LR_MIB, 10 * LR_MIB); }
END_TEST

// The rest is measured by the system's clocks.

static bool ticks_above(void *count) {
    return lr_scavenger_counts().ticks > *(const uint64_t *)count;
}

static void expect_more_ticks(unsigned count) {
    uint64_t ticks = lr_scavenger_counts().ticks + count - 1;
    EXPECT(test_wait_until(ticks_above, &ticks, 20000));
}

static bool has_released(void *bytes) { return released_bytes() >= *(const size_t *)bytes; }

START_TEST(test_scavenger_pace__little_cpu) {
    start(80, 16 * LR_GIB);
    const uint64_t start_ns = lr_os_now_ns(), cpu_ns = lr_scavenger_counts().cpu_ns;
    for (unsigned round = 0; round < 10; round++) {
        lr_span_free(make_resident(4 * LR_MIB));
        expect_more_ticks(5);
    }
    size_t some = 4 * LR_MIB;
    EXPECT(test_wait_until(has_released, &some, 20000));
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN) {
        TEST_SKIP("a sanitizer's time says nothing");
    }
    EXPECT_UINT(lr_scavenger_counts().cpu_ns - cpu_ns, <, (lr_os_now_ns() - start_ns) / 10);
}
END_TEST

START_TEST(test_scavenger_pace__inline_mode_returns_memory_while_others_free) {
    still_clock_start();
    start_heap(4 * LR_GIB);
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_INLINE), ==, 0);
    EXPECT_INT(lr_option_set("scavenge_delay_ms", 80), ==, 0);
    lr_span_free(make_resident(64 * LR_MIB));
    while (dirty_bytes() > LR_MIB) {
        EXPECT_UINT(still_clock_ms(), <, 10000);
        lr_span_free(lr_span_alloc_large(1, 1));
        still_clock_advance(10); // no load
    }
    EXPECT(!lr_scavenger_counts().running);
}
END_TEST

START_TEST(test_scavenger_pace__off_means_off) {
    still_clock_start();
    start_heap(4 * LR_GIB);
    EXPECT_INT(lr_option_set("scavenge_delay_ms", 10), ==, 0);
    lr_span_free(make_resident(64 * LR_MIB));
    for (unsigned i = 0; i < 100; i++) {
        lr_span_free(lr_span_alloc_large(1, 1));
        still_clock_advance(2);
    }
    EXPECT_UINT(dirty_bytes(), ==, 64 * LR_MIB);
    EXPECT_UINT(lr_scavenger_counts().ticks, ==, 0);
    EXPECT_UINT(lr_release_counts().calls, ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("scavenger_pace");
    test_add(suite, test_scavenger_pace__free_memory_goes_back_by_itself);
    test_add(suite, test_scavenger_pace__recent_demand_is_kept);
    test_add(suite, test_scavenger_pace__surplus_over_the_demand_goes);
    test_add(suite, test_scavenger_pace__load_keeps_huge_pages_whole);
    test_add(suite, test_scavenger_pace__load_breaks_up_for_an_eighth);
    test_add(suite, test_scavenger_pace__rate);
    test_add(suite, test_scavenger_pace__low_rate);
    test_add(suite, test_scavenger_pace__little_cpu);
    test_add(suite, test_scavenger_pace__inline_mode_returns_memory_while_others_free);
    test_add(suite, test_scavenger_pace__off_means_off);
    return suite;
}
