// SPDX-License-Identifier: Apache-2.0
//
// How large a thread cache's bins become and stay: capacity follows use, within the budget of a
// cache and that of all caches.
#include "cache/thread_cache.h"

#include "../../support/crew.h"
#include "cache_test.h"

enum { CACHES = 24, BURST = 3000 };

static struct thread_cache caches[CACHES];
static void *burst[BURST];

static size_t slots(const struct thread_cache *cache, unsigned c) {
    return (size_t)(cache->bins[c].limit - cache->bins[c].base);
}

static void *take(struct thread_cache *cache, unsigned c) {
    void *block;
    return lr_bin_pop(&cache->bins[c], &block) ? block : lr_cache_refill(cache, c);
}

static void give(struct thread_cache *cache, unsigned c, void *block) {
    if (!lr_bin_push(&cache->bins[c], block))
        lr_cache_overflow(cache, c, block);
}

static void take_burst(struct thread_cache *cache, unsigned c, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        burst[i] = take(cache, c);
        EXPECT(burst[i] != NULL);
    }
}

static void give_burst(struct thread_cache *cache, unsigned c, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        give(cache, c, burst[i]);
}

// Takes `count` blocks and gives them back, `rounds` times.
static void use(struct thread_cache *cache, unsigned c, unsigned count, unsigned rounds) {
    while (rounds-- > 0) {
        take_burst(cache, c, count);
        give_burst(cache, c, count);
    }
}

static uint64_t slow_calls(const struct thread_cache *cache) {
    return lr_load_relaxed(&cache->refills) + lr_load_relaxed(&cache->flushes);
}

START_TEST(test_bin_size__grows_until_it_holds_what_is_used) {
    start_tiers(LR_GIB);
    struct thread_cache *const cache = &caches[0];
    const unsigned c = lr_class_of(48);
    use(cache, c, 1, 1);
    const size_t first = slots(cache, c);
    EXPECT_UINT(first, <=, 64); // little for a thread that needs little
    use(cache, c, 1000, 20);
    EXPECT_UINT(slots(cache, c), >=, 1000);
    EXPECT_UINT(slots(cache, c), <=, 2048);
    const uint64_t before = slow_calls(cache);
    use(cache, c, 1000, 100);
    EXPECT_UINT(slow_calls(cache), ==, before); // all hits from now on
}
END_TEST

// From 64 MiB on larger blocks are kept as small ones are.
static void grow_heap(void) {
    EXPECT(lr_span_alloc_large(64 * LR_MIB >> LR_PAGE_SHIFT, 1) != NULL);
}

// Too few slow calls to show that they come quickly.
START_TEST(test_bin_size__holds_few_larger_blocks_in_a_small_heap) {
    start_tiers(8 * LR_GIB);
    struct thread_cache *const cache = &caches[0];
    const unsigned c = lr_class_of(8 * LR_KIB);
    use(cache, c, 16, 2);
    EXPECT_UINT(slots(cache, c), ==, 4); // 32 KiB
    EXPECT_UINT(slow_calls(cache), <, 64);
    grow_heap();
    use(cache, c, 16, 10);
    EXPECT_UINT(slots(cache, c), >=, 16);
}
END_TEST

START_TEST(test_bin_size__is_bounded_by_class_and_option) {
    start_tiers(8 * LR_GIB);
    grow_heap();
    struct thread_cache *const cache = &caches[0];
    EXPECT_INT(lr_option_set("thread_cache_max", 64 * LR_MIB), ==, 0);
    EXPECT_INT(lr_option_set("bin_objects_max", 300), ==, 0);
    for (unsigned c = 1; c < LR_CLASS_COUNT; c += 5) {
        const unsigned count = (unsigned)lr_min(BURST, 16 * LR_MIB / lr_classes[c].bytes);
        use(cache, c, count, 10);
        EXPECT_UINT(slots(cache, c), <=, lr_min(lr_classes[c].most, 300));
        const unsigned most = (unsigned)lr_min(lr_classes[c].most, 300);
        use(cache, c, count < most ? count : most, 10); // so many do not make it shrink
        EXPECT_UINT(slots(cache, c), <=, most);
        EXPECT_UINT(slots(cache, c), >, most / 2 - 1);
    }
}
END_TEST

