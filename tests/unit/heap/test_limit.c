// SPDX-License-Identifier: Apache-2.0
//
// The soft limit, from an option or the control group, and short memory; blocks outside the window
// under the hard limit.
#include "heap/limit.h"

#include <string.h>

#include "../../support/tree.h"
#include "base/bits.h"
#include "heap/direct.h"
#include "heap/large.h"
#include "heap/release.h"
#include "heap_test.h"

#define MS_NS ((uint64_t)1000000)
#define GROUP "/sys/fs/cgroup/group"

static struct test_tree tree;

static void start_in_group(const char *memory_max) {
    start_heap(4 * LR_GIB);
    test_tree_make(&tree);
    test_tree_put(&tree, "/proc/self/cgroup", "0::/group\n");
    test_tree_put(&tree, GROUP "/memory.max", memory_max);
    lr_limit_set_root(tree.root);
}

static struct span *make_resident(size_t bytes) {
    struct span *const span = lr_span_alloc_large(bytes >> LR_PAGE_SHIFT, 1);
    EXPECT(span != NULL);
    memset(lr_span_start(span), 1, bytes);
    return span;
}

START_TEST(test_limit__comes_from_the_control_group) {
    start_in_group("1073741824\n");
    uint64_t now = 1000 * MS_NS;
    EXPECT_UINT(lr_limit_soft_bytes(), ==, SIZE_MAX); // not looked yet
    EXPECT_UINT(lr_limit_look(now), ==, 0);
    EXPECT_UINT(lr_limit_soft_bytes(), ==, LR_GIB / 100 * 90);
    // A new value is seen, within a second.
    test_tree_put(&tree, GROUP "/memory.max", "536870912\n");
    EXPECT_UINT(lr_limit_look(now += 1000 * MS_NS), ==, 0);
    EXPECT_UINT(lr_limit_soft_bytes(), ==, 512 * LR_MIB / 100 * 90);
    // Options override it at once.
    EXPECT_INT(lr_option_set("soft_limit_percent", 50), ==, 0);
    EXPECT_UINT(lr_limit_soft_bytes(), ==, 512 * LR_MIB / 100 * 50);
    EXPECT_INT(lr_option_set("soft_limit", 700 * LR_MIB), ==, 0);
    EXPECT_UINT(lr_limit_soft_bytes(), ==, 700 * LR_MIB);
    EXPECT_INT(lr_option_set("soft_limit", 0), ==, 0);
    EXPECT_INT(lr_option_set("soft_limit_percent", 0), ==, 0);
    EXPECT_UINT(lr_limit_soft_bytes(), ==, SIZE_MAX);
    test_tree_remove(&tree);
}
END_TEST

START_TEST(test_limit__free_pages_go_when_the_heap_grows_beyond_it) {
    start_heap(4 * LR_GIB);
    EXPECT_INT(lr_option_set("soft_limit", 128 * LR_MIB), ==, 0);
    struct span *kept[6];
    for (unsigned i = 0; i < 6; i++) { // what stays, and holes that nothing later fits into
        struct span *const hole = make_resident((8 + 2 * i) * LR_MIB);
        kept[i] = make_resident(16 * LR_MIB);
        lr_span_free(hole);
        const struct span_heap_counts counts = expect_counts_add_up();
        EXPECT_UINT(counts.used_pages + counts.free_dirty_pages, <=,
                    (128 + 2) * LR_MIB >> LR_PAGE_SHIFT);
    }
    EXPECT_UINT(lr_release_counts().pages, >, 0);
    // Without it they stay.
    EXPECT_INT(lr_option_set("soft_limit", 0), ==, 0);
    const uint64_t released = lr_release_counts().pages;
    for (unsigned i = 0; i < 6; i++)
        lr_span_free(kept[i]);
    lr_span_free(make_resident(160 * LR_MIB));
    EXPECT_UINT(lr_release_counts().pages, ==, released);
}
END_TEST

START_TEST(test_limit__caches_are_kept_small_while_it_is_exceeded) {
    start_in_group("max\n");
    uint64_t now = 1000 * MS_NS;
    EXPECT_INT(lr_option_set("watch_memory", 0), ==, 0);
    EXPECT_UINT(lr_limit_look(now), ==, 0);
    const size_t base = test_rss_bytes();
    EXPECT_INT(lr_option_set("soft_limit", base + 32 * LR_MIB), ==, 0);
    struct span *const span = make_resident(64 * LR_MIB);
    EXPECT(!lr_limit_is_tight());
    EXPECT_UINT(lr_limit_look(now + 50 * MS_NS), ==, 0); // too soon for another look
    const size_t over = lr_limit_look(now += 100 * MS_NS);
    EXPECT_UINT(over, >=, 28 * LR_MIB);
    EXPECT_UINT(over, <=, 40 * LR_MIB + base / 32);
    EXPECT(lr_limit_is_tight());
    EXPECT_UINT(lr_limit_counts().soft_hits, ==, 1);
    lr_span_free(span);
    EXPECT_UINT(lr_release_pages(SIZE_MAX, LR_BREAK_ANY), >, 0);
    EXPECT_UINT(lr_limit_look(now += 100 * MS_NS), ==, 0);
    EXPECT(!lr_limit_is_tight());
    // A limit that is taken away ends it too.
    struct span *const again = make_resident(64 * LR_MIB);
    EXPECT_UINT(lr_limit_look(now += 100 * MS_NS), >, 0);
    EXPECT_INT(lr_option_set("soft_limit", 0), ==, 0);
    EXPECT_UINT(lr_limit_look(now += 100 * MS_NS), ==, 0);
    EXPECT(!lr_limit_is_tight());
    lr_span_free(again);
    test_tree_remove(&tree);
}
END_TEST

