// SPDX-License-Identifier: Apache-2.0
#include "hard_test.h"

static struct lr_verdict verdict;

static enum lr_fault give(void *block) {
    lr_pages_free(span_of_block(block), block, &verdict);
    return verdict.fault;
}

START_TEST(test_pages__blocks_are_zero_aligned_and_between_guards) {
    be_hardened();
    const size_t page = lr_os_page_bytes();
    for (size_t align = 1; align <= 64 * LR_KIB; align *= 16) {
        for (size_t size = 40000; size < 300000; size += 64321) {
            char *const block = lr_pages_alloc(size, align);
            EXPECT(block != NULL);
            EXPECT_ALIGNED(block, align);
            EXPECT_ZERO(block, size);
            memset(block, 0xa5, size);
            EXPECT_UINT(lr_pages_bytes(span_of_block(block), block, &verdict), ==, size);
            EXPECT(faults(block - 1));
            EXPECT(!faults(block + lr_align_up(size, page) - 1));
            EXPECT(faults(block + lr_align_up(size, page)));
            EXPECT_INT(give(block), ==, LR_FAULT_NONE);
        }
    }
}
END_TEST

START_TEST(test_pages__a_freed_block_faults_and_stays_away) {
    be_hardened();
    char *const block = lr_pages_alloc(100000, 1);
    memset(block, 1, 100000);
    EXPECT_INT(give(block), ==, LR_FAULT_NONE);
    EXPECT_INT(give(block), ==, LR_FAULT_FREED);
    EXPECT(faults(block));
    EXPECT(faults(block + 99999));
    for (unsigned i = 0; i < 500; i++) {
        char *const other = lr_pages_alloc(100000, 1);
        EXPECT_PTR(other, !=, block);
        EXPECT_ZERO(other, 100000);
        EXPECT_INT(give(other), ==, LR_FAULT_NONE);
    }
}
END_TEST

START_TEST(test_pages__only_starts_of_blocks_are_blocks) {
    be_hardened();
    char *const block = lr_pages_alloc(100000, 1);
    EXPECT_INT(give(block + 16), ==, LR_FAULT_NOT_A_BLOCK);
    EXPECT(!lr_hard_owns(block + LR_PAGE_BYTES));
    EXPECT(!lr_hard_owns(block - 1));
    EXPECT_INT(give(block), ==, LR_FAULT_NONE);
}
END_TEST

START_TEST(test_pages__bytes_behind_a_block_are_watched) {
    be_hardened();
    const size_t page = lr_os_page_bytes();
    for (size_t size = 10 * page - 20; size < 10 * page; size++) {
        for (size_t at = size; at < 10 * page; at++) {
            char *const block = lr_pages_alloc(size, 1);
            block[at] = (char)(block[at] ^ 0x10);
            EXPECT_INT(give(block), ==, LR_FAULT_OVERFLOW);
            EXPECT_UINT(verdict.at, ==, at);
        }
    }
}
END_TEST

START_TEST(test_pages__the_check_of_all_finds_an_overrun) {
    be_hardened();
    char *blocks[20];
    for (unsigned i = 0; i < 20; i++)
        blocks[i] = lr_pages_alloc(100000, 1);
    EXPECT_INT(give(blocks[0]), ==, LR_FAULT_NONE);
    EXPECT_INT(give(blocks[19]), ==, LR_FAULT_NONE);
    EXPECT(lr_pages_check(&verdict));
    blocks[7][100003] ^= 1;
    EXPECT(!lr_pages_check(&verdict));
    EXPECT_PTR(verdict.block, ==, blocks[7]);
    EXPECT_UINT(verdict.at, ==, 100003);
    EXPECT_INT(give(blocks[7]), ==, LR_FAULT_OVERFLOW);
    EXPECT(lr_pages_check(&verdict));
}
END_TEST

START_TEST(test_pages__resize_within_the_last_page) {
    be_hardened();
    const size_t page = lr_os_page_bytes();
    char *const block = lr_pages_alloc(10 * page - 100, 1);
    memset(block, 'a', 10 * page - 100);
    EXPECT(lr_pages_resize(span_of_block(block), block, 10 * page - 50, &verdict));
    EXPECT_ZERO(block + 10 * page - 100, 50);
    EXPECT_UINT(lr_pages_bytes(span_of_block(block), block, &verdict), ==, 10 * page - 50);
    EXPECT(!lr_pages_resize(span_of_block(block), block, 12 * page, &verdict)); // spans are even
    EXPECT(!lr_pages_resize(span_of_block(block), block, 4 * page, &verdict));
    EXPECT_INT(give(block), ==, LR_FAULT_NONE);
}
END_TEST

