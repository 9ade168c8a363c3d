// SPDX-License-Identifier: Apache-2.0
//
// Which huge pages the kernel is asked to back whole, and what that does to the accounts.
#include "heap/thp.h"

#include <string.h>

#include "heap/release.h"
#include "heap_test.h"

enum { WHOLE = LR_PAGES_PER_HUGE, SMALL_OBJECTS = 4, LARGER = 32, BUFFERS = 64 };

struct mappings {
    size_t count;
    size_t asked_bytes;   // with the flag hg
    size_t refused_bytes; // with the flag nh
};

// The mappings of the pools.
static struct mappings look_at_mappings(void) {
    struct mappings found = {0};
    char line[512];
    size_t start = 0, end = 0;
    FILE *const smaps = fopen("/proc/self/smaps", "r");
    EXPECT(smaps != NULL);
    while (fgets(line, sizeof line, smaps) != NULL) {
        size_t a, b;
        if (sscanf(line, "%zx-%zx ", &a, &b) == 2) {
            start = a;
            end = b;
        }
        const size_t pools = (size_t)lr_page_address(lr_window.first_pool_page);
        if (strncmp(line, "VmFlags:", 8) != 0 || start < pools || end > pools + lr_pool_bytes())
            continue;
        found.count++;
        found.asked_bytes += strstr(line, " hg") != NULL ? end - start : 0;
        found.refused_bytes += strstr(line, " nh") != NULL ? end - start : 0;
    }
    fclose(smaps);
    return found;
}

static struct span *take(size_t pages) {
    struct span *const span = lr_span_alloc_small((uint32_t)pages, SMALL_OBJECTS, 1, 32);
    EXPECT(span != NULL);
    return span;
}

static void take_long(size_t pages) { EXPECT(lr_span_alloc_large(pages, 1) != NULL); }

static void need_huge_pages(void) {
    if (lr_os_thp() != LR_OS_THP_ASKED)
        TEST_SKIP("huge pages cannot be asked for here");
}

START_TEST(test_thp__small_heap_asks_for_none) {
    start_heap_with("auto", 0);
    for (unsigned i = 0; i < 10; i++)
        take(WHOLE / 2);
    EXPECT_UINT(lr_thp_mode(), ==, LR_THP_MODE_SMALL);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 0);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 0);
}
END_TEST

START_TEST(test_thp__rest_of_a_whole_huge_page_counts_as_resident) {
    start_heap_with("auto", 0);
    need_huge_pages();
    find_larger_filled();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    EXPECT_UINT(lr_thp_mode(), ==, LR_THP_MODE_ASKING);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 0);
    take(1);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, WHOLE - 1);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, LR_HUGE_BYTES);
    // What is free and resident is taken next, without asking again.
    take(WHOLE - 1);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 0);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, LR_HUGE_BYTES);
}
END_TEST

START_TEST(test_thp__large_blocks_are_not_asked_for) {
    start_heap_with("auto", 0);
    need_huge_pages();
    find_larger_filled();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    struct span *const span = lr_span_alloc_large((size_t)5 * WHOLE + 3, 1);
    EXPECT(span->zeroed);
    take_long(WHOLE - 3);
    take_long(BUFFERS + 1);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 0);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 0);
    take_long(WHOLE - BUFFERS - 1);
    take(BUFFERS);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, LR_HUGE_BYTES);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, WHOLE - BUFFERS);
}
END_TEST

START_TEST(test_thp__fresh_part_of_a_whole_huge_page_is_zeroed) {
    start_heap_with("auto", 0);
    need_huge_pages();
    find_larger_filled();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    struct span *const span = lr_span_alloc_large(LARGER, 1);
    EXPECT(span->zeroed);
    EXPECT_ZERO(lr_span_start(span), lr_span_bytes(span));
}
END_TEST

