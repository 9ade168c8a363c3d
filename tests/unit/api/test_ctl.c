// SPDX-License-Identifier: Apache-2.0
//
// <larder/ctl.h> and <larder/stats.h> from a program's side: arguments, errno, older callers.
#include <larder/ctl.h>
#include <larder/larder.h>
#include <larder/stats.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../../support/support.h"

START_TEST(test_ctl__option_errors) {
    uint64_t value = 77;
    EXPECT_INT(larder_option_get(NULL, &value), ==, -EINVAL);
    EXPECT_INT(larder_option_get("batch_max", NULL), ==, -EINVAL);
    EXPECT_INT(larder_option_set(NULL, 1), ==, -EINVAL);
    EXPECT_INT(larder_option_get("", &value), ==, -ENOENT);
    EXPECT_INT(larder_option_set("BATCH_MAX", 64), ==, -ENOENT);
    EXPECT_INT(larder_option_set("batch_max", 0), ==, -ERANGE);
    EXPECT_INT(larder_option_set("pool_size", 4 << 20), ==, -EPERM);
    EXPECT_UINT(value, ==, 77);
    EXPECT_INT(larder_options_print(-1), ==, -EBADF);
    EXPECT_INT(larder_stats_print(-1), ==, -EBADF);
}
END_TEST

START_TEST(test_ctl__option_set_is_got) {
    uint64_t value = 0;
    EXPECT_INT(larder_option_set("batch_max", 33), ==, 0);
    EXPECT_INT(larder_option_get("batch_max", &value), ==, 0);
    EXPECT_UINT(value, ==, 33);
}
END_TEST

START_TEST(test_ctl__errno_is_kept) {
    struct larder_stats stats;
    struct larder_class_stats class_stats;
    struct larder_lock_stats lock;
    uint64_t value;
    int ends[2];
    EXPECT_INT(pipe(ends), ==, 0);
    errno = 12345;
    EXPECT_INT(larder_option_get("batch_max", &value), ==, 0);
    EXPECT_INT(larder_option_set("batch_max", 0), ==, -ERANGE);
    EXPECT_INT(larder_option_set("batch_max", 64), ==, 0);
    EXPECT_INT(larder_options_print(1 << 20), ==, -EBADF);
    EXPECT_INT(larder_options_print(ends[1]), ==, 0);
    EXPECT_INT(larder_stats_print(1 << 20), ==, -EBADF);
    EXPECT_INT(larder_stats_get(&stats, sizeof stats), ==, 0);
    EXPECT_INT(larder_stats_class(0, &class_stats), ==, 0);
    EXPECT_INT(larder_stats_lock(0, &lock), ==, 0);
    EXPECT_INT(larder_stats_lock(UINT32_MAX, &lock), ==, -ENOENT);
    EXPECT_INT(errno, ==, 12345);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

// A program built against a shorter or longer structure gets what both have, and nothing else.
START_TEST(test_ctl__stats_of_another_size) {
    union {
        struct larder_stats stats;
        unsigned char bytes[sizeof(struct larder_stats) + 64];
    } out;
    EXPECT_INT(larder_stats_get(NULL, sizeof out), ==, -EINVAL);
    EXPECT_INT(larder_stats_get(&out.stats, 7), ==, -EINVAL);
    static const size_t sizes[] = {
        8, 16, 20, sizeof(struct larder_stats) - 8, sizeof(struct larder_stats), sizeof out};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(out.bytes, 0xa5, sizeof out);
        EXPECT_INT(larder_stats_get(&out.stats, sizes[i]), ==, 0);
        EXPECT_UINT(out.stats.version, ==, LARDER_STATS_VERSION);
        EXPECT_UINT(out.stats.bytes, ==, sizeof(struct larder_stats));
        const size_t written = sizes[i] < sizeof out.stats ? sizes[i] : sizeof out.stats;
        for (size_t b = written; b < sizeof out; b++) {
            EXPECT_UINT(out.bytes[b], ==, 0xa5);
        }
    }
}
END_TEST