START_TEST(test_pages__a_block_grows_and_shrinks_where_it_is) {
    be_hardened();
    const size_t page = lr_os_page_bytes();
    const size_t least = 100 * page;
    const size_t most = least + lr_align_up(least / 8, page);
    char *const block = lr_pages_alloc_to_grow(least);
    EXPECT(faults(block + least));
    memset(block, 'a', least);
    for (size_t size = least; size <= most; size += page - 1) {
        EXPECT(lr_pages_resize(span_of_block(block), block, size, &verdict));
        EXPECT_INT(verdict.fault, ==, LR_FAULT_NONE);
        EXPECT_UINT(lr_pages_bytes(span_of_block(block), block, &verdict), ==, size);
        EXPECT_ZERO(block + least, size - least);
        EXPECT(!faults(block + lr_align_up(size, page) - 1));
        EXPECT(faults(block + lr_align_up(size, page)));
        EXPECT_UINT(lr_pages_counts().block_bytes, ==, size);
        EXPECT_UINT(lr_pages_counts().room_bytes, ==, lr_align_up(size, page));
    }
    EXPECT(!lr_pages_resize(span_of_block(block), block, most + 2 * page, &verdict));
    EXPECT(lr_pages_resize(span_of_block(block), block, most, &verdict));
    memset(block, 'a', most);
    EXPECT(lr_pages_resize(span_of_block(block), block, least + 7, &verdict));
    EXPECT(faults(block + least + page));
    EXPECT_UINT(lr_pages_counts().room_bytes, ==, least + page);
    block[least + 7] ^= 1;
    EXPECT(lr_pages_resize(span_of_block(block), block, most, &verdict));
    EXPECT_INT(verdict.fault, ==, LR_FAULT_OVERFLOW);
    EXPECT_ZERO(block + least + 7, most - least - 7); // what was cut off is gone
    EXPECT(!lr_pages_resize(span_of_block(block), block, LR_SLAB_MAX, &verdict));
    EXPECT_INT(give(block), ==, LR_FAULT_NONE);
    EXPECT_UINT(lr_pages_counts().room_bytes, ==, 0);
}
END_TEST

START_TEST(test_pages__quarantine_is_bounded_and_comes_back) {
    be_hardened();
    enum { ROUNDS = 3000 };
    for (unsigned i = 0; i < ROUNDS; i++) {
        char *const block = lr_pages_alloc(LR_MIB, 1);
        EXPECT(block != NULL);
        EXPECT_INT(give(block), ==, LR_FAULT_NONE);
        EXPECT_UINT(lr_pages_counts().quarantined_pages << LR_PAGE_SHIFT, <=, LR_GIB);
    }
    EXPECT_UINT(lr_pages_counts().quarantined_pages << LR_PAGE_SHIFT, >, LR_GIB / 2);
    EXPECT_UINT(lr_pages_counts().blocks, ==, 0);
    EXPECT_UINT(lr_span_heap_counts().used_pages, ==, lr_pages_counts().quarantined_pages);
    EXPECT_UINT(lr_span_heap_counts().free_dirty_pages, ==, 0);
    lr_pages_reclaim();
    EXPECT_UINT(lr_span_heap_counts().used_pages, ==, 0);
    char *const block = lr_pages_alloc(LR_MIB, 1);
    EXPECT_ZERO(block, LR_MIB);
    memset(block, 1, LR_MIB);
    EXPECT_INT(give(block), ==, LR_FAULT_NONE);
}
END_TEST

// Memory that the quarantine holds is not missing when it is needed.
START_TEST(test_pages__a_limit_takes_the_quarantine_back) {
    EXPECT(lr_start());
    EXPECT_INT(lr_option_set("heap_limit", 64 * LR_MIB), ==, 0);
    be_hardened();
    for (unsigned i = 0; i < 500; i++) {
        char *const block = lr_pages_alloc(LR_MIB, 1);
        EXPECT(block != NULL);
        EXPECT_INT(give(block), ==, LR_FAULT_NONE);
    }
}
END_TEST

Suite *lr_suite(void) {
    Suite *const suite = suite_create("pages");
    test_add(suite, test_pages__blocks_are_zero_aligned_and_between_guards);
    test_add(suite, test_pages__a_freed_block_faults_and_stays_away);
    test_add(suite, test_pages__only_starts_of_blocks_are_blocks);
    test_add(suite, test_pages__bytes_behind_a_block_are_watched);
    test_add(suite, test_pages__the_check_of_all_finds_an_overrun);
    test_add(suite, test_pages__resize_within_the_last_page);
    test_add(suite, test_pages__a_block_grows_and_shrinks_where_it_is);
    test_add(suite, test_pages__quarantine_is_bounded_and_comes_back);
    test_add(suite, test_pages__a_limit_takes_the_quarantine_back);
    return suite;
}
