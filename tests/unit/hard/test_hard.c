// SPDX-License-Identifier: Apache-2.0
//
// Hardened mode through the functions of larder.h.
#include "hard_test.h"

#include <larder/stats.h>

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

START_TEST(test_hard__sizes_are_what_was_asked_for) {
    be_hardened();
    for (size_t size = 0; size < 200000; size += 1 + size / 7) {
        void *block = larder_malloc(size);
        EXPECT(block != NULL);
        EXPECT_UINT(larder_malloc_usable_size(block), ==, size);
        EXPECT_UINT(larder_good_size(size, 0), ==, size);
        larder_free_sized(block, size);
        block = larder_aligned_alloc(64, size);
        EXPECT_ALIGNED(block, 64);
        EXPECT_UINT(larder_malloc_usable_size(block), ==, size);
        larder_free_aligned_sized(block, 64, size);
    }
}
END_TEST

START_TEST(test_hard__alignments) {
    be_hardened();
    for (size_t align = 16; align <= 4 * LR_MIB; align *= 2) {
        for (size_t size = 0; size < 100000; size = size * 3 + 1) {
            void *const block = larder_memalign(align, size);
            EXPECT(block != NULL);
            EXPECT_ALIGNED(block, align);
            EXPECT_ZERO(block, size);
            memset(block, 1, size);
            larder_free(block);
        }
    }
    void *const far = larder_memalign(2 * lr_window.align, 100); // a mapping of its own
    EXPECT_ALIGNED(far, 2 * lr_window.align);
    larder_free(far);
}
END_TEST

START_TEST(test_hard__realloc_keeps_contents) {
    be_hardened();
    struct test_rng rng = {test_seed()};
    size_t size = 1;
    char *block = larder_malloc(size);
    test_fill(block, size, 7);
    for (unsigned i = 0; i < 3000; i++) {
        const size_t next = 1 + test_rng_size(&rng, 200000);
        block = larder_realloc(block, next);
        EXPECT(block != NULL);
        EXPECT_FILLED(block, next < size ? next : size, 7);
        EXPECT_UINT(larder_malloc_usable_size(block), ==, next);
        if (next > size)
            EXPECT_ZERO(block + size, next - size);
        test_fill(block, next, 7);
        size = next;
    }
    block = larder_realloc(block, 0);
    EXPECT(block == NULL);
    block = larder_realloc(larder_malloc(0), 10);
    EXPECT_ZERO(block, 10);
    larder_free(block);
}
END_TEST

// A buffer that gets longer by a page each time moves a few times, not each time.
START_TEST(test_hard__realloc_in_steps_copies_seldom) {
    be_hardened();
    unsigned moves = 0;
    char *block = larder_malloc(64 * LR_KIB);
    for (size_t size = 64 * LR_KIB; size <= 8 * LR_MIB; size += 4096) {
        char *const grown = larder_realloc(block, size);
        EXPECT(grown != NULL);
        EXPECT_UINT(larder_malloc_usable_size(grown), ==, size);
        moves += grown != block;
        block = grown;
    }
    EXPECT_UINT(moves, <, 60); // the 42nd power of 9/8 is 128
    larder_free(block);
}
END_TEST

START_TEST(test_hard__owns_live_blocks_and_nothing_else) {
    be_hardened();
    const size_t sizes[] = {0, 1, 16, 100, LR_SLAB_MAX, LR_SLAB_MAX + 1, LR_MIB, 100 * LR_MIB};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *const block = larder_malloc(sizes[i]);
        EXPECT(block != NULL);
        EXPECT_INT(larder_owns(block), ==, 1);
        EXPECT_INT(larder_owns(block + 1), ==, 0);
        EXPECT_INT(larder_owns(block + sizes[i] / 2 + 1), ==, 0);
        larder_free(block);
        EXPECT_INT(larder_owns(block), ==, 0);
    }
}
END_TEST

