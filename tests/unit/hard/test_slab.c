// SPDX-License-Identifier: Apache-2.0
#include "hard_test.h"

static struct lr_verdict verdict;

static void *take(size_t size) {
    verdict = (struct lr_verdict){.fault = LR_FAULT_NONE};
    void *const block = lr_slab_alloc(lr_slab_class(size, 1), size, &verdict);
    EXPECT(block != NULL);
    return block;
}

static enum lr_fault give(void *block) {
    lr_slab_free(span_of_block(block), block, &verdict);
    return verdict.fault;
}

START_TEST(test_slab__class_has_room_for_the_canary) {
    for (size_t align = 1; align <= LR_PAGE_BYTES; align *= 2) {
        for (size_t size = 1; size <= LR_SLAB_MAX; size++) {
            const unsigned c = lr_slab_class(size, align);
            if (c == 0) {
                EXPECT_UINT(size + LR_CANARY_BYTES + align, >, LR_SLAB_MAX * 7 / 8);
                continue;
            }
            const struct lr_slab_counts counts = lr_slab_counts(c);
            EXPECT_UINT(counts.slot_bytes, >=, size + LR_CANARY_BYTES);
            EXPECT_UINT(counts.slot_bytes % align, ==, 0);
            EXPECT_UINT(counts.slots, >=, 7);
            EXPECT_UINT(counts.slots * counts.slot_bytes, <=, counts.slab_bytes);
        }
    }
    EXPECT_UINT(lr_slab_class(1, 2 * LR_PAGE_BYTES), ==, 0);
}
END_TEST

START_TEST(test_slab__blocks_are_zero_apart_and_as_long_as_asked) {
    be_hardened();
    enum { COUNT = 4000 };
    static char *blocks[COUNT];
    static size_t sizes[COUNT];
    struct test_rng rng = {test_seed()};
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            sizes[i] = 1 + test_rng_size(&rng, 4000);
            blocks[i] = take(sizes[i]);
            EXPECT_ZERO(blocks[i], sizes[i]);
            EXPECT_ALIGNED(blocks[i], 16);
            EXPECT_UINT(lr_slab_bytes(span_of_block(blocks[i]), blocks[i], &verdict), ==, sizes[i]);
            test_fill(blocks[i], sizes[i], i);
        }
        for (unsigned i = 0; i < COUNT; i++) {
            EXPECT_FILLED(blocks[i], sizes[i], i);
            EXPECT_INT(give(blocks[i]), ==, LR_FAULT_NONE);
        }
    }
}
END_TEST

START_TEST(test_slab__a_freed_block_is_zero_and_freed_for_good) {
    be_hardened();
    for (size_t size = 1; size <= 30000; size = size * 5 / 3 + 1) {
        char *const block = take(size);
        memset(block, 0xa5, size);
        EXPECT_INT(give(block), ==, LR_FAULT_NONE);
        EXPECT_ZERO(block, size);
        EXPECT_INT(give(block), ==, LR_FAULT_FREED);
        EXPECT_UINT(lr_slab_bytes(span_of_block(block), block, &verdict), ==, 0);
        EXPECT_INT(verdict.fault, ==, LR_FAULT_FREED);
    }
}
END_TEST

START_TEST(test_slab__only_starts_of_blocks_are_blocks) {
    be_hardened();
    char *const block = take(100);
    for (size_t at = 1; at < 112; at++)
        EXPECT_INT(give(block + at), ==, LR_FAULT_NOT_A_BLOCK);
    EXPECT_INT(give(block), ==, LR_FAULT_NONE);
}
END_TEST

// Every single byte behind a block, changed in any way but one: zero stays zero.
START_TEST(test_slab__each_byte_behind_a_block_is_watched) {
    be_hardened();
    for (size_t size = 96; size <= 120; size++) {
        const size_t room = lr_slab_counts(lr_slab_class(size, 1)).slot_bytes;
        for (size_t at = size; at < room; at++) {
            char *const block = take(size);
            block[at] = (char)(block[at] ^ 0x10);
            EXPECT_INT(give(block), ==, LR_FAULT_OVERFLOW);
            EXPECT_UINT(verdict.at, ==, at);
            EXPECT_UINT(verdict.bytes, ==, size);
        }
    }
}
END_TEST

START_TEST(test_slab__a_string_without_end_ends_behind_its_block) {
    be_hardened();
    char *const block = take(64);
    memset(block, 'x', 64);
    EXPECT_INT(block[64], ==, 0);
}
END_TEST