static void put_pressure(unsigned total_us) {
    char text[256];
    snprintf(text, sizeof text, "some avg10=0.00 avg60=0.00 avg300=0.00 total=%u\nfull total=0\n",
             total_us);
    test_tree_put(&tree, GROUP "/memory.pressure", text);
}

START_TEST(test_limit__short_memory_is_seen) {
    start_in_group("max\n");
    uint64_t now = 1000 * MS_NS;
    put_pressure(500000); // what was before does not count
    EXPECT_UINT(lr_limit_look(now), ==, 0);
    put_pressure(509000); // 9 % of the time
    EXPECT_UINT(lr_limit_look(now += 100 * MS_NS), ==, 0);
    put_pressure(519000); // 10 %
    EXPECT_UINT(lr_limit_look(now += 100 * MS_NS), ==, SIZE_MAX);
    EXPECT_UINT(lr_limit_look(now += 100 * MS_NS), ==, 0);
    // Moved to another group with lower counters.
    put_pressure(0);
    EXPECT_UINT(lr_limit_look(now += 100 * MS_NS), ==, 0);
    // After a long sleep the difference tells nothing about now.
    put_pressure(5000000);
    EXPECT_UINT(lr_limit_look(now += 60000 * MS_NS), ==, 0);
    put_pressure(9000000);
    EXPECT_INT(lr_option_set("watch_memory", 0), ==, 0);
    EXPECT_UINT(lr_limit_look(now += 100 * MS_NS), ==, 0);
    EXPECT_UINT(lr_limit_counts().shortages, ==, 1);
    test_tree_remove(&tree);
}
END_TEST

static void put_hits(unsigned high, unsigned most) {
    char text[128];
    snprintf(text, sizeof text, "low 0\nhigh %u\nmax %u\noom 0\n", high, most);
    test_tree_put(&tree, GROUP "/memory.events", text);
}

START_TEST(test_limit__full_group_counts_for_who_fills_it) {
    start_in_group("1099511627776\n");
    uint64_t now = 1000 * MS_NS;
    put_hits(0, 0);
    EXPECT_UINT(lr_limit_look(now), ==, 0);
    put_hits(0, 1); // by the page cache: this process holds next to nothing
    EXPECT_UINT(lr_limit_look(now += 100 * MS_NS), ==, 0);
    char text[64];
    snprintf(text, sizeof text, "%zu\n", 2 * test_rss_bytes() - LR_MIB);
    test_tree_put(&tree, GROUP "/memory.max", text);
    EXPECT_UINT(lr_limit_look(now += 1000 * MS_NS), ==, 0);
    put_hits(1, 1);
    EXPECT_UINT(lr_limit_look(now += 100 * MS_NS), ==, SIZE_MAX);
    put_hits(1, 2);
    EXPECT_UINT(lr_limit_look(now += 100 * MS_NS), ==, 0); // not again and again
    put_hits(1, 3);
    EXPECT_UINT(lr_limit_look(now += 1000 * MS_NS), ==, SIZE_MAX);
    EXPECT_UINT(lr_limit_counts().shortages, ==, 2);
    put_hits(0, 0); // moved to another group
    EXPECT_UINT(lr_limit_look(now += 100 * MS_NS), ==, 0);
    test_tree_remove(&tree);
}
END_TEST

START_TEST(test_limit__blocks_outside_the_window_count) {
    bool zeroed;
    start_heap(LR_GIB);
    EXPECT_INT(lr_option_set("heap_limit", 64 * LR_MIB), ==, 0);
    const size_t align = 2 * lr_window.align; // more than the window can give
    void *const block = lr_large_alloc(40 * LR_MIB, align, &zeroed);
    EXPECT(block != NULL);
    EXPECT_UINT(lr_direct_bytes(block), ==, 40 * LR_MIB);
    EXPECT_PTR(lr_large_alloc(30 * LR_MIB, align, &zeroed), ==, NULL);
    EXPECT_PTR(lr_large_alloc(30 * LR_MIB, LR_PAGE_BYTES, &zeroed), ==, NULL);
    EXPECT_UINT(lr_limit_counts().refused, ==, 2);
    EXPECT_PTR(lr_large_resize(block, 70 * LR_MIB), ==, NULL);
    void *const grown = lr_large_resize(block, 60 * LR_MIB);
    EXPECT(grown != NULL);
    EXPECT(lr_large_free(grown));
    void *const inside = lr_large_alloc(60 * LR_MIB, LR_PAGE_BYTES, &zeroed);
    EXPECT(inside != NULL);
    EXPECT_PTR(lr_large_alloc(30 * LR_MIB, align, &zeroed), ==, NULL);
    EXPECT(lr_large_free(inside));
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("limit");
    test_add(suite, test_limit__comes_from_the_control_group);
    test_add(suite, test_limit__free_pages_go_when_the_heap_grows_beyond_it);
    if (!TEST_UNDER_TSAN) // its shadow memory drowns the figures
        test_add(suite, test_limit__caches_are_kept_small_while_it_is_exceeded);
    test_add(suite, test_limit__short_memory_is_seen);
    test_add(suite, test_limit__full_group_counts_for_who_fills_it);
    test_add(suite, test_limit__blocks_outside_the_window_count);
    return suite;
}
