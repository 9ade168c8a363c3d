// SPDX-License-Identifier: Apache-2.0
//
// The table of size classes and everything that is computed from it, for all sizes there are.
#include "cache/size_class.h"

#include "../../support/support.h"
#include "cache/thread_cache.h"

// The smallest class for the request, by looking at all of them; 0 if there is none.
static unsigned slow_class_of(size_t size, size_t align) {
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++)
        if (lr_classes[c].bytes >= size && lr_classes[c].bytes % align == 0)
            return c;
    return 0;
}

START_TEST(test_size_class__every_size_gets_the_smallest_class) {
    unsigned expected = 1;
    for (size_t size = 0; size <= LR_SMALL_MAX; size++) {
        expected += size > lr_classes[expected].bytes;
        EXPECT_UINT(lr_class_of(size), ==, expected);
    }
    EXPECT_UINT(expected, ==, LR_CLASS_COUNT - 1);
}
END_TEST

START_TEST(test_size_class__every_alignment_gets_the_smallest_class) {
    for (size_t align = 1; align <= LR_PAGE_BYTES; align *= 2) {
        const size_t aligned_to = align < LR_MIN_ALIGN ? LR_MIN_ALIGN : align;
        // A class serves all sizes above the next smaller one that is aligned.
        for (size_t size = 0; size <= LR_SMALL_MAX;) {
            const unsigned expected = slow_class_of(size, aligned_to);
            const size_t last = expected != 0 ? lr_classes[expected].bytes : LR_SMALL_MAX;
            for (size_t step = last > size ? (last - size) / 3 + 1 : 1; size <= last; size += step)
                EXPECT_UINT(lr_class_of_aligned(size, align), ==, expected);
            EXPECT_UINT(lr_class_of_aligned(last, align), ==, expected);
            size = last + 1;
        }
        EXPECT_UINT(lr_class_of_aligned(LR_SMALL_MAX + 1, align), ==, 0);
        EXPECT_UINT(lr_class_of_aligned(SIZE_MAX, align), ==, 0);
    }
    EXPECT_UINT(lr_class_of_aligned(1, 2 * LR_PAGE_BYTES), ==, 0);
    EXPECT_UINT(lr_class_of_aligned(LR_SMALL_MAX, LR_PAGE_BYTES), ==, LR_CLASS_COUNT - 1);
}
END_TEST

START_TEST(test_size_class__the_table_rises_and_is_aligned) {
    EXPECT_UINT(lr_classes[0].bytes, ==, 0);
    EXPECT_UINT(lr_classes[1].bytes, ==, LR_MIN_ALIGN);
    EXPECT_UINT(lr_classes[LR_CLASS_COUNT - 1].bytes, ==, LR_SMALL_MAX);
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        const struct class_info *const info = &lr_classes[c];
        EXPECT_UINT(info->bytes % LR_MIN_ALIGN, ==, 0);
        EXPECT_UINT(info->bytes, >, lr_classes[c - 1].bytes);
        EXPECT_UINT(info->objects, ==, info->pages * LR_PAGE_BYTES / info->bytes);
        const size_t least = info->bytes <= 256 ? 16 : info->bytes <= 1024 ? 32 : 64; // KiB
        EXPECT_UINT(info->pages * LR_PAGE_BYTES, >=, least * LR_KIB);
        EXPECT_UINT(info->pages * LR_PAGE_BYTES, <=,
                    lr_max(2 * least * LR_KIB, lr_align_up(info->bytes, LR_PAGE_BYTES)));
        EXPECT_UINT(info->pages, <, LR_PAGES_PER_HUGE);
        EXPECT_UINT(info->batch, >=, 1);
        EXPECT_UINT(info->batch * info->bytes, <=,
                    lr_max(64 * LR_KIB, lr_min(4 * info->bytes, 256 * LR_KIB)));
        EXPECT_UINT(info->batch, >=, lr_min(4, 256 * LR_KIB / info->bytes)); // see size_class.c
        EXPECT_UINT(info->most, >=, 2);
        EXPECT_UINT(info->most * info->bytes, <=,
                    lr_max((info->bytes <= 256 ? 2048 : 512) * LR_KIB, 2 * info->bytes));
    }
}
END_TEST

START_TEST(test_size_class__rounding_wastes_at_most_an_eighth) {
    for (size_t size = 1; size <= LR_SMALL_MAX; size++) {
        const size_t waste = lr_classes[lr_class_of(size)].bytes - size;
        if (size > 128)
            EXPECT_UINT(waste * 8, <=, size);
        else
            EXPECT_UINT(waste, <, LR_MIN_ALIGN);
    }
}
END_TEST