START_TEST(test_slab__reuse_is_late_and_anywhere) {
    be_hardened();
    enum { COUNT = 500 };
    char *const first = take(100);
    EXPECT_INT(give(first), ==, LR_FAULT_NONE);
    unsigned rising = 0, ascending = 0;
    const char *last = first;
    for (unsigned i = 0; i < COUNT; i++) {
        char *const block = take(100);
        EXPECT(block != first); // it waits behind at least as many others
        rising += block > last;
        ascending += block == last + 112;
        last = block;
        EXPECT_INT(give(block), ==, LR_FAULT_NONE);
    }
    EXPECT_UINT(rising, >, COUNT / 4);
    EXPECT_UINT(rising, <, COUNT * 3 / 4);
    EXPECT_UINT(ascending, <, COUNT / 10);
}
END_TEST

START_TEST(test_slab__a_write_to_a_free_slot_is_seen_when_it_is_taken) {
    be_hardened();
    char *const block = take(1000);
    EXPECT_INT(give(block), ==, LR_FAULT_NONE);
    block[500] = 1;
    for (unsigned i = 0; i < 100000; i++) {
        void *const other = take(1000);
        if (verdict.fault != LR_FAULT_NONE) {
            EXPECT_INT(verdict.fault, ==, LR_FAULT_WRITTEN);
            EXPECT_PTR(verdict.block, ==, block);
            EXPECT_UINT(verdict.at, ==, 500);
            EXPECT_ZERO(other, 1000);
            return;
        }
        give(other);
    }
    EXPECT(!"seen");
}
END_TEST

START_TEST(test_slab__the_check_of_all_finds_what_was_changed) {
    be_hardened();
    enum { COUNT = 2000 };
    static char *blocks[COUNT];
    const unsigned c = lr_slab_class(48, 1);
    for (unsigned i = 0; i < COUNT; i++)
        blocks[i] = take(48);
    for (unsigned i = 0; i < COUNT; i += 2)
        give(blocks[i]);
    EXPECT(lr_slab_check(c, &verdict));
    blocks[1][50] = 1;
    EXPECT(!lr_slab_check(c, &verdict));
    EXPECT_INT(verdict.fault, ==, LR_FAULT_OVERFLOW);
    EXPECT_PTR(verdict.block, ==, blocks[1]);
    EXPECT_INT(give(blocks[1]), ==, LR_FAULT_OVERFLOW);
    EXPECT(lr_slab_check(c, &verdict));
    blocks[0][47] = 1;
    EXPECT(!lr_slab_check(c, &verdict));
    EXPECT_INT(verdict.fault, ==, LR_FAULT_WRITTEN);
    EXPECT_PTR(verdict.block, ==, blocks[0]);
    blocks[0][47] = 0; // or the end of the process finds it
}
END_TEST

START_TEST(test_slab__resize_keeps_contents_and_watch) {
    be_hardened();
    char *const block = take(100); // slots of 112 bytes
    memset(block, 'a', 100);
    EXPECT(lr_slab_resize(span_of_block(block), block, 104, &verdict));
    EXPECT_INT(verdict.fault, ==, LR_FAULT_NONE);
    EXPECT_ZERO(block + 100, 4);
    EXPECT(lr_slab_resize(span_of_block(block), block, 97, &verdict));
    EXPECT_INT(verdict.fault, ==, LR_FAULT_NONE);
    for (unsigned i = 0; i < 97; i++)
        EXPECT_INT(block[i], ==, 'a');
    EXPECT(!lr_slab_resize(span_of_block(block), block, 105, &verdict));
    EXPECT(!lr_slab_resize(span_of_block(block), block, 0, &verdict));
    block[98] ^= 1;
    EXPECT(lr_slab_resize(span_of_block(block), block, 100, &verdict));
    EXPECT_INT(verdict.fault, ==, LR_FAULT_OVERFLOW);
}
END_TEST

