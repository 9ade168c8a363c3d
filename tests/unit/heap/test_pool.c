// SPDX-License-Identifier: Apache-2.0
//
// Pools: what they add to the window, how large they are, and what happens when they cannot grow.
#include "heap/pool.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "../../support/child.h"
#include "heap/huge_page.h"
#include "heap_test.h"

static uint32_t grow(size_t huge_pages, uint32_t *count) {
    lr_lock(&lr_pool_lock);
    const uint32_t first = lr_pool_grow_locked(huge_pages, count);
    lr_unlock(&lr_pool_lock);
    return first;
}

static size_t end_page(void) { return lr_load_relaxed(&lr_window.pages); }

// The pool is zero, writable, part of the window, and belongs to no class and no span.
static void expect_usable(uint32_t first, uint32_t count) {
    char *const start = lr_page_address((size_t)first * LR_PAGES_PER_HUGE);
    const size_t bytes = count * LR_HUGE_BYTES;
    for (size_t page = lr_page_of(start); page <= lr_page_of(start + bytes - 1); page++) {
        EXPECT(lr_page_in_window(page));
        EXPECT_UINT(lr_load_relaxed(lr_class_map(page)), ==, 0);
        EXPECT_PTR(lr_span_of_page(page), ==, NULL);
    }
    for (uint32_t i = first; i <= first + count; i++) // the neighbour behind, too
        EXPECT_INT(lr_window.huge_pages[i].state, ==, HUGE_NONE);
    for (size_t at = 0; at < bytes; at += LR_PAGE_BYTES) {
        EXPECT_INT(start[at], ==, 0);
        start[at] = 1;
    }
    start[bytes - 1] = 1;
}

START_TEST(test_pool__pools_follow_each_other) {
    start_heap(4 * LR_GIB);
    size_t next = lr_window.first_pool_page / LR_PAGES_PER_HUGE;
    const size_t first_pool = next;
    EXPECT_UINT(lr_pool_bytes(), ==, 0);
    for (size_t wanted = 1; wanted <= 60; wanted += 7) {
        uint32_t count = 0;
        const uint32_t first = grow(wanted, &count);
        EXPECT_UINT(first, ==, next);
        EXPECT_UINT(count, >=, wanted);
        next += count;
        EXPECT_UINT(end_page(), ==, next * LR_PAGES_PER_HUGE);
        EXPECT_UINT(lr_pool_bytes(), ==, (next - first_pool) * LR_HUGE_BYTES);
        expect_usable(first, count);
    }
}
END_TEST

START_TEST(test_pool__sizes_follow_the_heap_up_to_the_option) {
    start_heap(4 * LR_GIB);
    uint64_t most = 0;
    uint32_t count = 0;
    EXPECT_INT(lr_option_get("pool_size", &most), ==, 0);
    EXPECT(grow(1, &count) != 0);
    EXPECT_UINT(count * LR_HUGE_BYTES, <=, 8 * LR_MIB); // little for a process that stays little
    for (unsigned i = 0; i < 100; i++) {
        const size_t before = lr_pool_bytes();
        EXPECT(grow(1, &count) != 0);
        EXPECT_UINT(count * LR_HUGE_BYTES, <=, most);
        EXPECT_UINT(count * LR_HUGE_BYTES, <=, before / 2 + 8 * LR_MIB);
        if (lr_pool_bytes() > 8 * most)
            EXPECT_UINT(count * LR_HUGE_BYTES, ==, most);
        if (lr_pool_bytes() > 3 * LR_GIB)
            break;
    }
    EXPECT_UINT(lr_pool_bytes(), >, 8 * most);
    const uint32_t wanted = (uint32_t)(most / LR_HUGE_BYTES) + 5;
    EXPECT(grow(wanted, &count) != 0);
    EXPECT_UINT(count, ==, wanted); // more than the option where one block needs it
}
END_TEST

START_TEST(test_pool__full_window) {
    start_heap(16 * LR_MIB);
    const size_t room = (lr_window.end_pool_page - lr_window.first_pool_page) / LR_PAGES_PER_HUGE;
    uint32_t count = 0;
    EXPECT_UINT(grow(room + 1, &count), ==, 0);
    EXPECT_UINT(end_page(), ==, 0);
    const uint32_t first = grow(1, &count);
    EXPECT(first != 0);
    const uint32_t left = (uint32_t)(room - count);
    EXPECT_UINT(grow(left + 1, &count), ==, 0);
    EXPECT(grow(left, &count) != 0);
    EXPECT_UINT(count, ==, left);
    EXPECT_UINT(end_page(), ==, lr_window.end_pool_page);
    EXPECT_UINT(grow(1, &count), ==, 0);
    expect_usable(first, (uint32_t)room);
}
END_TEST