// Blocks that come in for long, and none is asked for: few wait in the bin at any time. They come
// back, and the bin is as large as before.
START_TEST(test_bin_size__shrinks_while_it_only_takes_in) {
    start_tiers(8 * LR_GIB);
    struct thread_cache *const cache = &caches[0];
    const unsigned c = lr_class_of(512); // a batch is 80 blocks
    use(cache, c, 500, 20);
    EXPECT_UINT(slots(cache, c), ==, 512);
    take_burst(cache, c, BURST);
    give_burst(cache, c, BURST);
    EXPECT_UINT(slots(cache, c), ==, 128);
    use(cache, c, 500, 20);
    EXPECT_UINT(slots(cache, c), ==, 512);
}
END_TEST

// A bin that is no longer used gives its blocks and then its slots back, while others are used.
START_TEST(test_bin_size__shrinks_when_it_is_not_used) {
    start_tiers(4 * LR_GIB);
    struct thread_cache *const cache = &caches[0];
    const unsigned unused = lr_class_of(256), used = lr_class_of(LR_SMALL_MAX);
    use(cache, unused, 1000, 10);
    const size_t largest = slots(cache, unused);
    EXPECT_UINT(largest, >=, 1024);
    size_t last = largest;
    unsigned halvings = 0;
    for (unsigned i = 0; slots(cache, unused) > 0; i++) {
        EXPECT_UINT(i, <, 200000);
        use(cache, used, 4, 1); // more than its bin holds: slow calls
        if (slots(cache, unused) != last) {
            EXPECT_UINT(slots(cache, unused), <=, last / 2);
            EXPECT_UINT(lr_cache_objects_racy(cache, unused), <=, slots(cache, unused));
            last = slots(cache, unused);
            halvings++;
        }
    }
    EXPECT_UINT(halvings, >=, 5); // in steps, for it may be used again
    // Its blocks are in the shared lists again, or in the span heap.
    EXPECT_UINT(lr_transfer_objects(unused), >=, 500);
    lr_transfer_flush_all();
    EXPECT_UINT(lr_central_counts(unused).spans, ==, 0);
}
END_TEST

// Looks that are asked for by time take what was used in none of two whole, to the central list. A
// thread makes them at its slow calls: the eighth, or the next one where sixteen looks were missed.
START_TEST(test_bin_size__looks_by_time) {
    start_tiers(4 * LR_GIB);
    struct thread_cache *const cache = &caches[0];
    const unsigned unused = lr_class_of(512), used = lr_class_of(48);
    use(cache, used, 1000, 20);
    use(cache, unused, 100, 4);
    cache->calls = 0;
    cache->looks = lr_load_relaxed(&lr_cache_looks);
    const size_t held = lr_cache_objects_racy(cache, unused);
    EXPECT_UINT(held, >=, 100);
    lr_fetch_add_relaxed(&lr_cache_looks, 15);
    EXPECT(lr_cache_refill(cache, used) != NULL);
    EXPECT_UINT(cache->looks, !=, lr_load_relaxed(&lr_cache_looks));
    lr_fetch_add_relaxed(&lr_cache_looks, 1);
    EXPECT(lr_cache_refill(cache, used) != NULL);
    EXPECT_UINT(cache->looks, ==, lr_load_relaxed(&lr_cache_looks));
    EXPECT_UINT(lr_cache_objects_racy(cache, unused), ==, held);
    lr_fetch_add_relaxed(&lr_cache_looks, 1);
    for (unsigned calls = 1; calls <= 8; calls++) {
        EXPECT(lr_cache_refill(cache, used) != NULL);
        EXPECT_INT(cache->looks == lr_load_relaxed(&lr_cache_looks), ==, calls == 8);
    }
    // The first look was the first to see it, the second found it as it was.
    EXPECT_UINT(slots(cache, unused), ==, 0);
    lr_transfer_flush_all();
    EXPECT_UINT(lr_central_counts(unused).spans, ==, 0);
}
END_TEST