START_TEST(test_slab__empty_slabs_go) {
    be_hardened();
    enum { COUNT = 40000 };
    static void *blocks[COUNT];
    const unsigned c = lr_slab_class(100, 1);
    for (unsigned i = 0; i < COUNT; i++)
        blocks[i] = take(100);
    const size_t most = lr_slab_counts(c).slabs;
    EXPECT_UINT(most, >=, COUNT * 112 / (64 * LR_KIB));
    EXPECT_UINT(lr_slab_counts(c).live, ==, COUNT);
    EXPECT_UINT(lr_slab_counts(c).live_bytes, ==, COUNT * 100);
    for (unsigned i = 0; i < COUNT; i++)
        EXPECT_INT(give(blocks[i]), ==, LR_FAULT_NONE);
    const struct lr_slab_counts counts = lr_slab_counts(c);
    EXPECT_UINT(counts.live, ==, 0);
    EXPECT_UINT(counts.live_bytes, ==, 0);
    EXPECT_UINT(counts.slabs, <, most / 2);
    EXPECT_UINT(counts.quarantined, >, 0);
    EXPECT_UINT(lr_pages_counts().quarantined_pages, >, 0);
    lr_pages_reclaim();
    EXPECT_UINT(lr_pages_counts().quarantined_pages, ==, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = take(100);
        EXPECT_INT(verdict.fault, ==, LR_FAULT_NONE);
        EXPECT_ZERO(blocks[i], 100);
    }
}
END_TEST

START_TEST(test_slab__nothing_waits_when_memory_is_short) {
    be_hardened();
    enum { COUNT = 5000 };
    static char *blocks[COUNT];
    const unsigned c = lr_slab_class(100, 1);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < COUNT; i++)
            blocks[i] = take(100);
        for (unsigned i = 1; i < COUNT; i++)
            EXPECT_INT(give(blocks[i]), ==, LR_FAULT_NONE);
        EXPECT_UINT(lr_slab_counts(c).quarantined, >, 100);
        lr_slab_reclaim(c, &verdict);
        EXPECT_INT(verdict.fault, ==, LR_FAULT_NONE);
        EXPECT_UINT(lr_slab_counts(c).quarantined, ==, 0);
        EXPECT_UINT(lr_slab_counts(c).slabs, ==, 1);
        EXPECT_UINT(lr_slab_bytes(span_of_block(blocks[0]), blocks[0], &verdict), ==, 100);
        EXPECT_INT(give(blocks[0]), ==, LR_FAULT_NONE);
        EXPECT_INT(give(blocks[0]), ==, LR_FAULT_FREED);
        lr_slab_reclaim(c, &verdict);
        EXPECT_UINT(lr_slab_counts(c).slabs, ==, 0);
    }
    char *const block = take(100);
    EXPECT_INT(give(block), ==, LR_FAULT_NONE);
    block[7] = 1;
    lr_slab_reclaim(c, &verdict);
    EXPECT_INT(verdict.fault, ==, LR_FAULT_WRITTEN);
    EXPECT_PTR(verdict.block, ==, block);
    EXPECT_UINT(verdict.at, ==, 7);
}
END_TEST

START_TEST(test_slab__guards_follow_slabs) {
    be_hardened();
    char *const block = take(100);
    const struct span *span = span_of_block(block);
    const char *end = lr_span_start(span) + lr_span_bytes(span);
    EXPECT(!faults(block));
    EXPECT(!faults(end - LR_PAGE_BYTES - 1));
    EXPECT(faults(end - LR_PAGE_BYTES));
    EXPECT(faults(end - 1));
}
END_TEST

START_TEST(test_slab__blocks_of_no_bytes_cannot_be_read) {
    be_hardened();
    char *const block = take(0);
    char *const other = take(0);
    EXPECT_PTR(block, !=, other);
    EXPECT(faults(block));
    EXPECT_INT(give(block), ==, LR_FAULT_NONE);
    EXPECT_INT(give(block), ==, LR_FAULT_FREED);
    EXPECT_INT(give(other), ==, LR_FAULT_NONE);
}
END_TEST

Suite *lr_suite(void) {
    Suite *const suite = suite_create("slab");
    test_add(suite, test_slab__class_has_room_for_the_canary);
    test_add(suite, test_slab__blocks_are_zero_apart_and_as_long_as_asked);
    test_add(suite, test_slab__a_freed_block_is_zero_and_freed_for_good);
    test_add(suite, test_slab__only_starts_of_blocks_are_blocks);
    test_add(suite, test_slab__each_byte_behind_a_block_is_watched);
    test_add(suite, test_slab__a_string_without_end_ends_behind_its_block);
    test_add(suite, test_slab__reuse_is_late_and_anywhere);
    test_add(suite, test_slab__a_write_to_a_free_slot_is_seen_when_it_is_taken);
    test_add(suite, test_slab__the_check_of_all_finds_what_was_changed);
    test_add(suite, test_slab__resize_keeps_contents_and_watch);
    test_add(suite, test_slab__empty_slabs_go);
    test_add(suite, test_slab__nothing_waits_when_memory_is_short);
    test_add(suite, test_slab__guards_follow_slabs);
    test_add(suite, test_slab__blocks_of_no_bytes_cannot_be_read);
    return suite;
}
