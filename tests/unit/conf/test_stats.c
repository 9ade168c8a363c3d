// SPDX-License-Identifier: Apache-2.0
//
// The statistics table: its rows fit the public structure, and what is derived is derived soundly.
#include "conf/stats.h"

#include <string.h>

#include "../../support/support.h"

// Every field another value: 1000 for the first row, 1001 for the second, ...
static struct larder_stats numbered(void) {
    struct larder_stats stats = {.version = 0, .bytes = 0};
    uint64_t next = 1000;
#define LARDER_STAT(name, kind, unit, help) stats.name = next++;
#include <larder/stats.def>
    return stats;
}

START_TEST(test_stats__rows_are_the_fields_of_the_structure) {
    const struct larder_stats stats = numbered();
    for (enum lr_stat_id id = 0; id < LR_STAT_COUNT; id++) {
        EXPECT_UINT(lr_stat_value(&stats, id), ==, 1000 + id);
        EXPECT_UINT(strlen(lr_stat_help(id)), >, 10);
        EXPECT_UINT(strspn(lr_stat_name(id), "abcdefghijklmnopqrstuvwxyz_"), ==,
                    strlen(lr_stat_name(id)));
    }
    ck_assert_str_eq(lr_stat_name(LR_STAT_live_bytes), "live_bytes");
    ck_assert_str_eq(lr_stat_name(LR_STAT_lock_contended), "lock_contended");
    EXPECT_UINT(lr_stat_value(&stats, LR_STAT_lock_contended), ==, stats.lock_contended);
}
END_TEST

START_TEST(test_stats__names_say_their_unit) {
    for (enum lr_stat_id id = 0; id < LR_STAT_COUNT; id++) {
        const char *name = lr_stat_name(id);
        const size_t length = strlen(name);
        const bool named_bytes = length > 6 && strcmp(name + length - 6, "_bytes") == 0;
        EXPECT_INT(named_bytes, ==, lr_stat_unit(id) == LR_STAT_BYTES);
    }
    EXPECT_UINT(lr_stat_unit(LR_STAT_fragmentation), ==, LR_STAT_PERMILLE);
    EXPECT_UINT(lr_stat_unit(LR_STAT_spans), ==, LR_STAT_NUMBER);
    EXPECT_UINT(lr_stat_kind(LR_STAT_spans), ==, LR_STAT_GAUGE);
    EXPECT_UINT(lr_stat_kind(LR_STAT_lock_takes), ==, LR_STAT_COUNTER);
}
END_TEST

// Programs are built against these places.
START_TEST(test_stats__fields_stay_where_they_are) {
    EXPECT_UINT(offsetof(struct larder_stats, version), ==, 0);
    EXPECT_UINT(offsetof(struct larder_stats, bytes), ==, 4);
    EXPECT_UINT(offsetof(struct larder_stats, live_bytes), ==, 8);
    EXPECT_UINT(offsetof(struct larder_stats, held_bytes), ==, 64);
    EXPECT_UINT(offsetof(struct larder_stats, fragmentation), ==, 72);
    EXPECT_UINT(offsetof(struct larder_stats, malloc_slow), ==, 168);
    EXPECT_UINT(offsetof(struct larder_stats, lock_contended), ==, 232);
    EXPECT_UINT(sizeof(struct larder_class_stats), ==, 64);
    EXPECT_UINT(sizeof(struct larder_lock_stats), ==, 24);
}
END_TEST

START_TEST(test_stats__derive_adds_up) {
    struct larder_stats stats = numbered();
    stats.live_bytes = 6000;
    stats.thread_cache_bytes = 100;
    stats.transfer_cache_bytes = 200;
    stats.central_free_bytes = 300;
    stats.span_tail_bytes = 400;
    stats.span_heap_free_bytes = 900;
    stats.metadata_bytes = 100;
    lr_stats_derive(&stats);
    EXPECT_UINT(stats.version, ==, LARDER_STATS_VERSION);
    EXPECT_UINT(stats.bytes, ==, sizeof stats);
    EXPECT_UINT(stats.held_bytes, ==, 8000);
    EXPECT_UINT(stats.fragmentation, ==, 250);
    EXPECT_UINT(stats.returned_bytes, ==, 1000 + LR_STAT_returned_bytes); // the others are left
}
END_TEST

START_TEST(test_stats__derive_of_an_empty_heap) {
    struct larder_stats stats;
    memset(&stats, 0, sizeof stats);
    lr_stats_derive(&stats);
    EXPECT_UINT(stats.held_bytes, ==, 0);
    EXPECT_UINT(stats.fragmentation, ==, 0);
    stats.metadata_bytes = 4096;
    lr_stats_derive(&stats);
    EXPECT_UINT(stats.fragmentation, ==, 1000);
}
END_TEST

START_TEST(test_stats__derive_takes_a_negative_difference_for_zero) {
    struct larder_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.live_bytes = (uint64_t)-4096;
    stats.threads = (uint64_t)-1;
    stats.central_free_bytes = 8192;
    stats.lock_takes = UINT64_MAX; // a counter is what it is
    lr_stats_derive(&stats);
    EXPECT_UINT(stats.live_bytes, ==, 0);
    EXPECT_UINT(stats.threads, ==, 0);
    EXPECT_UINT(stats.held_bytes, ==, 8192);
    EXPECT_UINT(stats.fragmentation, ==, 1000);
    EXPECT_UINT(stats.lock_takes, ==, UINT64_MAX);
}
END_TEST

START_TEST(test_stats__derive_of_a_huge_heap) {
    struct larder_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.live_bytes = UINT64_C(1) << 62;
    stats.span_heap_free_bytes = UINT64_C(1) << 62;
    lr_stats_derive(&stats);
    EXPECT_UINT(stats.held_bytes, ==, UINT64_C(1) << 63);
    EXPECT_UINT(stats.fragmentation, ==, 500);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("stats");
    test_add(suite, test_stats__rows_are_the_fields_of_the_structure);
    test_add(suite, test_stats__names_say_their_unit);
    test_add(suite, test_stats__fields_stay_where_they_are);
    test_add(suite, test_stats__derive_adds_up);
    test_add(suite, test_stats__derive_of_an_empty_heap);
    test_add(suite, test_stats__derive_takes_a_negative_difference_for_zero);
    test_add(suite, test_stats__derive_of_a_huge_heap);
    return suite;
}