// Neither do looks take slots from a bin that needs more than it has, however busy others are.
START_TEST(test_bin_size__used_bins_do_not_shrink) {
    start_tiers(4 * LR_GIB);
    struct thread_cache *const cache = &caches[0];
    const unsigned steady = lr_class_of(256), noisy = lr_class_of(LR_SMALL_MAX);
    EXPECT_INT(lr_option_set("bin_objects_max", BURST - 1), ==, 0);
    use(cache, steady, BURST, 10);
    const size_t size = slots(cache, steady);
    EXPECT_UINT(size, <, BURST);
    for (unsigned i = 0; i < 1000; i++) {
        use(cache, noisy, 4, 20);
        use(cache, steady, BURST, 1);
        EXPECT_UINT(slots(cache, steady), ==, size);
    }
}
END_TEST

static size_t total_slot_bytes(void) {
    size_t bytes = 0;
    for (unsigned i = 0; i < CACHES; i++)
        bytes += caches[i].slot_bytes;
    return bytes;
}

START_TEST(test_bin_size__budget_of_one_cache) {
    start_tiers(8 * LR_GIB);
    struct thread_cache *const cache = &caches[0];
    const size_t budget = LR_MIB;
    EXPECT_INT(lr_option_set("thread_cache_max", budget), ==, 0);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
            use(cache, c, (unsigned)lr_min(500, 4 * LR_MIB / lr_classes[c].bytes), 2);
            EXPECT_UINT(cache->slot_bytes, <=, budget);
        }
    }
    EXPECT_UINT(cache->slot_bytes, >=, budget / 2);
    // Another working set pushes the old one out and gets its room.
    const unsigned c = lr_class_of(64);
    use(cache, c, 2000, 100);
    const uint64_t before = slow_calls(cache);
    use(cache, c, 1000, 10);
    EXPECT_UINT(slow_calls(cache) - before, <, 20);
}
END_TEST

// A bin that asks for more may itself lose slots to the look that makes room for it.
START_TEST(test_bin_size__growth_after_a_look_keeps_the_budget) {
    start_tiers(LR_GIB);
    struct thread_cache *const cache = &caches[0];
    const unsigned c = lr_class_of(1024), hot[] = {lr_class_of(256), lr_class_of(16)};
    EXPECT_INT(lr_option_set("bin_objects_max", 1024), ==, 0);
    for (unsigned i = 0; i < 2; i++) {
        use(cache, hot[i], 2000, 20);
        EXPECT_UINT(slots(cache, hot[i]), ==, 1024);
    }
    // Refills want more and more, but there is no room yet.
    EXPECT_INT(lr_option_set("thread_cache_max", (256 + 16 + 32) * LR_KIB), ==, 0);
    cache->sweep = 0; // and no look is due
    while (cache->bins[c].fill < lr_classes[c].batch || lr_cache_objects_racy(cache, c) > 0)
        EXPECT(take(cache, c) != NULL);
    EXPECT_UINT(slots(cache, c), ==, 32);
    while (cache->bins[c].hot != 0) // until a look has found the bin empty
        use(cache, hot[0], 2000, 1);
    EXPECT_INT(lr_option_set("thread_cache_max", 512 * LR_KIB), ==, 0);
    while (cache->sweep < 100)
        use(cache, hot[0], 1100, 1);
    use(cache, hot[1], 2000, 1);
    EXPECT(take(cache, c) != NULL);
    EXPECT_UINT(cache->slot_bytes, <=, 512 * LR_KIB);
}
END_TEST

// The look that is due at an overflow may take half of the very bin that is full.
START_TEST(test_bin_size__overflow_after_a_look_gives_each_block_once) {
    start_tiers(4 * LR_GIB);
    struct thread_cache *const cache = &caches[0];
    for (unsigned c = lr_class_of(1024); c < LR_CLASS_COUNT; c++) {
        for (unsigned fed = 0; fed < 2; fed++) {
            enum { BLOCKS = 600 };
            void *blocks[BLOCKS];
            for (unsigned i = 0; i < BLOCKS; i++) {
                const unsigned got = lr_transfer_get(c, &blocks[i], 1);
                EXPECT_UINT(got, ==, 1);
            }
            struct bin *const bin = &cache->bins[c];
            for (unsigned i = 0; i < BLOCKS; i++) {
                if (bin->top == bin->limit && slots(cache, c) > 0) {
                    bin->hot = 0; // as if it had not been used since the last look
                    bin->mark = (uint16_t)lr_cache_objects_racy(cache, c);
                    bin->fed = (uint8_t)fed;
                    cache->sweep = UINT32_MAX - 1;
                }
                give(cache, c, blocks[i]);
            }
            // A block that was given twice is a misuse when it comes to its span.
            lr_cache_flush(cache, true);
            lr_transfer_flush_all();
            EXPECT_UINT(lr_central_counts(c).spans, ==, 0);
            EXPECT_UINT(lr_span_heap_counts().small_spans, ==, 0);
        }
    }
}
END_TEST

