// SPDX-License-Identifier: Apache-2.0
//
// Pages without a live block inside spans that are in use.
#include "cache/span_pages.h"

#include <string.h>

#include "../../support/crew.h"
#include "cache_test.h"
#include "heap/scavenger.h"
#include "heap/thp.h"

static void *objects[20000];

static struct span *span_of(const void *object) { return lr_span_of_page(lr_page_of(object)); }

// `count` written objects of the class.
static void get_written(unsigned c, unsigned count) {
    for (unsigned got = 0; got < count;)
        got += lr_central_remove(c, objects + got, count - got);
    for (unsigned i = 0; i < count; i++)
        memset(objects[i], 1, lr_classes[c].bytes);
}

START_TEST(test_span_pages__all_but_the_pages_of_live_objects_go) {
    start_tiers(8 * LR_GIB);
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        const struct class_info *const info = &lr_classes[c];
        const size_t bytes = info->bytes, unit = lr_span_unit_pages(info->pages) * LR_PAGE_BYTES;
        if (info->objects < 2)
            continue; // such a span is in use whole, or free
        get_written(c, info->objects);
        char *const kept = objects[info->objects / 2];
        const struct span *const span = span_of(kept);
        objects[info->objects / 2] = objects[info->objects - 1];
        lr_central_insert(c, objects, info->objects - 1);
        const size_t rss = test_rss_bytes();
        const size_t released = lr_span_pages_release();
        const size_t pinned =
            ((size_t)(kept - lr_span_start(span)) % unit + bytes + unit - 1) / unit;
        EXPECT_UINT(released, ==, lr_span_bytes(span) - pinned * unit);
        EXPECT_UINT(lr_central_counts(c).clean_bytes, ==, released);
        EXPECT_UINT(central_free_objects(c), ==, info->objects - 1u);
        EXPECT_UINT(lr_span_pages_release(), ==, 0); // once
        if (released >= LR_MIB / 4 && !TEST_UNDER_TSAN)
            EXPECT_UINT(test_rss_bytes(), <, rss);
        for (size_t i = 0; i < bytes; i++)
            EXPECT_INT(kept[i], ==, 1);
        // What was returned reads as zero and is no longer counted once it is handed out.
        const unsigned count = lr_central_remove(c, objects, info->objects - 1u);
        EXPECT_UINT(count, ==, info->objects - 1u);
        EXPECT_UINT(lr_central_counts(c).clean_bytes, ==, 0);
        for (unsigned i = 0; i < count; i++) {
            EXPECT_PTR(span_of(objects[i]), ==, span);
            EXPECT_PTR(objects[i], !=, kept);
        }
        objects[count] = kept;
        lr_central_insert(c, objects, count + 1);
        lr_central_release_spares();
    }
    expect_all_returned();
}
END_TEST

START_TEST(test_span_pages__stay_clean_when_the_span_is_freed) {
    start_tiers(LR_GIB);
    const unsigned c = lr_class_of(8192);
    get_written(c, lr_classes[c].objects);
    lr_central_insert(c, objects + 1, lr_classes[c].objects - 1u);
    const size_t released = lr_span_pages_release();
    EXPECT_UINT(released, ==, (lr_classes[c].objects - 1u) * 8192u);
    const struct span_heap_counts before = expect_counts_add_up();
    lr_central_insert(c, objects, 1);
    lr_central_release_spares();
    const struct span_heap_counts after = expect_counts_add_up();
    EXPECT_UINT(after.free_dirty_pages - before.free_dirty_pages, ==, 1);
    EXPECT_UINT((after.free_clean_pages - before.free_clean_pages) << LR_PAGE_SHIFT, ==, released);
    EXPECT_UINT(lr_central_counts(c).clean_bytes, ==, 0);
}
END_TEST

// A program that uses its free blocks keeps them; one that does not gets the pages taken.
START_TEST(test_span_pages__ageing_spares_what_is_used) {
    start_tiers(LR_GIB);
    EXPECT_INT(lr_option_set("scavenge_delay_ms", 1000), ==, 0);
    const unsigned c = lr_class_of(8192), most = lr_classes[c].objects;
    uint64_t now_ns = 1000000000000;
    get_written(c, most);
    for (unsigned round = 0; round < 5; round++) {
        lr_central_insert(c, objects + 1, most - 1);
        lr_span_pages_age(now_ns += 1000000000);
        EXPECT_UINT(lr_central_remove(c, objects + 1, most - 1), ==, most - 1);
    }
    EXPECT_UINT(lr_span_pages_counts().bytes, ==, 0);
    lr_central_insert(c, objects + 1, most - 1);
    EXPECT(lr_span_pages_age(now_ns += 1000000000));
    EXPECT_UINT(lr_span_pages_counts().bytes, ==, 0);
    lr_span_pages_age(now_ns += 500000000); // the delay is not over
    EXPECT_UINT(lr_span_pages_counts().bytes, ==, 0);
    EXPECT(lr_span_pages_age(now_ns += 500000000));
    EXPECT_UINT(lr_span_pages_counts().bytes, ==, (most - 1) * 8192u);
    EXPECT(!lr_span_pages_age(now_ns += 1000000000)); // nothing is left to decide about
}
END_TEST