static void grow_without_memory(void *arg) {
    (void)arg;
    uint32_t count = 0;
    start_heap(4 * LR_GIB);
    while (lr_pool_bytes() < 128 * LR_MIB)
        EXPECT(grow(1, &count) != 0);
    const size_t pages = end_page();
    limit_memory(LR_MIB);
    EXPECT_UINT(grow(1, &count), ==, 0);
    EXPECT_UINT(end_page(), ==, pages);
    limit_memory(6 * LR_MIB); // not for a pool of the usual size
    uint32_t first = grow(1, &count);
    EXPECT_UINT(first, ==, pages / LR_PAGES_PER_HUGE);
    EXPECT_UINT(count, ==, 1);
    expect_usable(first, count);
    limit_memory(SIZE_MAX);
    first = grow(2, &count);
    EXPECT_UINT(first, ==, pages / LR_PAGES_PER_HUGE + 1);
    expect_usable(first, count);
}

START_TEST(test_pool__refused_memory) {
    struct test_child child;
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN) {
        TEST_SKIP("the sanitizer needs memory of its own");
    }
    test_child_run(&child, 20, grow_without_memory, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

static void grow_under_address_limit(void *arg) {
    (void)arg;
    const struct rlimit limit = {256 * LR_MIB, 256 * LR_MIB};
    uint32_t count = 0;
    lr_os_init();
    EXPECT(lr_options_init());
    EXPECT_INT(setrlimit(RLIMIT_AS, &limit), ==, 0);
    EXPECT(lr_window_init(0));
    EXPECT(!lr_window.reserved);
    size_t total = 0;
    for (uint32_t first; (first = grow(1, &count)) != 0; total += count)
        expect_usable(first, count);
    EXPECT_UINT(total * LR_HUGE_BYTES, >, 128 * LR_MIB);
    EXPECT_UINT(total * LR_HUGE_BYTES, <, 256 * LR_MIB);
}

START_TEST(test_pool__window_that_is_only_planned) {
    struct test_child child;
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN) {
        TEST_SKIP("the sanitizer's shadow memory does not live under RLIMIT_AS");
    }
    test_child_run(&child, 20, grow_under_address_limit, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

START_TEST(test_pool__skips_mappings_of_the_program) {
    start_heap(16 * LR_GIB);
    if (lr_window.reserved)
        TEST_SKIP("the window is reserved here: nothing can take its place");
    uint32_t count = 0;
    const uint32_t before = grow(1, &count);
    EXPECT_UINT(before, !=, 0);
    // In the next huge page, and one that is met when the first is gone round.
    char *const next = lr_page_address(end_page());
    const size_t places[] = {LR_HUGE_BYTES / 2, 33 * LR_HUGE_BYTES};
    for (unsigned i = 0; i < 2; i++) {
        void *const p = mmap(next + places[i], lr_os_page_bytes(), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        EXPECT_PTR(p, ==, next + places[i]);
        *(char *)p = 'x';
    }
    const uint32_t first = grow(4, &count);
    EXPECT_PTR(lr_page_address((size_t)first * LR_PAGES_PER_HUGE), >, next + places[1]);
    EXPECT_UINT(count, ==, 4);
    expect_usable(first, count);
    EXPECT_INT(next[places[0]], ==, 'x');
    EXPECT_INT(next[places[1]], ==, 'x');
    EXPECT_UINT(lr_load_relaxed(lr_class_map(lr_page_of(next))), ==, 0); // what lies between
    EXPECT_PTR(lr_span_of_page(lr_page_of(next)), ==, NULL);
}
END_TEST

static void grow_without_lock(void *arg) {
    uint32_t count;
    (void)arg;
    start_heap(LR_GIB);
    lr_pool_grow_locked(1, &count);
}

START_TEST(test_pool__needs_its_lock) {
    if (!LARDER_CHECKED) {
        TEST_SKIP("assertions are not compiled into this build");
    }
    struct test_child child;
    test_child_run(&child, 20, grow_without_lock, NULL);
    EXPECT_CHILD_SIGNAL(&child, SIGABRT);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("pool");
    test_add(suite, test_pool__pools_follow_each_other);
    test_add(suite, test_pool__sizes_follow_the_heap_up_to_the_option);
    test_add(suite, test_pool__full_window);
    test_add(suite, test_pool__refused_memory);
    test_add(suite, test_pool__window_that_is_only_planned);
    test_add(suite, test_pool__skips_mappings_of_the_program);
    test_add(suite, test_pool__needs_its_lock);
    return suite;
}
