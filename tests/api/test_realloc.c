// SPDX-License-Identifier: Apache-2.0
//
// realloc keeps the contents up to the smaller size, over every boundary between size classes and
// tiers; on failure the old block stays.
#include <larder/larder.h>

#include <errno.h>

#include "../support/support.h"

static const size_t kib = 1024;
static const size_t mib = 1024 * 1024;

enum { BOUNDARIES_MAX = 400 };

// The largest size of each class, by asking for what one byte more would get.
static unsigned class_ends(size_t *ends, size_t up_to_bytes) {
    unsigned count = 0;
    for (size_t bytes = 1; bytes <= up_to_bytes && count < BOUNDARIES_MAX;) {
        ends[count] = larder_good_size(bytes, 0);
        EXPECT_UINT(ends[count], >=, bytes);
        bytes = ends[count++] + 1;
    }
    return count;
}

// Block of `from` bytes with contents, resized to `to`: the common part is as before.
static void expect_resize(size_t from, size_t to) {
    char *block = larder_malloc(from);
    EXPECT(block != NULL);
    test_fill(block, from, from);
    block = larder_realloc(block, to);
    EXPECT(block != NULL);
    EXPECT_UINT(larder_malloc_usable_size(block), >=, to);
    EXPECT_FILLED(block, from < to ? from : to, from);
    test_fill(block, larder_malloc_usable_size(block), to);
    EXPECT_FILLED(block, larder_malloc_usable_size(block), to);
    larder_free(block);
}

START_TEST(test_realloc__over_every_class_boundary) {
    size_t ends[BOUNDARIES_MAX];
    const unsigned count = class_ends(ends, 300 * kib);
    EXPECT_UINT(count, >, 10);
    for (unsigned i = 0; i < count; i++) {
        expect_resize(ends[i], ends[i] + 1);
        expect_resize(ends[i] + 1, ends[i]);
        expect_resize(ends[i] - 1, ends[i]);
        expect_resize(ends[i], ends[i] - 1 + (ends[i] == 1));
    }
}
END_TEST

START_TEST(test_realloc__every_pair_of_classes) {
    size_t ends[BOUNDARIES_MAX];
    const unsigned count = class_ends(ends, 300 * kib);
    for (unsigned from = 0; from < count; from += 3) {
        for (unsigned to = 0; to < count; to += 3)
            expect_resize(ends[from], ends[to]);
    }
}
END_TEST

START_TEST(test_realloc__large_blocks) {
    static const size_t sizes[] = {100,     256 * 1024, 256 * 1024 + 1,    300000,
                                   1 << 20, 2097151,    2097152,           2097153,
                                   5 << 20, 16 << 20,   (16 << 20) + 8193, 40 << 20};
    // The largest take too long where each access is checked.
    const unsigned left_out = TEST_UNDER_ASAN || TEST_UNDER_TSAN ? 3 : 0;
    const unsigned count = sizeof sizes / sizeof sizes[0] - left_out;
    for (unsigned from = 0; from < count; from++) {
        for (unsigned to = 0; to < count; to++)
            expect_resize(sizes[from], sizes[to]);
    }
}
END_TEST

START_TEST(test_realloc__grows_byte_by_byte) {
    char *block = NULL;
    for (size_t bytes = 1; bytes <= 20000; bytes++) {
        block = larder_realloc(block, bytes);
        EXPECT(block != NULL);
        block[bytes - 1] = (char)(bytes * 7);
    }
    for (size_t bytes = 20000; bytes >= 1; bytes--) {
        block = larder_realloc(block, bytes);
        EXPECT(block != NULL);
        EXPECT_INT(block[bytes - 1], ==, (char)(bytes * 7));
    }
    larder_free(block);
}
END_TEST