START_TEST(test_thp__returned_parts_stay_returned) {
    enum { SPANS = 16 };
    struct span *spans[SPANS], *begun[SPANS];
    start_heap_with("auto", 0);
    need_huge_pages();
    find_larger_filled();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    for (unsigned i = 0; i < SPANS; i++) {
        begun[i] = take(1); // which is asked for
        spans[i] = take(WHOLE / 2 - 1);
        memset(lr_span_start(begun[i]), 1, lr_span_bytes(begun[i]));
        memset(lr_span_start(spans[i]), 1, lr_span_bytes(spans[i]));
    }
    const size_t rss = test_rss_bytes();
    for (unsigned i = 0; i < SPANS; i += 2) {
        lr_span_free(begun[i]);
        lr_span_free(spans[i]);
    }
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY), ==, SPANS / 2 * WHOLE / 2);
    const struct mappings found = look_at_mappings();
    EXPECT_UINT(found.asked_bytes, ==, 0);
    EXPECT_UINT(found.refused_bytes, ==, SPANS / 2 * LR_HUGE_BYTES);
    if (!TEST_UNDER_TSAN) // whose shadow stays
        EXPECT_UINT(test_rss_bytes() + SPANS / 2 * LR_HUGE_BYTES / 2, <=, rss + LR_MIB);
    // Emptied and returned, it is asked for again when it is next begun.
    for (unsigned i = 1; i < SPANS; i += 2) {
        lr_span_free(begun[i]);
        lr_span_free(spans[i]);
    }
    lr_release_pages(SIZE_MAX, LR_BREAK_ANY);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 0);
    take(1);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, LR_HUGE_BYTES);
}
END_TEST

START_TEST(test_thp__always_asks_again_for_what_was_broken_up) {
    enum { BEGUN_MOST = 64 };
    start_heap_with("always", 0);
    need_huge_pages();
    struct span *const begun = take(1);
    struct span *const hole = take(WHOLE / 2 - 1);
    struct span *const rest = take(WHOLE / 2);
    const size_t huge = begun->first_page / WHOLE;
    lr_span_free(hole);
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY), >=, WHOLE / 2 - 1);
    EXPECT_UINT(look_at_mappings().refused_bytes, ==, LR_HUGE_BYTES);
    lr_span_free(begun);
    lr_span_free(rest);
    lr_release_pages(SIZE_MAX, LR_BREAK_ANY);
    unsigned i = 0;
    for (; i < BEGUN_MOST && take(1)->first_page / WHOLE != huge; i++)
        take(WHOLE - 1);
    EXPECT_UINT(i, <, BEGUN_MOST);
    EXPECT_UINT(look_at_mappings().refused_bytes, ==, 0);
}
END_TEST

// A larger span looks at what the last one began, but not once small blocks have begun it anew.
START_TEST(test_thp__small_blocks_do_not_speak_for_larger_ones) {
    start_heap_with("auto", 0);
    need_huge_pages();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    struct span *larger[WHOLE / LARGER];
    for (unsigned i = 0; i < WHOLE / LARGER; i++)
        larger[i] = take(LARGER);
    const size_t huge = larger[0]->first_page / WHOLE;
    for (unsigned i = 0; i < WHOLE / LARGER; i++)
        lr_span_free(larger[i]);
    for (unsigned i = 0; i < WHOLE; i++) {
        struct span *const small = take(1);
        EXPECT_UINT(small->first_page / WHOLE, ==, huge);
        memset(lr_span_start(small), 1, lr_span_bytes(small));
    }
    EXPECT_UINT(take(LARGER)->first_page / WHOLE, !=, huge);
    EXPECT(!lr_thp_filled(LR_THP_LARGER));
}
END_TEST

