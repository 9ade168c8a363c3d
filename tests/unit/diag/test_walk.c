// SPDX-License-Identifier: Apache-2.0
//
// larder_heap_walk() shows each block that the program keeps once, as what it is, also while other
// threads allocate and free; larder_stats_fills() counts the same spans.
#include <larder/ctl.h>
#include <larder/stats.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../support/crew.h"
#include "../../support/support.h"
#include "api/start.h"
#include "base/atomic.h"
#include "base/config.h"
#include "cache/transfer.h"
#include "hard/hard.h"
#include "heap/window.h"

enum { COUNT = 3000 };

static void *blocks[COUNT]; // sorted by address
static size_t block_count;

static int by_address(const void *a, const void *b) {
    const char *left = *(char *const *)a, *right = *(char *const *)b;
    return left < right ? -1 : left > right;
}

static void keep(void *block) {
    EXPECT(block != NULL && block_count < COUNT);
    blocks[block_count++] = block;
}

static void sort_blocks(void) { qsort(blocks, block_count, sizeof *blocks, by_address); }

// What one walk has shown.
struct seen {
    unsigned times[COUNT]; // of blocks[i]
    uint64_t in_state[3];
    uint64_t live_bytes;
    const char *end;
};

static int look(const struct larder_heap_block *block, void *context) {
    struct seen *seen = context;
    const char *at = block->address;
    seen->in_state[block->state]++;
    seen->live_bytes += block->state == LARDER_BLOCK_LIVE ? block->bytes : 0;
    EXPECT_PTR(block->span, <=, block->address);
    EXPECT_UINT((size_t)(at - (char *)block->span) + block->bytes, <=, block->span_bytes);
    if (lr_page_in_window(lr_page_of(at))) {
        EXPECT_PTR(at, >=, seen->end);
        seen->end = at + block->bytes;
    }
    void *const key = block->address;
    void **found = bsearch(&key, blocks, block_count, sizeof *blocks, by_address);
    if (found != NULL) {
        seen->times[found - blocks]++;
        EXPECT_INT(block->state, !=, LARDER_BLOCK_FREE);
        EXPECT_UINT(block->bytes, ==, larder_malloc_usable_size(key));
    }
    return 0;
}

static void walk(struct seen *seen) {
    memset(seen, 0, sizeof *seen);
    errno = 99;
    EXPECT_INT(larder_heap_walk(look, seen), ==, 0);
    EXPECT_INT(errno, ==, 99);
    for (size_t i = 0; i < block_count; i++) {
        EXPECT_UINT(seen->times[i], ==, 1);
    }
}

// Of all kinds, with as many freed beside them.
static void keep_some(unsigned count) {
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < count; i++) {
        void *gone = larder_malloc(test_rng_size(&rng, 5000));
        keep(larder_malloc(test_rng_size(&rng, i % 50 == 0 ? 4 * LR_MIB : 20000)));
        larder_free(gone);
    }
    keep(larder_aligned_alloc(2 * lr_window.align, 100));
    keep(larder_aligned_alloc(4 * lr_window.align, 3 * LR_MIB));
    sort_blocks();
}

START_TEST(test_walk__each_block_once) {
    static struct seen seen;
    keep_some(COUNT - 10);
    walk(&seen);
    EXPECT_UINT(seen.in_state[LARDER_BLOCK_LIVE], >=, 2);
}
END_TEST

// With nothing in caches the states are what the statistics count.
START_TEST(test_walk__states_add_up_to_the_statistics) {
    static struct seen seen;
    struct larder_class_stats c;
    struct larder_stats stats;
    uint64_t live = 0, unused = 0;
    EXPECT_INT(larder_option_set("scavenger", 2), ==, 0);
    keep_some(1000);
    larder_thread_flush();
    lr_transfer_flush_all();
    for (unsigned i = 0; larder_stats_class(i, &c) == 0; i++) {
        live += c.live_objects;
        unused += c.central_objects;
    }
    EXPECT_INT(larder_stats_get(&stats, sizeof stats), ==, 0);
    walk(&seen);
    EXPECT_UINT(seen.in_state[LARDER_BLOCK_OUT], ==, live);
    EXPECT_UINT(seen.in_state[LARDER_BLOCK_FREE], ==, unused);
    EXPECT_UINT(seen.in_state[LARDER_BLOCK_LIVE], ==, stats.large_blocks);
    EXPECT_UINT(seen.live_bytes, ==, stats.large_bytes);
}
END_TEST

START_TEST(test_walk__a_sample_is_live) {
    static struct seen seen;
    larder_free(test_opaque_ptr(larder_malloc(1)));
    EXPECT_INT(larder_option_set("profile_interval", 1), ==, 0);
    EXPECT_INT(larder_option_set("profile", 1), ==, 0);
    for (int i = 0; i < 100; i++) {
        keep(larder_malloc(100));
    }
    EXPECT_INT(larder_option_set("profile", 0), ==, 0);
    sort_blocks();
    walk(&seen);
    EXPECT_UINT(seen.in_state[LARDER_BLOCK_LIVE], >=, 90);
    EXPECT_UINT(seen.live_bytes, ==, seen.in_state[LARDER_BLOCK_LIVE] * 112);
}
END_TEST

START_TEST(test_walk__guarded_blocks_too) {
    static struct seen seen;
    larder_free(test_opaque_ptr(larder_malloc(1)));
    EXPECT_INT(larder_option_set("guard_sample", 1), ==, 0);
    for (int i = 0; i < 30; i++) {
        keep(larder_malloc(100));
    }
    larder_free(blocks[--block_count]);
    EXPECT_INT(larder_option_set("guard_sample", 0), ==, 0);
    sort_blocks();
    walk(&seen);
    EXPECT_UINT(seen.in_state[LARDER_BLOCK_LIVE], >=, 10);
}
END_TEST

