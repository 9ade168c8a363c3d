// SPDX-License-Identifier: Apache-2.0
//
// A thread's cache: the bins of the fast path, how they are filled and emptied, and how their sizes
// follow use within the budgets.
#include "cache/thread_cache.h"

#include <string.h>

#include "cache_test.h"

static struct thread_cache cache;

static size_t slots(unsigned c) { return (size_t)(cache.bins[c].limit - cache.bins[c].base); }

static size_t held(unsigned c) { return (size_t)(cache.bins[c].top - cache.bins[c].base); }

// What malloc and free do with this cache.
static void *take(unsigned c) {
    void *block;
    if (!lr_bin_pop(&cache.bins[c], &block))
        block = lr_cache_refill(&cache, c);
    return block;
}

static void give(unsigned c, void *block) {
    if (!lr_bin_push(&cache.bins[c], block))
        lr_cache_overflow(&cache, c, block);
}

static size_t option(const char *name) {
    uint64_t value = 0;
    EXPECT_INT(lr_option_get(name, &value), ==, 0);
    return value;
}

// What holds between any two calls.
static void expect_sound(void) {
    size_t slot_bytes = 0;
    EXPECT_UINT(slots(0) + held(0), ==, 0); // stands for everything that is not small
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        EXPECT(slots(c) == 0 || lr_is_pow2(slots(c)));
        EXPECT_UINT(held(c), <=, slots(c));
        EXPECT_UINT(slots(c), <=, lr_max(option("bin_objects_max"), 8));
        slot_bytes += slots(c) * lr_classes[c].bytes;
    }
    EXPECT_UINT(cache.slot_bytes, ==, slot_bytes);
    EXPECT_UINT(slot_bytes, <=, option("thread_cache_max"));
}

START_TEST(test_thread_cache__bins_are_stacks) {
    void *slots_of_bin[4];
    struct bin bin = {.top = slots_of_bin, .base = slots_of_bin, .limit = slots_of_bin + 4};
    void *block = NULL;
    int things[4];
    EXPECT(!lr_bin_pop(&bin, &block));
    for (unsigned i = 0; i < 4; i++)
        EXPECT(lr_bin_push(&bin, &things[i]));
    EXPECT(!lr_bin_push(&bin, &things[0]));
    for (unsigned i = 4; i-- > 0;) {
        EXPECT(lr_bin_pop(&bin, &block));
        EXPECT_PTR(block, ==, &things[i]);
    }
    EXPECT(!lr_bin_pop(&bin, &block));
    struct bin none = {0}; // as in the empty cache: both are refused
    EXPECT(!lr_bin_pop(&none, &block));
    EXPECT(!lr_bin_push(&none, &block));
}
END_TEST

START_TEST(test_thread_cache__fast_paths_of_a_thread_without_a_cache) {
    void *block;
    start_tiers(LR_GIB);
    EXPECT(lr_load_relaxed(&lr_thread_cache) == &lr_empty_cache);
    for (size_t size = 0; size <= LR_FAST_MAX + 1; size += 13)
        EXPECT(!lr_alloc_fast(size, &block));
    const unsigned c = lr_class_of(100);
    EXPECT_UINT(lr_transfer_get(c, &block, 1), ==, 1);
    EXPECT(!lr_free_fast(block));
    lr_transfer_put(c, &block, 1);
    expect_all_returned();
}
END_TEST