START_TEST(test_ctl__classes_and_locks_end) {
    struct larder_class_stats class_stats;
    struct larder_lock_stats lock;
    EXPECT_INT(larder_stats_class(0, NULL), ==, -EINVAL);
    EXPECT_INT(larder_stats_lock(0, NULL), ==, -EINVAL);
    unsigned classes = 0, locks = 0;
    uint64_t size = 0;
    for (; larder_stats_class(classes, &class_stats) == 0; classes++) {
        EXPECT_UINT(class_stats.size, >, size);
        EXPECT_UINT(class_stats.objects_per_span, >, 0);
        EXPECT_UINT(class_stats.objects_per_span * class_stats.size, <=, class_stats.span_bytes);
        size = class_stats.size;
    }
    EXPECT_UINT(size, ==, 256 * 1024);
    for (; larder_stats_lock(locks, &lock) == 0; locks++) {
        EXPECT(lock.name != NULL && lock.name[0] != '\0');
        EXPECT_UINT(lock.contended, <=, lock.takes);
    }
    EXPECT_UINT(locks, >, 3);
    EXPECT_INT(larder_stats_class(classes, &class_stats), ==, -ENOENT);
    EXPECT_INT(larder_stats_lock(locks, &lock), ==, -ENOENT);
}
END_TEST

// The figures follow what the program does; a quiet heap adds up exactly.
START_TEST(test_ctl__figures_follow_the_program) {
    enum { COUNT = 1000, LARGE = 3 << 20 };
    struct larder_stats before, after;
    void *blocks[COUNT];
    EXPECT_INT(larder_option_set("scavenger", 2), ==, 0);
    EXPECT_INT(larder_stats_get(&before, sizeof before), ==, 0);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = larder_malloc(1000);
        EXPECT(blocks[i] != NULL);
    }
    void *large = larder_malloc(LARGE);
    EXPECT(large != NULL);
    EXPECT_INT(larder_stats_get(&after, sizeof after), ==, 0);
    const uint64_t small_bytes = COUNT * larder_malloc_usable_size(blocks[0]);
    const uint64_t large_bytes = larder_malloc_usable_size(large);
    EXPECT_UINT(after.live_bytes - before.live_bytes, ==, small_bytes + large_bytes);
    EXPECT_UINT(after.large_bytes - before.large_bytes, ==, large_bytes);
    EXPECT_UINT(after.large_blocks - before.large_blocks, ==, 1);
    EXPECT_UINT(after.malloc_slow, >, before.malloc_slow);
    EXPECT_UINT(after.refills, >, before.refills);
    EXPECT_UINT(after.lock_takes, >, before.lock_takes);
    EXPECT_UINT(after.held_bytes, ==,
                after.live_bytes + after.thread_cache_bytes + after.transfer_cache_bytes +
                    after.central_free_bytes + after.span_tail_bytes + after.span_heap_free_bytes +
                    after.metadata_bytes);
    EXPECT_UINT(after.mapped_bytes, ==,
                after.held_bytes - after.metadata_bytes + after.returned_bytes);
    EXPECT_UINT(after.mapped_bytes, <=, after.reserved_bytes);
    EXPECT_UINT(after.resident_bytes, >, 0);

    for (size_t i = 0; i < COUNT; i++) {
        larder_free(blocks[i]);
    }
    larder_free(large);
    EXPECT_INT(larder_stats_get(&after, sizeof after), ==, 0);
    EXPECT_UINT(after.live_bytes, ==, before.live_bytes);
    EXPECT_UINT(after.large_blocks, ==, before.large_blocks);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("ctl");
    test_add(suite, test_ctl__option_errors);
    test_add(suite, test_ctl__option_set_is_got);
    test_add(suite, test_ctl__errno_is_kept);
    test_add(suite, test_ctl__stats_of_another_size);
    test_add(suite, test_ctl__classes_and_locks_end);
    test_add(suite, test_ctl__figures_follow_the_program);
    return suite;
}