START_TEST(test_realloc__within_the_usable_size_stays_in_place) {
    for (size_t bytes = 1; bytes <= 4 * mib; bytes += 1 + bytes / 7) {
        char *const block = larder_malloc(bytes);
        const size_t usable = larder_malloc_usable_size(block);
        EXPECT_PTR(larder_realloc(block, usable), ==, block);
        EXPECT_PTR(larder_realloc(block, bytes), ==, block);
        larder_free(block);
    }
}
END_TEST

// A shrink to a quarter gives memory up: a service that reads into a large buffer and keeps the
// small result must not keep the buffer.
START_TEST(test_realloc__shrink_gives_memory_up) {
    for (size_t bytes = 64; bytes <= 8 * mib; bytes *= 2) {
        char *const block = larder_realloc(larder_malloc(bytes), bytes / 4);
        EXPECT(block != NULL);
        EXPECT_UINT(larder_malloc_usable_size(block), <=, bytes / 2);
        larder_free(block);
    }
}
END_TEST

START_TEST(test_realloc__null_is_malloc) {
    char *const block = larder_realloc(NULL, 3000);
    EXPECT(block != NULL);
    EXPECT_UINT(larder_malloc_usable_size(block), >=, 3000);
    test_fill(block, 3000, 1);
    EXPECT_FILLED(block, 3000, 1);
    larder_free(block);
}
END_TEST

START_TEST(test_realloc__failure_leaves_the_block) {
    static const size_t sizes[] = {1, 100, 5000, 100000, 300000, 3000000};
    static const size_t impossible[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 4096,
                                        (size_t)PTRDIFF_MAX};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *const block = larder_malloc(sizes[i]);
        test_fill(block, sizes[i], i);
        for (unsigned j = 0; j < sizeof impossible / sizeof impossible[0]; j++) {
            errno = 0;
            EXPECT_PTR(larder_realloc(block, test_opaque(impossible[j])), ==, NULL);
            EXPECT_INT(errno, ==, ENOMEM);
            EXPECT_FILLED(block, sizes[i], i);
        }
        larder_free(block);
    }
}
END_TEST

START_TEST(test_realloc__reallocarray_multiplies) {
    char *block = larder_reallocarray(NULL, 100, 30);
    EXPECT(block != NULL);
    EXPECT_UINT(larder_malloc_usable_size(block), >=, 3000);
    test_fill(block, 3000, 5);
    block = larder_reallocarray(block, 700, 1000);
    EXPECT(block != NULL);
    EXPECT_UINT(larder_malloc_usable_size(block), >=, 700000);
    EXPECT_FILLED(block, 3000, 5);
    larder_free(block);
}
END_TEST

START_TEST(test_realloc__reallocarray_overflow_leaves_the_block) {
    static const size_t pairs[][2] = {{SIZE_MAX, 2},
                                      {2, SIZE_MAX},
                                      {(size_t)1 << 32, (size_t)1 << 32},
                                      {SIZE_MAX / 16 + 2, 16},
                                      {SIZE_MAX, SIZE_MAX}};
    char *const block = larder_malloc(1000);
    test_fill(block, 1000, 9);
    for (unsigned i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        errno = 0;
        EXPECT_PTR(larder_reallocarray(block, test_opaque(pairs[i][0]), test_opaque(pairs[i][1])),
                   ==, NULL);
        EXPECT_INT(errno, ==, ENOMEM);
        EXPECT_FILLED(block, 1000, 9);
    }
    larder_free(block);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("realloc");
    test_add(suite, test_realloc__over_every_class_boundary);
    test_add(suite, test_realloc__every_pair_of_classes);
    test_add(suite, test_realloc__large_blocks);
    test_add(suite, test_realloc__grows_byte_by_byte);
    test_add(suite, test_realloc__within_the_usable_size_stays_in_place);
    test_add(suite, test_realloc__shrink_gives_memory_up);
    test_add(suite, test_realloc__null_is_malloc);
    test_add(suite, test_realloc__failure_leaves_the_block);
    test_add(suite, test_realloc__reallocarray_multiplies);
    test_add(suite, test_realloc__reallocarray_overflow_leaves_the_block);
    return suite;
}