START_TEST(test_bin_size__budget_of_all_caches) {
    start_tiers(8 * LR_GIB);
    const size_t budget = 4 * LR_MIB, floor = 256 * LR_KIB;
    EXPECT_INT(lr_option_set("thread_cache_total", budget), ==, 0);
    for (unsigned i = 0; i < CACHES; i++) {
        for (unsigned c = 1; c < LR_CLASS_COUNT; c += 7) {
            const size_t before = total_slot_bytes();
            use(&caches[i], c, (unsigned)lr_min(1000, 4 * LR_MIB / lr_classes[c].bytes), 4);
            // Over the total only caches grow that are below what each may have.
            EXPECT(total_slot_bytes() <= lr_max(budget, before) || caches[i].slot_bytes <= floor);
        }
        use(&caches[i], lr_class_of(64), 100, 5);
        EXPECT_UINT(slots(&caches[i], lr_class_of(64)), >=, 64); // nobody starves
    }
    EXPECT_UINT(total_slot_bytes(), <=, budget + CACHES * floor);
    // What one gives up is there for the others.
    for (unsigned i = 1; i < CACHES; i++)
        lr_cache_flush(&caches[i], true);
    const size_t alone = caches[0].slot_bytes;
    use(&caches[0], lr_class_of(1024), 500, 100);
    EXPECT_UINT(caches[0].slot_bytes, >, floor);
    EXPECT_UINT(total_slot_bytes(), <=, lr_max(budget, alone));
    lr_cache_flush(&caches[0], true);
    EXPECT_UINT(total_slot_bytes(), ==, 0);
    expect_all_returned();
}
END_TEST

static void expect_blocks_pass(size_t size) {
    struct thread_cache *const producer = &caches[0], *const consumer = &caches[1];
    const unsigned c = lr_class_of(size);
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 100; i++)
            burst[i] = take(producer, c);
        for (unsigned i = 0; i < 100; i++)
            give(consumer, c, burst[i]);
    }
    // The consumer passes on what it does not need itself: memory does not pile up.
    const size_t blocks = lr_central_counts(c).spans * lr_classes[c].objects;
    EXPECT_UINT(blocks, <, 200 * 100 / 3);
    EXPECT_UINT(lr_cache_objects_racy(consumer, c), <, 2048);
}

START_TEST(test_bin_size__blocks_freed_elsewhere_come_back) {
    start_tiers(LR_GIB);
    expect_blocks_pass(64);
    expect_blocks_pass(1024);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("bin_size");
    test_add(suite, test_bin_size__grows_until_it_holds_what_is_used);
    test_add(suite, test_bin_size__holds_few_larger_blocks_in_a_small_heap);
    test_add(suite, test_bin_size__is_bounded_by_class_and_option);
    test_add(suite, test_bin_size__shrinks_while_it_only_takes_in);
    test_add(suite, test_bin_size__shrinks_when_it_is_not_used);
    test_add(suite, test_bin_size__looks_by_time);
    test_add(suite, test_bin_size__used_bins_do_not_shrink);
    test_add(suite, test_bin_size__budget_of_one_cache);
    test_add(suite, test_bin_size__growth_after_a_look_keeps_the_budget);
    test_add(suite, test_bin_size__overflow_after_a_look_gives_each_block_once);
    test_add(suite, test_bin_size__budget_of_all_caches);
    test_add(suite, test_bin_size__blocks_freed_elsewhere_come_back);
    return suite;
}