START_TEST(test_thread_cache__fast_paths_take_from_the_right_bin) {
    void *block;
    start_tiers(LR_GIB);
    lr_store_relaxed(&lr_thread_cache, &cache);
    for (size_t size = 1; size <= LR_FAST_MAX; size += 1 + size / 5) {
        const unsigned c = lr_class_of(size);
        give(c, take(c)); // one block at least is there now
        const size_t before = held(c);
        EXPECT(lr_alloc_fast(size, &block));
        EXPECT_UINT(held(c), ==, before - 1);
        EXPECT_UINT(lr_classes[c].bytes, >=, size);
        EXPECT(lr_free_fast(block));
        EXPECT_UINT(held(c), ==, before);
        EXPECT_PTR(cache.bins[c].top[-1], ==, block);
    }
    char other;
    struct span *const large = lr_span_alloc_large(3, 1);
    EXPECT(!lr_free_fast(NULL));
    EXPECT(!lr_free_fast(&other));
    EXPECT(!lr_free_fast(lr_span_start(large)));
    EXPECT(!lr_free_fast(lr_span_start(large) + LR_PAGE_BYTES));
    EXPECT(!lr_free_fast((void *)UINTPTR_MAX));
    EXPECT(!lr_alloc_fast(LR_FAST_MAX + 1, &block));
    EXPECT(!lr_alloc_fast(SIZE_MAX, &block));
    lr_store_relaxed(&lr_thread_cache, &lr_empty_cache);
    lr_cache_flush(&cache, true);
    expect_all_returned();
}
END_TEST

START_TEST(test_thread_cache__random_use_keeps_blocks_apart_and_budgets) {
    enum { HELD = 3000, STEPS = 120000 };
    static struct {
        void *block;
        unsigned size_class;
    } blocks[HELD];
    struct test_rng rng = {test_seed()};
    start_tiers(8 * LR_GIB);
    EXPECT_INT(lr_option_set("thread_cache_max", 512 * LR_KIB), ==, 0);
    for (unsigned step = 0; step < STEPS; step++) {
        if (step == STEPS / 2)
            EXPECT_INT(lr_option_set("bin_objects_max", 100), ==, 0);
        const unsigned at = (unsigned)test_rng_below(&rng, HELD);
        if (blocks[at].block != NULL) {
            EXPECT_FILLED(blocks[at].block, 16, at);
            give(blocks[at].size_class, blocks[at].block);
            blocks[at].block = NULL;
        } else {
            // A few classes at a time, others later.
            const unsigned c = 1 + (unsigned)(step / 10000 * 7 + test_rng_below(&rng, 12)) % 96;
            blocks[at].size_class = c;
            blocks[at].block = take(c);
            EXPECT(blocks[at].block != NULL);
            EXPECT_UINT(lr_load_relaxed(lr_class_map(lr_page_of(blocks[at].block))), ==,
                        lr_bin_offset(c));
            test_fill(blocks[at].block, 16, at);
        }
        // Bins that were larger when the option was lowered shrink with time only.
        if (step % 50 == 0 && step < STEPS / 2)
            expect_sound();
        EXPECT_UINT(cache.slot_bytes, <=, 512 * LR_KIB);
    }
    for (unsigned i = 0; i < HELD; i++)
        if (blocks[i].block != NULL)
            give(blocks[i].size_class, blocks[i].block);
    EXPECT_UINT(lr_cache_bytes_racy(&cache), >, 0);
    lr_cache_flush(&cache, true);
    EXPECT_UINT(cache.slot_bytes, ==, 0);
    EXPECT_UINT(lr_cache_bytes_racy(&cache), ==, 0);
    expect_all_returned();
}
END_TEST

START_TEST(test_thread_cache__flush_says_how_much_it_was) {
    start_tiers(LR_GIB);
    size_t bytes = 0;
    for (unsigned c = 1; c < LR_CLASS_COUNT; c += 3) {
        give(c, take(c));
        bytes += held(c) * lr_classes[c].bytes;
        EXPECT_UINT(lr_cache_objects_racy(&cache, c), ==, held(c));
    }
    EXPECT_UINT(lr_cache_bytes_racy(&cache), ==, bytes);
    const size_t slot_bytes = cache.slot_bytes;
    EXPECT_UINT(lr_cache_flush(&cache, false), ==, bytes);
    EXPECT_UINT(cache.slot_bytes, ==, slot_bytes); // kept for the next blocks
    EXPECT_UINT(lr_cache_bytes_racy(&cache), ==, 0);
    expect_sound();
    EXPECT_UINT(lr_cache_flush(&cache, true), ==, 0);
    EXPECT_UINT(cache.slot_bytes, ==, 0);
    expect_all_returned();
}
END_TEST