static int stop_at_the_third(const struct larder_heap_block *block, void *context) {
    int *left = context;
    (void)block;
    errno = 5;
    return --*left == 0 ? 1234 : 0;
}

START_TEST(test_walk__ends_when_told) {
    int left = 3;
    keep_some(10);
    errno = 0;
    EXPECT_INT(larder_heap_walk(stop_at_the_third, &left), ==, 1234);
    EXPECT_INT(errno, ==, 0);
    EXPECT_INT(left, ==, 0);
    EXPECT_INT(larder_heap_walk(NULL, NULL), ==, -EINVAL);
}
END_TEST

static int allocate(const struct larder_heap_block *block, void *context) {
    struct larder_stats stats;
    (void)context;
    larder_free(test_opaque_ptr(larder_malloc(block->bytes)));
    larder_free(test_opaque_ptr(larder_calloc(1, 70000)));
    return larder_stats_get(&stats, sizeof stats);
}

START_TEST(test_walk__a_visitor_may_allocate) {
    keep_some(200);
    EXPECT_INT(larder_heap_walk(allocate, NULL), ==, 0);
}
END_TEST

START_TEST(test_walk__hardened_mode_does_not_tell) {
    EXPECT(lr_start());
    lr_hard_enable();
    EXPECT_INT(larder_heap_walk(look, NULL), ==, -EPERM);
}
END_TEST

static atomic_u32 done;

// Blocks of all sizes come and go, and spans with them.
static void churn(struct test_worker *worker) {
    enum { HELD = 300 };
    void *held[HELD] = {0};
    struct test_rng rng = {worker->seed};
    while (lr_load_relaxed(&done) == 0) {
        const uint64_t at = test_rng_below(&rng, HELD);
        larder_free(held[at]);
        held[at] = larder_malloc(test_rng_size(&rng, at % 30 == 0 ? 2 * LR_MIB : 60000));
    }
    for (unsigned i = 0; i < HELD; i++) {
        larder_free(held[i]);
    }
}

START_TEST(test_walk__while_others_allocate) {
    static struct test_crew crew;
    static struct seen seen;
    const uint64_t end = test_now_ms() + 1500;
    keep_some(500);
    test_crew_start(&crew, 3, churn, NULL);
    unsigned walks = 0;
    for (; walks < 3 || test_now_ms() < end; walks++) {
        walk(&seen);
    }
    lr_store_relaxed(&done, 1);
    test_crew_join(&crew);
}
END_TEST

// ---- Fills ----

static struct larder_span_fills counted[LR_CLASS_COUNT];

struct span_count {
    void *span;
    size_t bytes;
    unsigned out, all;
};

static void count_span(const struct span_count *span) {
    struct larder_class_stats c;
    for (unsigned i = 0; span->all > 1 && larder_stats_class(i, &c) == 0; i++) {
        if (c.size == span->bytes) {
            const unsigned step = span->out * 8 / (span->all + 1) + 1;
            counted[i].spans[span->out == 0 ? 0 : span->out == span->all ? 9 : step]++;
        }
    }
}

static int count_block(const struct larder_heap_block *block, void *context) {
    struct span_count *span = context;
    if (block->span != span->span) {
        count_span(span);
        *span = (struct span_count){.span = block->span, .bytes = block->bytes};
    }
    span->all++;
    span->out += block->state != LARDER_BLOCK_FREE;
    return 0;
}

START_TEST(test_walk__fills_are_those_of_the_spans) {
    enum { MANY = 20000 };
    static void *many[MANY];
    struct test_rng rng = {test_seed()};
    struct span_count span = {0};
    struct larder_span_fills fills;
    uint32_t in_between = 0;
    EXPECT_INT(larder_option_set("scavenger", 2), ==, 0);
    for (unsigned i = 0; i < MANY; i++) {
        many[i] = larder_malloc(16 + 16 * test_rng_below(&rng, 20));
    }
    // More and more of them stay.
    for (unsigned i = 0; i < MANY; i++) {
        if (test_rng_below(&rng, MANY) > i) {
            larder_free(many[i]);
        }
    }
    larder_thread_flush();
    lr_transfer_flush_all();
    EXPECT_INT(larder_heap_walk(count_block, &span), ==, 0);
    count_span(&span);
    unsigned index = 0;
    for (; larder_stats_fills(index, &fills) == 0; index++) {
        for (unsigned f = 0; f < LARDER_SPAN_FILLS; f++) {
            EXPECT_UINT(fills.spans[f], ==, counted[index].spans[f]);
            in_between += f > 0 && f < 9 ? fills.spans[f] : 0;
        }
    }
    EXPECT_UINT(index, ==, LR_CLASS_COUNT - 1);
    EXPECT_UINT(in_between, >, 50);
    EXPECT_INT(larder_stats_fills(index, &fills), ==, -ENOENT);
    EXPECT_INT(larder_stats_fills(0, NULL), ==, -EINVAL);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("walk");
    test_add(suite, test_walk__each_block_once);
    test_add(suite, test_walk__states_add_up_to_the_statistics);
    test_add(suite, test_walk__a_sample_is_live);
    test_add(suite, test_walk__guarded_blocks_too);
    test_add(suite, test_walk__ends_when_told);
    test_add(suite, test_walk__a_visitor_may_allocate);
    test_add(suite, test_walk__hardened_mode_does_not_tell);
    test_add(suite, test_walk__while_others_allocate);
    test_add(suite, test_walk__fills_are_those_of_the_spans);
    return suite;
}
