// SPDX-License-Identifier: Apache-2.0
//
// mallinfo2 adds up: it grows by what is allocated, shrinks by what is freed, and mallinfo says the
// same in ints.
#include <larder/ctl.h>
#include <larder/larder.h>

#include <limits.h>

#include "../support/support.h"

static const size_t mib = 1024 * 1024;

enum { COUNT = 2000 };

// Bytes of live blocks, small and large ones together.
static size_t live_bytes(void) {
    const struct mallinfo2 info = larder_mallinfo2();
    return info.uordblks + info.hblkhd;
}

START_TEST(test_mallinfo__live_bytes_follow_the_blocks) {
    static void *blocks[COUNT];
    static const size_t sizes[] = {16, 100, 1000, 9000, 100000, 250000};
    for (unsigned s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const size_t bytes = sizes[s];
        const size_t each = larder_good_size(bytes, 0);
        const unsigned count = bytes > 10000 ? 200 : COUNT;
        const size_t before = live_bytes();
        for (unsigned i = 0; i < count; i++) {
            blocks[i] = larder_malloc(bytes);
            EXPECT(blocks[i] != NULL);
        }
        EXPECT_UINT(live_bytes() - before, ==, count * each);
        for (unsigned i = 0; i < count; i++)
            larder_free(blocks[i]);
        EXPECT_UINT(live_bytes(), ==, before);
    }
}
END_TEST

START_TEST(test_mallinfo__large_blocks_are_counted_apart) {
    const struct mallinfo2 before = larder_mallinfo2();
    void *const block = larder_malloc(5 * mib);
    EXPECT(block != NULL);
    const struct mallinfo2 with = larder_mallinfo2();
    EXPECT_UINT(with.hblks, ==, before.hblks + 1);
    EXPECT_UINT(with.hblkhd - before.hblkhd, ==, larder_malloc_usable_size(block));
    EXPECT_UINT(with.uordblks, ==, before.uordblks);
    larder_free(block);
    const struct mallinfo2 after = larder_mallinfo2();
    EXPECT_UINT(after.hblks, ==, before.hblks);
    EXPECT_UINT(after.hblkhd, ==, before.hblkhd);
}
END_TEST

START_TEST(test_mallinfo__free_bytes_are_where_they_went) {
    static void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        blocks[i] = larder_malloc(1000);
    const struct mallinfo2 full = larder_mallinfo2();
    for (unsigned i = 0; i < COUNT; i++)
        larder_free(blocks[i]);
    const struct mallinfo2 empty = larder_mallinfo2();
    EXPECT_UINT(empty.fordblks, >=, full.fordblks + COUNT * (size_t)1000);
    EXPECT_UINT(empty.fsmblks, <=, empty.fordblks);
    EXPECT_UINT(empty.arena, >=, empty.uordblks);
}
END_TEST

START_TEST(test_mallinfo__keepcost_is_what_trim_gives_back) {
    EXPECT_INT(larder_option_set("scavenger", 2), ==, 0); // or it would trim in between
    larder_malloc_trim(0);
    EXPECT_UINT(larder_mallinfo2().keepcost, <, mib);
    char *const block = larder_malloc(32 * mib);
    EXPECT(block != NULL);
    test_fill(block, 32 * mib, 1);
    larder_free(block);
    EXPECT_UINT(larder_mallinfo2().keepcost, >=, 31 * mib);
    larder_malloc_trim(0);
    EXPECT_UINT(larder_mallinfo2().keepcost, <, mib);
}
END_TEST

// A figure as mallinfo gives it.
static int as_int(size_t value) { return value > INT_MAX ? INT_MAX : (int)value; }

START_TEST(test_mallinfo__old_form_agrees) {
    void *const small = larder_malloc(12345);
    void *const large = larder_malloc(7 * mib);
    const struct mallinfo2 wide = larder_mallinfo2();
    const struct mallinfo narrow = larder_mallinfo();
    EXPECT_INT(narrow.uordblks, ==, as_int(wide.uordblks));
    EXPECT_INT(narrow.hblks, ==, as_int(wide.hblks));
    EXPECT_INT(narrow.hblkhd, ==, as_int(wide.hblkhd));
    EXPECT_INT(narrow.hblks, >=, 1);
    larder_free(small);
    larder_free(large);
}
END_TEST

START_TEST(test_mallinfo__old_form_saturates) {
    // 3 GiB of address space, not of memory: never touched.
    void *const block = larder_malloc((size_t)3 << 30);
    EXPECT(block != NULL);
    EXPECT_INT(larder_mallinfo().hblkhd, ==, INT_MAX);
    EXPECT_UINT(larder_mallinfo2().hblkhd, >=, (size_t)3 << 30);
    larder_free(block);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("mallinfo");
    test_add(suite, test_mallinfo__live_bytes_follow_the_blocks);
    test_add(suite, test_mallinfo__large_blocks_are_counted_apart);
    test_add(suite, test_mallinfo__free_bytes_are_where_they_went);
    test_add(suite, test_mallinfo__keepcost_is_what_trim_gives_back);
    test_add(suite, test_mallinfo__old_form_agrees);
    test_add(suite, test_mallinfo__old_form_saturates);
    return suite;
}