// What may lose a part is asked for.
START_TEST(test_thp__huge_pages_are_broken_up_only_where_it_may_be) {
    start_heap_with("auto", 0);
    need_huge_pages();
    find_larger_filled();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    take(1); // a small span begins each
    struct span *const dense_hole = take(WHOLE / 2 - 1);
    take(WHOLE / 2);
    take(1);
    struct span *const sparse_hole = take(WHOLE / 2);
    take(WHOLE / 2 - 1);
    lr_span_free(dense_hole);
    lr_span_free(sparse_hole);
    lr_span_free(lr_span_alloc_large(WHOLE, 1));
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_NONE), ==, WHOLE); // what is empty goes
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 2 * LR_HUGE_BYTES);
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_SPARSE), ==, WHOLE / 2);
    EXPECT_UINT(look_at_mappings().refused_bytes, ==, LR_HUGE_BYTES);
    // Once it is broken up, its pages go for nothing; the other one stays as it is.
    struct span *const loose = take(WHOLE / 2);
    lr_span_resize(loose, WHOLE / 4);
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_NONE), ==, WHOLE / 4);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, WHOLE / 2 - 1);
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_SPARSE), ==, 0);
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY), ==, WHOLE / 2 - 1);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 0);
}
END_TEST

// Until larger blocks are known to be touched they begin huge pages that are not asked for, and
// leave those of small blocks to them.
START_TEST(test_thp__larger_blocks_stay_apart) {
    start_heap_with("auto", 0);
    need_huge_pages();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    take(1);
    struct span *const larger = take(LARGER);
    const size_t huge = larger->first_page / WHOLE;
    EXPECT_UINT(larger->first_page % WHOLE, ==, 0);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, LR_HUGE_BYTES);
    EXPECT_UINT(take(LARGER)->first_page / WHOLE, ==, huge);
    EXPECT_UINT(take(WHOLE / 2)->first_page / WHOLE, ==, huge);
    // Small ones join each other though the room among the larger ones is narrower.
    for (unsigned i = 1; i < WHOLE; i++)
        EXPECT_UINT(take(1)->first_page / WHOLE, !=, huge);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, LR_HUGE_BYTES);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 0);
    // What is free and resident is for both.
    take(WHOLE / 4);
    lr_span_free(larger);
    EXPECT_UINT(take(1)->first_page / WHOLE, ==, huge);
    EXPECT_UINT(take(LARGER - 1)->first_page / WHOLE, ==, huge);
}
END_TEST

// Where there is no other room in the pools larger blocks go among small ones.
START_TEST(test_thp__larger_blocks_join_before_the_heap_grows) {
    start_heap_with("auto", 0);
    need_huge_pages();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    take(1);
    while (expect_counts_add_up().free_clean_pages > 0)
        lr_span_alloc_large(WHOLE, 1);
    const size_t bytes = lr_pool_bytes();
    take(WHOLE - 1);
    EXPECT_UINT(lr_pool_bytes(), ==, bytes);
}
END_TEST

// Fills huge pages with spans of which each OS page is touched, or the first.
static void fill_with(size_t pages, bool touched) {
    for (unsigned i = 0; i < 2 * WHOLE / pages; i++) {
        struct span *const span = take(pages);
        memset(lr_span_start(span), 1, touched ? lr_span_bytes(span) : 1);
    }
}

START_TEST(test_thp__larger_blocks_are_asked_for_once_they_are_touched) {
    start_heap_with("auto", 0);
    need_huge_pages();
    fill_with(LARGER, true); // before the heap is large enough
    EXPECT_UINT(lr_thp_mode(), ==, LR_THP_MODE_SMALL);
    EXPECT(!lr_thp_filled(LR_THP_LARGER));
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    EXPECT(!lr_thp_filled(LR_THP_LARGER));
    fill_with(LARGER, false);
    EXPECT(lr_thp_filled(LR_THP_LARGER));
    EXPECT_UINT(look_at_mappings().asked_bytes, >=, LR_HUGE_BYTES);
}
END_TEST

START_TEST(test_thp__larger_blocks_that_are_hardly_touched_stay_small) {
    start_heap_with("auto", 0);
    need_huge_pages();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    const size_t rss = test_rss_bytes();
    for (unsigned i = 0; i < 8; i++)
        fill_with(LARGER, false);
    EXPECT(!lr_thp_filled(LR_THP_LARGER));
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 0);
    if (!TEST_UNDER_TSAN) // whose shadow is resident
        EXPECT_UINT(test_rss_bytes(), <, rss + 4 * LR_MIB);
}
END_TEST