START_TEST(test_thread_cache__refills_are_counted_and_batches_bounded) {
    start_tiers(LR_GIB);
    const unsigned c = lr_class_of(64);
    EXPECT_INT(lr_option_set("batch_max", 16), ==, 0);
    unsigned taken = 0;
    for (unsigned refills = 1; refills <= 50; refills++) {
        while (held(c) > 0 || lr_load_relaxed(&cache.refills) < refills) {
            const size_t before = held(c);
            EXPECT(take(c) != NULL);
            EXPECT(before > 0 || held(c) < 16);
            taken++;
        }
    }
    EXPECT_UINT(lr_load_relaxed(&cache.refills), ==, 50);
    EXPECT_UINT(taken, >, 50 * 8); // not one at a time
    EXPECT_UINT(taken, <=, 50 * 16);
}
END_TEST

START_TEST(test_thread_cache__out_of_memory) {
    start_tiers(LR_GIB);
    const unsigned c = LR_CLASS_COUNT - 1;
    EXPECT_INT(lr_option_set("heap_limit", 2 * lr_classes[c].bytes), ==, 0);
    void *const first = take(c), *const second = take(c);
    EXPECT(first != NULL && second != NULL);
    EXPECT_PTR(take(c), ==, NULL);
    expect_sound();
    give(c, first);
    EXPECT_PTR(take(c), ==, first);
}
END_TEST

START_TEST(test_thread_cache__first_free_of_a_shared_line_is_not_what_comes_next) {
    start_tiers(LR_GIB);
    const unsigned c = lr_class_of(16);
    void *of_others[8]; // as another thread's cache gets them
    EXPECT_UINT(lr_transfer_get(c, of_others, 8), ==, 8);
    give(c, of_others[3]);
    for (unsigned i = 0; i < 4; i++) {
        void *const mine = take(c);
        for (unsigned other = 0; other < 8; other++)
            EXPECT_UINT((size_t)mine / LR_CACHE_LINE, !=, (size_t)of_others[other] / LR_CACHE_LINE);
        lr_transfer_put(c, &mine, 1);
    }
    // It is the newest again once the thread has asked for blocks itself, and where blocks fill
    // lines.
    give(c, of_others[4]);
    EXPECT_PTR(take(c), ==, of_others[4]);
    const unsigned whole = lr_class_of(64);
    void *block;
    EXPECT_UINT(lr_transfer_get(whole, &block, 1), ==, 1);
    give(whole, block);
    EXPECT_PTR(take(whole), ==, block);
    lr_transfer_put(whole, &block, 1);
    lr_cache_flush(&cache, true);
    for (unsigned i = 0; i < 8; i++)
        if (i != 3)
            lr_transfer_put(c, &of_others[i], 1);
    expect_all_returned();
}
END_TEST

START_TEST(test_thread_cache__a_free_takes_no_span) {
    start_tiers(LR_GIB);
    const unsigned c = lr_class_of(16);
    void *blocks[1024]; // all of a span
    unsigned taken = 0;
    while (taken < lr_classes[c].objects)
        taken += lr_transfer_get(c, blocks + taken, lr_classes[c].objects - taken);
    EXPECT_UINT(lr_central_counts(c).spans, ==, 1);
    give(c, blocks[0]);
    EXPECT_UINT(lr_central_counts(c).spans, ==, 1);
    EXPECT_PTR(take(c), ==, blocks[0]);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("thread_cache");
    test_add(suite, test_thread_cache__bins_are_stacks);
    test_add(suite, test_thread_cache__fast_paths_of_a_thread_without_a_cache);
    test_add(suite, test_thread_cache__fast_paths_take_from_the_right_bin);
    test_add(suite, test_thread_cache__random_use_keeps_blocks_apart_and_budgets);
    test_add(suite, test_thread_cache__flush_says_how_much_it_was);
    test_add(suite, test_thread_cache__refills_are_counted_and_batches_bounded);
    test_add(suite, test_thread_cache__out_of_memory);
    test_add(suite, test_thread_cache__first_free_of_a_shared_line_is_not_what_comes_next);
    test_add(suite, test_thread_cache__a_free_takes_no_span);
    return suite;
}