// A tick that finds enough taken to be a load of constant size.
static bool is_steady_load(void *unused) {
    (void)unused;
    lr_span_free(lr_span_alloc_large(100, 1));
    return lr_scavenger_breaks() == LR_BREAK_SPARSE;
}

// Gets `count` objects and gives all but the first of each span back; how many went back.
static unsigned leave_one_a_span(unsigned c, unsigned count) {
    unsigned back = 0;
    get_written(c, count);
    for (unsigned i = 0; i < count; i++)
        if (objects[i] != lr_span_start(span_of(objects[i])))
            objects[back++] = objects[i];
    lr_central_insert(c, objects, back);
    return back;
}

// Under load huge pages are not broken up for a few pages in the spans of each.
START_TEST(test_span_pages__load_keeps_huge_pages_whole) {
    start_tiers_with("auto", 0);
    if (lr_os_thp() != LR_OS_THP_ASKED)
        TEST_SKIP("huge pages cannot be asked for here");
    find_larger_filled();
    EXPECT(lr_span_alloc_large((size_t)16 * LR_PAGES_PER_HUGE, 1) != NULL);
    EXPECT_INT(lr_thp_mode(), ==, LR_THP_MODE_ASKING);
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_INLINE), ==, 0);
    uint64_t now_ns = 1000000000000;
    const unsigned few = lr_class_of(8192), many = lr_class_of(1024);
    leave_one_a_span(few, lr_classes[few].objects);
    EXPECT(test_wait_until(is_steady_load, NULL, 10000));
    for (unsigned round = 0; round < 3; round++)
        lr_span_pages_age(now_ns += 6000000000);
    EXPECT_UINT(lr_span_pages_counts().bytes, ==, 0);
    // Where it is an eighth of the heap it goes.
    const unsigned freed = leave_one_a_span(many, sizeof objects / sizeof *objects);
    EXPECT(test_wait_until(is_steady_load, NULL, 10000));
    for (unsigned round = 0; round < 2; round++)
        lr_span_pages_age(now_ns += 6000000000);
    EXPECT_UINT(lr_span_pages_counts().bytes, >, freed / 2 * lr_classes[many].bytes);
}
END_TEST

enum { THREADS = 4, HELD = 100, ROUNDS = 4000 };

static void use_objects(struct test_worker *worker) {
    void *mine[HELD] = {NULL};
    struct test_rng rng = {worker->seed};
    const unsigned c = lr_class_of(1024);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const unsigned at = (unsigned)test_rng_below(&rng, HELD);
        if (worker->index == 0 && i % 8 == 0)
            lr_span_pages_release();
        if (mine[at] != NULL) {
            EXPECT_FILLED(mine[at], 1024, worker->seed + at);
            lr_central_insert(c, &mine[at], 1);
            mine[at] = NULL;
        } else {
            EXPECT_UINT(lr_central_remove(c, &mine[at], 1), ==, 1);
            test_fill(mine[at], 1024, worker->seed + at);
        }
    }
    for (unsigned i = 0; i < HELD; i++)
        if (mine[i] != NULL)
            lr_central_insert(c, &mine[i], 1);
}

START_TEST(test_span_pages__while_others_use_the_spans) {
    start_tiers(LR_GIB);
    test_crew_run(THREADS, use_objects, NULL);
    EXPECT_UINT(lr_span_pages_counts().bytes, >, 0);
    expect_all_returned();
    EXPECT_UINT(expect_counts_add_up().used_pages, ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("span_pages");
    test_add(suite, test_span_pages__all_but_the_pages_of_live_objects_go);
    test_add(suite, test_span_pages__stay_clean_when_the_span_is_freed);
    test_add(suite, test_span_pages__ageing_spares_what_is_used);
    test_add(suite, test_span_pages__load_keeps_huge_pages_whole);
    test_add(suite, test_span_pages__while_others_use_the_spans);
    return suite;
}