// What is known of larger blocks says nothing of buffers, and the other way round.
START_TEST(test_thp__buffers_speak_for_themselves) {
    start_heap_with("auto", 0);
    need_huge_pages();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    fill_with(LARGER, true);
    EXPECT(lr_thp_filled(LR_THP_LARGER) && !lr_thp_filled(LR_THP_BUFFERS));
    const size_t asked = look_at_mappings().asked_bytes;
    for (unsigned i = 0; i < 8; i++)
        fill_with(BUFFERS, false);
    EXPECT(!lr_thp_filled(LR_THP_BUFFERS));
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, asked);
    for (unsigned i = 0; i < 2; i++)
        fill_with(BUFFERS, true);
    EXPECT(lr_thp_filled(LR_THP_BUFFERS));
    EXPECT_UINT(look_at_mappings().asked_bytes, >, asked);
}
END_TEST

// Room among spans that are hardly touched is for others like them, as long as the pools have any.
START_TEST(test_thp__small_blocks_fill_what_is_apart_last) {
    start_heap_with("auto", 0);
    need_huge_pages();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    const size_t apart = take(BUFFERS)->first_page / WHOLE;
    const size_t bytes = lr_pool_bytes();
    while (expect_counts_add_up().free_clean_pages > WHOLE - BUFFERS)
        EXPECT_UINT(take(WHOLE / 64)->first_page / WHOLE, !=, apart);
    while (expect_counts_add_up().free_dirty_pages > 0)
        take(1);
    EXPECT_UINT(take(1)->first_page / WHOLE, ==, apart);
    EXPECT_UINT(lr_pool_bytes(), ==, bytes);
}
END_TEST

// One that small blocks left and that was returned is begun by a larger one.
START_TEST(test_thp__larger_blocks_refuse_what_was_asked_for) {
    start_heap_with("auto", 0);
    need_huge_pages();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    struct span *const small = take(1);
    const size_t huge = small->first_page / WHOLE;
    lr_span_free(small);
    lr_release_pages(SIZE_MAX, LR_BREAK_ANY);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, LR_HUGE_BYTES);
    EXPECT_UINT(take(LARGER)->first_page / WHOLE, ==, huge);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 0);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 0);
}
END_TEST

static struct span *take_large(size_t pages, bool filled) {
    struct span *const span = lr_span_alloc_large(pages, 1);
    EXPECT(span != NULL);
    memset(lr_span_start(span), 1, filled ? lr_span_bytes(span) : 1);
    return span;
}

START_TEST(test_thp__large_blocks_are_asked_for_once_they_are_filled) {
    enum { BIG = 16 * WHOLE, REST = WHOLE / 16 };
    start_heap_with("auto", 0);
    need_huge_pages();
    struct span *const first = take_large(BIG, true);
    lr_thp_look_at_live(lr_span_start(first), BIG);
    EXPECT(lr_thp_large_filled(BIG));
    EXPECT(lr_thp_large_filled(BIG / 2));
    EXPECT(lr_thp_large_filled((size_t)BIG * 2));
    EXPECT(!lr_thp_large_filled(BIG / 4));
    EXPECT(!lr_thp_large_filled((size_t)BIG * 4));
    // What is behind its end becomes resident too, where that is little.
    EXPECT(take_large(BIG - REST, false)->zeroed);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 16 * LR_HUGE_BYTES);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, REST);
    struct span *const second = take_large(BIG / 4, true);
    lr_thp_look_at_live(lr_span_start(second), BIG / 4);
    EXPECT(lr_span_alloc_large(BIG / 4 + 1, 1)->zeroed);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 20 * LR_HUGE_BYTES);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, REST);
}
END_TEST