START_TEST(test_hard__impossible_sizes_fail) {
    be_hardened();
    static const size_t sizes[] = {PTRDIFF_MAX, SIZE_MAX, SIZE_MAX - 4096, (size_t)1 << 47};
    for (unsigned i = 0; i < 4; i++) {
        errno = 0;
        EXPECT(larder_malloc(test_opaque(sizes[i])) == NULL);
        EXPECT_INT(errno, ==, ENOMEM);
        EXPECT(larder_calloc(1, test_opaque(sizes[i])) == NULL);
        EXPECT(larder_memalign(64, test_opaque(sizes[i])) == NULL);
    }
}
END_TEST

enum { THREADS = 4, SLOTS = 200, ROUNDS = 20000 };
static _Atomic(void *) shared[SLOTS];

// Blocks wander between threads; each begins with its own size.
static void *exchange(void *arg) {
    struct test_rng rng = {test_seed() + (size_t)arg};
    for (unsigned i = 0; i < ROUNDS; i++) {
        const size_t size = sizeof(size_t) + test_rng_size(&rng, i % 50 == 0 ? 100000 : 1000);
        size_t *block = larder_malloc(size);
        EXPECT(block != NULL);
        EXPECT_ZERO(block, size);
        memset(block, 0x5a, size);
        *block = size;
        block = lr_exchange_acq_rel(&shared[test_rng_below(&rng, SLOTS)], block);
        if (block != NULL) {
            EXPECT_UINT(larder_malloc_usable_size(block), ==, *block);
            larder_free(block);
        }
    }
    return NULL;
}

START_TEST(test_hard__blocks_between_threads) {
    be_hardened();
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        EXPECT_INT(pthread_create(&threads[i], NULL, exchange, (void *)i), ==, 0);
    for (unsigned i = 0; i < THREADS; i++)
        EXPECT_INT(pthread_join(threads[i], NULL), ==, 0);
    lr_hard_check_all();
    for (unsigned i = 0; i < SLOTS; i++)
        larder_free(shared[i]);
}
END_TEST

START_TEST(test_hard__nobody_has_a_cache) {
    be_hardened();
    for (unsigned i = 0; i < 100; i++)
        larder_free(larder_malloc(100));
    EXPECT_UINT(larder_thread_flush(), ==, 0);
}
END_TEST

START_TEST(test_hard__statistics_add_up) {
    be_hardened();
    enum { COUNT = 3000 };
    static void *blocks[COUNT];
    struct test_rng rng = {test_seed()};
    size_t live = 0;
    for (unsigned i = 0; i < COUNT; i++)
        blocks[i] = larder_malloc(test_rng_size(&rng, i % 20 == 0 ? LR_MIB : 5000));
    for (unsigned i = 0; i < COUNT; i += 2)
        larder_free(blocks[i]);
    for (unsigned i = 1; i < COUNT; i += 2)
        live += larder_malloc_usable_size(blocks[i]);
    struct larder_stats s;
    EXPECT_INT(larder_stats_get(&s, sizeof s), ==, 0);
    EXPECT_UINT(s.live_bytes, ==, live);
    EXPECT_UINT(s.mapped_bytes, ==, s.held_bytes - s.metadata_bytes + s.returned_bytes);
    EXPECT_UINT(s.thread_cache_bytes, ==, 0);
    size_t large = 0;
    for (unsigned i = 1; i < COUNT; i += 2) {
        const size_t bytes = larder_malloc_usable_size(blocks[i]);
        large += lr_slab_class(bytes, 1) == 0;
        larder_free(blocks[i]);
    }
    EXPECT_UINT(s.large_blocks, ==, large);
    EXPECT_INT(larder_stats_get(&s, sizeof s), ==, 0);
    EXPECT_UINT(s.live_bytes, ==, 0);
    EXPECT_UINT(s.large_blocks, ==, 0);
}
END_TEST

static void free_twice(void *arg) {
    larder_free(arg);
    larder_free(test_opaque_ptr(arg));
}

static void overrun(void *arg) {
    char *const block = larder_malloc(100);
    (void)arg;
    memset(block, 1, 109);
    larder_free(block);
}

