// SPDX-License-Identifier: Apache-2.0
//
// The statistics add up: by the equations of stats.def, by class, and with what the program did.
#define _GNU_SOURCE 1

#include <larder/ctl.h>
#include <larder/stats.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../support/support.h"

static const size_t mib = 1024 * 1024;

static struct larder_stats read_stats(void) {
    struct larder_stats stats;
    EXPECT_INT(larder_stats_get(&stats, sizeof stats), ==, 0);
    EXPECT_UINT(stats.version, ==, LARDER_STATS_VERSION);
    EXPECT_UINT(stats.bytes, ==, sizeof stats);
    return stats;
}

// Blocks in every tier, some of them free; the scavenger would move figures while they are read.
static void fill_tiers(void **blocks, unsigned count) {
    EXPECT_INT(larder_option_set("scavenger", 2), ==, 0);
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < count; i++)
        blocks[i] = larder_malloc(test_rng_size(&rng, i % 20 == 0 ? mib : 5000));
    for (unsigned i = 0; i < count; i += 2)
        larder_free(blocks[i]);
}

START_TEST(test_stats__equations_hold) {
    enum { COUNT = 5000 };
    static void *blocks[COUNT];
    fill_tiers(blocks, COUNT);
    const struct larder_stats s = read_stats();
    EXPECT_UINT(s.held_bytes, ==,
                s.live_bytes + s.thread_cache_bytes + s.transfer_cache_bytes +
                    s.central_free_bytes + s.span_tail_bytes + s.span_heap_free_bytes +
                    s.metadata_bytes);
    EXPECT_UINT(s.mapped_bytes, ==, s.held_bytes - s.metadata_bytes + s.returned_bytes);
    EXPECT_UINT(s.mapped_bytes, <=, s.reserved_bytes);
    EXPECT_UINT(s.large_bytes, <=, s.live_bytes);
    for (unsigned i = 1; i < COUNT; i += 2)
        larder_free(blocks[i]);
}
END_TEST

START_TEST(test_stats__live_bytes_are_the_usable_sizes) {
    enum { COUNT = 3000 };
    static void *blocks[COUNT];
    fill_tiers(blocks, COUNT);
    size_t usable = 0;
    for (unsigned i = 1; i < COUNT; i += 2)
        usable += larder_malloc_usable_size(blocks[i]);
    EXPECT_UINT(read_stats().live_bytes, ==, usable);
    for (unsigned i = 1; i < COUNT; i += 2)
        larder_free(blocks[i]);
    EXPECT_UINT(read_stats().live_bytes, ==, 0);
}
END_TEST

START_TEST(test_stats__classes_add_up) {
    enum { COUNT = 3000 };
    static void *blocks[COUNT];
    fill_tiers(blocks, COUNT);
    const struct larder_stats all = read_stats();
    struct larder_class_stats class;
    size_t live = 0, cached = 0, last_size = 0;
    unsigned index = 0;
    for (; larder_stats_class(index, &class) == 0; index++) {
        EXPECT_UINT(class.size, >, last_size);
        EXPECT_UINT(class.spans * class.objects_per_span, ==,
                    class.live_objects + class.thread_objects + class.transfer_objects +
                        class.central_objects);
        live += class.live_objects * class.size;
        cached += class.thread_objects * class.size;
        last_size = class.size;
    }
    EXPECT_UINT(index, >, 10);
    EXPECT_INT(larder_stats_class(index, &class), ==, -ENOENT);
    EXPECT_INT(larder_stats_class(0, NULL), ==, -EINVAL);
    EXPECT_UINT(live, ==, all.live_bytes - all.large_bytes);
    EXPECT_UINT(cached, ==, all.thread_cache_bytes);
}
END_TEST

START_TEST(test_stats__locks_are_counted) {
    void *blocks[1000];
    for (unsigned i = 0; i < 1000; i++)
        blocks[i] = larder_malloc(3000);
    for (unsigned i = 0; i < 1000; i++)
        larder_free(blocks[i]);
    struct larder_lock_stats lock;
    size_t takes = 0;
    unsigned index = 0;
    for (; larder_stats_lock(index, &lock) == 0; index++) {
        EXPECT(lock.name != NULL && lock.name[0] != '\0');
        EXPECT_UINT(lock.contended, <=, lock.takes);
        takes += lock.takes;
    }
    EXPECT_UINT(index, >=, 3);
    EXPECT_UINT(takes, >, 0);
    EXPECT_INT(larder_stats_lock(index, &lock), ==, -ENOENT);
    EXPECT_INT(larder_stats_lock(0, NULL), ==, -EINVAL);
}
END_TEST

START_TEST(test_stats__a_shorter_structure_is_filled_as_far_as_it_goes) {
    struct larder_stats stats;
    memset(&stats, 0x5a, sizeof stats);
    EXPECT_INT(larder_stats_get(&stats, 16), ==, 0);
    EXPECT_UINT(stats.version, ==, LARDER_STATS_VERSION);
    const unsigned char *const bytes = (const unsigned char *)&stats;
    for (size_t i = 16; i < sizeof stats; i++)
        EXPECT_UINT(bytes[i], ==, 0x5a);
    EXPECT_INT(larder_stats_get(&stats, 4), ==, -EINVAL);
    EXPECT_INT(larder_stats_get(NULL, sizeof stats), ==, -EINVAL);
}
END_TEST

START_TEST(test_stats__printing_reports_the_error) {
    EXPECT_INT(larder_stats_print(-1), ==, -EBADF);
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    errno = EXDEV;
    EXPECT_INT(larder_stats_print(null), ==, 0);
    EXPECT_INT(errno, ==, EXDEV);
    close(null);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("stats");
    test_add(suite, test_stats__equations_hold);
    test_add(suite, test_stats__live_bytes_are_the_usable_sizes);
    test_add(suite, test_stats__classes_add_up);
    test_add(suite, test_stats__locks_are_counted);
    test_add(suite, test_stats__a_shorter_structure_is_filled_as_far_as_it_goes);
    test_add(suite, test_stats__printing_reports_the_error);
    return suite;
}