// A large block shorter than a huge page has it whole only if others like it fill the rest.
START_TEST(test_thp__large_blocks_leave_little_of_a_huge_page) {
    enum { ODD = 140, HALF = WHOLE / 2 };
    start_heap_with("auto", 0);
    need_huge_pages();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    for (unsigned i = 0; i < 8; i++)
        lr_thp_look_at_live(lr_span_start(take_large(ODD, true)), ODD);
    EXPECT(lr_thp_large_filled(ODD) && lr_thp_large_filled(HALF));
    EXPECT(take_large(ODD, true)->zeroed);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 0);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 0);
    struct span *const half = take_large(HALF, true);
    EXPECT_UINT(half->first_page % WHOLE, ==, 0);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, LR_HUGE_BYTES);
    EXPECT_UINT(take_large(HALF, true)->first_page, ==, half->first_page + HALF);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 0);
}
END_TEST

// Where a look found a block that was not filled, blocks like it are looked at ever more rarely.
START_TEST(test_thp__looks_at_live_blocks_are_paced) {
    enum { BIG = 8 * WHOLE };
    start_heap_with("auto", 0);
    need_huge_pages();
    struct span *const sparse = take_large(BIG, false);
    for (unsigned i = 0; i < 16; i++) // after 1, 3, 7 and 15 blocks
        lr_thp_look_at_live(lr_span_start(sparse), BIG);
    memset(lr_span_start(sparse), 1, lr_span_bytes(sparse));
    unsigned looks = 0;
    for (; !lr_thp_large_filled(BIG); looks++)
        lr_thp_look_at_live(lr_span_start(sparse), BIG);
    EXPECT_UINT(looks, >, 8);
    EXPECT_UINT(looks, <=, 16);
}
END_TEST

START_TEST(test_thp__large_blocks_that_grow_are_asked_for) {
    enum { BIG = 16 * WHOLE, LITTLE = 8 * WHOLE + WHOLE / 2 };
    start_heap_with("auto", 0);
    need_huge_pages();
    struct span *const span = take_large(BIG, true);
    lr_thp_look_at_live(lr_span_start(span), BIG);
    // What it leaves is returned, and still backed by small pages.
    EXPECT(lr_span_resize(span, LITTLE));
    lr_release_pages(SIZE_MAX, LR_BREAK_ANY);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 0);
    EXPECT(lr_span_resize(span, BIG - 1));
    EXPECT(span->zeroed);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 7 * LR_HUGE_BYTES);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, 1);
    EXPECT(lr_span_resize(span, BIG));
    EXPECT(!span->zeroed);
}
END_TEST

START_TEST(test_thp__large_blocks_that_are_hardly_touched_stay_small) {
    enum { BIG = 8 * WHOLE, LOOKS = 16 };
    start_heap_with("auto", 0);
    need_huge_pages();
    take_large(BIG, false);
    for (unsigned i = 0; i < LOOKS; i++) {
        struct span *const span = take_large(BIG, false);
        lr_thp_look_at_live(lr_span_start(span), BIG);
        lr_thp_look_at_freed(lr_span_start(span), BIG);
    }
    EXPECT(!lr_thp_large_filled(BIG));
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 0);
    // One that is filled is believed, but not looked at at once.
    struct span *const span = take_large(BIG, true);
    lr_thp_look_at_freed(lr_span_start(span), BIG);
    EXPECT(!lr_thp_large_filled(BIG));
    for (unsigned i = 0; i < LOOKS; i++)
        lr_thp_look_at_freed(lr_span_start(span), BIG);
    EXPECT(lr_thp_large_filled(BIG));
}
END_TEST