static void free_wrong_size(void *arg) { larder_free_sized(arg, 5); }
static void resize_freed(void *arg) {
    larder_free(arg);
    EXPECT(larder_realloc(test_opaque_ptr(arg), 10) == NULL);
}

START_TEST(test_hard__misuse_aborts_with_a_report) {
    be_hardened();
    static const struct {
        void (*run)(void *);
        const char *text;
    } cases[] = {{free_twice, "larder: double free of 0x"},
                 {overrun, "larder: overflow of 0x"},
                 {free_wrong_size, "larder: sized free of 0x"},
                 {resize_freed, "larder: realloc of 0x"}};
    for (unsigned i = 0; i < 4; i++) {
        for (size_t size = 100; size <= 100000; size *= 1000) {
            struct test_child child;
            test_child_run(&child, 20, cases[i].run, larder_malloc(size));
            EXPECT_CHILD_SIGNAL(&child, SIGABRT);
            EXPECT(strncmp(child.err, cases[i].text, strlen(cases[i].text)) == 0);
            EXPECT(strstr(strchr(child.err, '\n'), "\n  called at\n") != NULL);
            EXPECT(strstr(child.err, "unit.hard.hard+0x") != NULL);
        }
    }
}
END_TEST

START_TEST(test_hard__sealed_options_stay) {
    be_hardened();
    lr_options_seal();
    EXPECT_INT(lr_option_set("heap_limit", LR_GIB), ==, -EPERM);
    uint64_t value = 1;
    EXPECT_INT(lr_option_get("heap_limit", &value), ==, 0);
    EXPECT_UINT(value, ==, 0);
    struct test_child child;
    test_child_run(&child, 20, free_twice, larder_malloc(10));
    EXPECT_CHILD_SIGNAL(&child, SIGABRT);
}
END_TEST

static void write_option(void *at) { lr_store_relaxed((atomic_u64 *)at, 1); }

START_TEST(test_hard__sealed_options_cannot_be_written) {
    be_hardened();
    if (lr_os_page_bytes() > LR_OPTIONS_PAGE_BYTES)
        TEST_SKIP("pages of the system are larger than the options' own");
    signal(SIGSEGV, SIG_DFL);
    atomic_u64 *const at = &lr_options_page.current->value[LR_OPTION_heap_limit];
    struct test_child child;
    test_child_run(&child, 20, write_option, at);
    EXPECT_CHILD_EXIT(&child, 0);
    lr_options_seal();
    test_child_run(&child, 20, write_option, at);
    EXPECT_CHILD_SIGNAL(&child, SIGSEGV);
}
END_TEST

START_TEST(test_hard__the_limit_counts_blocks_outside_the_window) {
    EXPECT(lr_start());
    EXPECT_INT(lr_option_set("heap_limit", 64 * LR_MIB), ==, 0);
    be_hardened();
    errno = 0;
    EXPECT_PTR(larder_memalign(2 * lr_window.align, 65 * LR_MIB), ==, NULL);
    EXPECT_INT(errno, ==, ENOMEM);
    void *const block = larder_memalign(2 * lr_window.align, 20 * LR_MIB);
    EXPECT(block != NULL);
    larder_free(block);
}
END_TEST

Suite *lr_suite(void) {
    Suite *const suite = suite_create("hard");
    test_add(suite, test_hard__sizes_are_what_was_asked_for);
    test_add(suite, test_hard__alignments);
    test_add(suite, test_hard__realloc_keeps_contents);
    test_add(suite, test_hard__realloc_in_steps_copies_seldom);
    test_add(suite, test_hard__owns_live_blocks_and_nothing_else);
    test_add(suite, test_hard__impossible_sizes_fail);
    test_add(suite, test_hard__blocks_between_threads);
    test_add(suite, test_hard__nobody_has_a_cache);
    test_add(suite, test_hard__statistics_add_up);
    test_add(suite, test_hard__misuse_aborts_with_a_report);
    test_add(suite, test_hard__sealed_options_stay);
    test_add(suite, test_hard__sealed_options_cannot_be_written);
    test_add(suite, test_hard__the_limit_counts_blocks_outside_the_window);
    return suite;
}