// The column that a person reads is what the numbers before it give, and little.
START_TEST(test_size_class__tail_waste_is_as_the_table_says) {
    const struct {
        size_t size, span_bytes, count, waste;
    } rows[] = {
#define SIZE_CLASS(number, size, span_pages, count, waste)                                         \
    {size, (span_pages)*LR_PAGE_BYTES, count, waste},
#include "cache/size_class.def"
    };
    EXPECT_UINT(sizeof rows / sizeof *rows, ==, LR_CLASS_COUNT - 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t tail = rows[i].span_bytes - rows[i].count * rows[i].size;
        const size_t floor = tail * 1000 / rows[i].span_bytes;
        EXPECT(rows[i].waste == floor || rows[i].waste == floor + 1);
        EXPECT_UINT(tail * 1000, <=, 30 * rows[i].span_bytes);
    }
}
END_TEST

// Of every byte of a span, in whose object it lies: exact for where objects begin, and never
// mistaken for another one's beginning by an address that is misused.
START_TEST(test_size_class__object_index_of_every_offset) {
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        const struct class_info *const info = &lr_classes[c];
        const size_t span_bytes = info->pages * LR_PAGE_BYTES;
        size_t expected = 0, end = info->bytes;
        for (size_t offset = 0; offset < span_bytes; offset++) {
            if (offset == end) {
                expected++;
                end += info->bytes;
            }
            EXPECT_UINT(lr_object_index(info, offset), ==, expected);
        }
        // Beyond the largest span, as far as the comment promises.
        for (size_t offset = 0; offset < LR_MIB; offset += LR_MIN_ALIGN)
            EXPECT_UINT(lr_object_index(info, offset), ==, offset / info->bytes);
    }
}
END_TEST

START_TEST(test_size_class__fast_table) {
    for (size_t i = 0; i <= LR_FAST_MAX; i++)
        EXPECT_UINT(lr_bin_offsets[i], ==, 0); // before the start every request takes the slow path
    lr_size_class_init();
    for (size_t size = 0; size <= LR_FAST_MAX; size++) {
        const size_t offset = lr_bin_offsets[size];
        EXPECT_UINT(offset, ==, lr_bin_offset(lr_class_of(size)));
        EXPECT_UINT(offset / LR_BIN_BYTES, ==, lr_class_of(size));
    }
    static struct thread_cache cache;
    for (unsigned c = 0; c < LR_CLASS_COUNT; c++)
        EXPECT_PTR((char *)&cache + lr_bin_offset(c), ==, (char *)&cache.bins[c]);
}
END_TEST

START_TEST(test_size_class__good_size) {
    for (size_t align = 1; align <= 4 * LR_HUGE_BYTES; align *= 2) {
        for (size_t size = 0; size < 64 * LR_MIB; size += 1 + size / 7) {
            const size_t good = lr_good_size(size, align);
            EXPECT_UINT(good, >=, lr_max(size, 1));
            EXPECT_UINT(lr_good_size(good, align), ==, good); // asking for it gives the same
            if (size > LR_SMALL_MAX || align > LR_PAGE_BYTES)
                EXPECT_UINT(good, ==, lr_align_up(lr_max(size, 1), LR_PAGE_BYTES));
            else
                EXPECT_UINT(good, ==, lr_classes[lr_class_of_aligned(size, align)].bytes);
        }
    }
    EXPECT_UINT(lr_good_size(SIZE_MAX, 16), ==, 0);
    EXPECT_UINT(lr_good_size((size_t)PTRDIFF_MAX + 1, 16), ==, 0);
    EXPECT_UINT(lr_good_size(PTRDIFF_MAX, 16), ==, 0);
    EXPECT_UINT(lr_good_size(LR_GIB, (size_t)1 << 63), ==, 0);
    EXPECT_UINT(lr_good_size((size_t)1 << 61, (size_t)1 << 62), >=, (size_t)1 << 61);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("size_class");
    test_add(suite, test_size_class__every_size_gets_the_smallest_class);
    test_add(suite, test_size_class__every_alignment_gets_the_smallest_class);
    test_add(suite, test_size_class__the_table_rises_and_is_aligned);
    test_add(suite, test_size_class__rounding_wastes_at_most_an_eighth);
    test_add(suite, test_size_class__tail_waste_is_as_the_table_says);
    test_add(suite, test_size_class__object_index_of_every_offset);
    test_add(suite, test_size_class__fast_table);
    test_add(suite, test_size_class__good_size);
    return suite;
}