// Those that filled ones left and that were returned are taken by blocks of another size.
START_TEST(test_thp__large_blocks_refuse_what_was_asked_for) {
    enum { BIG = 16 * WHOLE };
    start_heap_with("auto", 0);
    need_huge_pages();
    struct span *const first = take_large(BIG, true);
    lr_thp_look_at_live(lr_span_start(first), BIG);
    struct span *const asked = lr_span_alloc_large(BIG, 1);
    const uint32_t at = asked->first_page;
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 16 * LR_HUGE_BYTES);
    lr_span_free(asked);
    lr_release_pages(SIZE_MAX, LR_BREAK_ANY);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 16 * LR_HUGE_BYTES);
    EXPECT_UINT(lr_span_alloc_large(BIG / 8, 1)->first_page, ==, at);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 14 * LR_HUGE_BYTES);
}
END_TEST

// Huge pages that are asked for and those of large blocks take turns: each border between them
// splits a mapping.
START_TEST(test_thp__mappings_are_bounded) {
    start_heap_with("auto", 64 * LR_GIB);
    need_huge_pages();
    find_larger_filled();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    for (unsigned i = 0; i < 6000; i++) {
        take(1);
        take(WHOLE - 1);
        EXPECT(lr_span_alloc_large(WHOLE, 1) != NULL);
    }
    const size_t count = look_at_mappings().count;
    EXPECT_UINT(count, >, 8000);
    EXPECT_UINT(count, <, 8400);
}
END_TEST

START_TEST(test_thp__default_and_never_ask_for_none) {
    start_heap_with("default", 0);
    need_huge_pages();
    lr_span_alloc_large((size_t)16 * WHOLE, 1);
    take(1);
    EXPECT_UINT(lr_thp_mode(), ==, LR_THP_MODE_SMALL);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, 0);
}
END_TEST

START_TEST(test_thp__always_asks_for_all) {
    start_heap_with("always", 0);
    need_huge_pages();
    lr_span_alloc_large((size_t)2 * WHOLE + 1, 1);
    EXPECT_UINT(lr_thp_mode(), ==, LR_THP_MODE_WHOLE);
    EXPECT_UINT(expect_counts_add_up().free_dirty_pages, ==, WHOLE - 1);
    EXPECT_UINT(look_at_mappings().asked_bytes, ==, lr_pool_bytes());
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("thp");
    test_add(suite, test_thp__small_heap_asks_for_none);
    test_add(suite, test_thp__rest_of_a_whole_huge_page_counts_as_resident);
    test_add(suite, test_thp__large_blocks_are_not_asked_for);
    test_add(suite, test_thp__fresh_part_of_a_whole_huge_page_is_zeroed);
    test_add(suite, test_thp__returned_parts_stay_returned);
    test_add(suite, test_thp__huge_pages_are_broken_up_only_where_it_may_be);
    test_add(suite, test_thp__always_asks_again_for_what_was_broken_up);
    test_add(suite, test_thp__small_blocks_do_not_speak_for_larger_ones);
    test_add(suite, test_thp__larger_blocks_stay_apart);
    test_add(suite, test_thp__larger_blocks_join_before_the_heap_grows);
    test_add(suite, test_thp__larger_blocks_are_asked_for_once_they_are_touched);
    test_add(suite, test_thp__larger_blocks_that_are_hardly_touched_stay_small);
    test_add(suite, test_thp__buffers_speak_for_themselves);
    test_add(suite, test_thp__small_blocks_fill_what_is_apart_last);
    test_add(suite, test_thp__larger_blocks_refuse_what_was_asked_for);
    test_add(suite, test_thp__large_blocks_are_asked_for_once_they_are_filled);
    test_add(suite, test_thp__large_blocks_leave_little_of_a_huge_page);
    test_add(suite, test_thp__looks_at_live_blocks_are_paced);
    test_add(suite, test_thp__large_blocks_that_grow_are_asked_for);
    test_add(suite, test_thp__large_blocks_that_are_hardly_touched_stay_small);
    test_add(suite, test_thp__large_blocks_refuse_what_was_asked_for);
    test_add(suite, test_thp__mappings_are_bounded);
    test_add(suite, test_thp__default_and_never_ask_for_none);
    test_add(suite, test_thp__always_asks_for_all);
    return suite;
}
