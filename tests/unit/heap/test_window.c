// SPDX-License-Identifier: Apache-2.0
//
// The window: its size and alignment, the arrays in it, and what becomes of it when address space
// is limited.
#include "heap/window.h"

#include <errno.h>
#include <sys/resource.h>

#include "../../support/child.h"
#include "../../support/support.h"
#include "base/bits.h"
#include "heap/huge_page.h"
#include "heap/span.h"
#include "os/os.h"

static const char *address_of(const volatile void *p) { return (const char *)(uintptr_t)p; }

// The parts follow each other without overlap, each large enough for every page of the window.
static void expect_laid_out(void) {
    const struct window *const w = &lr_window;
    const size_t pages = w->bytes >> LR_PAGE_SHIFT;
    const char *const span_map = address_of(w->span_map);
    const char *const huge_pages = (const char *)w->huge_pages;
    EXPECT(lr_is_pow2(w->bytes));
    EXPECT(lr_is_pow2(w->align));
    EXPECT_UINT(w->align, >=, LR_HUGE_BYTES);
    EXPECT_ALIGNED(w->base, w->align);
    EXPECT_PTR(address_of(lr_class_map(0)), ==, w->base);
    EXPECT_UINT(span_map - w->base, >=, pages * sizeof(atomic_u16));
    EXPECT_UINT(huge_pages - span_map, >=, pages * sizeof(atomic_u32));
    // One more than there are, because joining looks at the neighbour of the last.
    const size_t numbers = (w->bytes >> LR_HUGE_SHIFT) + 1;
    EXPECT_PTR(lr_page_address(w->first_pool_page), >=,
               huge_pages + (numbers - 1) * sizeof(struct huge_page));
    EXPECT_UINT(w->first_pool_page % LR_PAGES_PER_HUGE, ==, 0);
    EXPECT_UINT(w->end_pool_page % LR_PAGES_PER_HUGE, ==, 0);
    EXPECT_UINT(w->first_pool_page, >, 0);
    EXPECT_UINT(w->first_pool_page, <, w->end_pool_page);
    EXPECT_PTR(lr_page_address(w->end_pool_page), ==, w->meta_base);
    EXPECT_PTR(w->meta_base + w->meta_bytes, ==, w->base + w->bytes);
    EXPECT_UINT(lr_load_relaxed(&w->pages), ==, 0);
}

START_TEST(test_window__chosen_size) {
    lr_os_init();
    EXPECT(lr_window_init(0));
    expect_laid_out();
    EXPECT_UINT(lr_window.bytes, >=, 8 * lr_os_physical_bytes());
    EXPECT_UINT(lr_window.bytes, >=, 256 * LR_GIB);
    EXPECT_UINT(lr_window.align, ==, LR_GIB);
}
END_TEST

START_TEST(test_window__sizes_asked_for) {
    const struct {
        size_t asked, bytes;
    } sizes[] = {{1, 16 * LR_MIB},
                 {16 * LR_MIB, 16 * LR_MIB},
                 {16 * LR_MIB + 1, 32 * LR_MIB},
                 {100 * LR_MIB, 128 * LR_MIB},
                 {LR_GIB, LR_GIB},
                 {5 * LR_GIB, 8 * LR_GIB},
                 {LR_GIB << 10, LR_GIB << 10}};
    lr_os_init();
    // Beside a sanitizer's shadow there is not always a terabyte in one piece.
    const size_t most = TEST_UNDER_ASAN || TEST_UNDER_TSAN ? 8 * LR_GIB : SIZE_MAX;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && sizes[i].bytes <= most; i++) {
        const size_t before = test_virtual_bytes();
        EXPECT(lr_window_init(sizes[i].asked));
        EXPECT_UINT(lr_window.bytes, ==, sizes[i].bytes);
        EXPECT_UINT(test_virtual_bytes() - before, ==, lr_window.reserved ? sizes[i].bytes : 0);
        expect_laid_out();
        lr_os_unmap(lr_window.base, lr_window.bytes);
    }
}
END_TEST

// Beside a sanitizer it is reserved, as test_window__is_halved_until_it_fits sees it.
START_TEST(test_window__is_a_plan_far_from_other_mappings) {
    lr_os_init();
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN) {
        TEST_SKIP("the sanitizer owns most of the address space");
    }
    EXPECT(lr_window_init(0));
    EXPECT(!lr_window.reserved);
    char *const mapped = lr_os_reserve(LR_GIB, lr_os_page_bytes());
    EXPECT_PTR(lr_window.base + lr_window.bytes + (LR_GIB << 10), <, mapped);
    char *const first = lr_page_address(lr_window.first_pool_page);
    EXPECT(lr_window_commit(first, LR_MIB));
    first[LR_MIB - 1] = 1;
    EXPECT(!lr_window_commit(first, LR_MIB)); // nothing is mapped over
    EXPECT_INT(errno, ==, EEXIST);
    EXPECT_INT(first[LR_MIB - 1], ==, 1);
    expect_laid_out();
}
END_TEST

// As in an address space of 39 bits: what is asked for does not exist in one piece.
START_TEST(test_window__is_halved_until_it_fits) {
    lr_os_init();
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN) {
        TEST_SKIP("the sanitizer owns most of the address space");
    }
    const size_t piece = (size_t)1 << 39;
    while (lr_os_reserve(piece, lr_os_page_bytes()) != NULL)
        continue;
    EXPECT(lr_window_init((size_t)1 << 44));
    EXPECT(lr_window.reserved);
    EXPECT_UINT(lr_window.bytes, <, piece);
    EXPECT_UINT(lr_window.bytes, >=, piece / 16);
    expect_laid_out();
}
END_TEST

START_TEST(test_window__size_is_bounded) {
    lr_os_init();
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN) {
        TEST_SKIP("the sanitizer owns most of the address space");
    }
    EXPECT(lr_window_init((size_t)1 << 60));
    EXPECT_UINT(lr_window.bytes, >=, (size_t)1 << 40);
    EXPECT_UINT(lr_window.bytes >> LR_PAGE_SHIFT, <=, (size_t)1 << 32); // page numbers have 32 bits
    expect_laid_out();
}
END_TEST

START_TEST(test_window__pages_and_addresses) {
    lr_os_init();
    EXPECT(lr_window_init(LR_GIB));
    for (size_t page = 0; page < LR_GIB >> LR_PAGE_SHIFT; page += 977) {
        char *const address = lr_page_address(page);
        EXPECT_UINT(lr_page_of(address), ==, page);
        EXPECT_UINT(lr_page_of(address + LR_PAGE_BYTES - 1), ==, page);
        EXPECT_UINT(lr_page_of(address + LR_PAGE_BYTES), ==, page + 1);
    }
    // Nothing belongs to it before the first pool; nothing outside ever does.
    const char *const outside[] = {NULL, (char *)&lr_window, lr_window.base - 1,
                                   lr_window.base + LR_GIB, (char *)UINTPTR_MAX};
    EXPECT(!lr_page_in_window(0));
    lr_store_relaxed(&lr_window.pages, LR_GIB >> LR_PAGE_SHIFT);
    EXPECT(lr_page_in_window(0));
    EXPECT(lr_page_in_window((LR_GIB >> LR_PAGE_SHIFT) - 1));
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        EXPECT(!lr_page_in_window(lr_page_of(outside[i])));
}
END_TEST

START_TEST(test_window__span_numbers) {
    lr_os_init();
    EXPECT(lr_window_init(LR_GIB));
    EXPECT_PTR(lr_span_from_id(0), ==, NULL);
    for (size_t at = 64; at < lr_window.meta_bytes; at += 64 * 1013) {
        struct span *const span = (struct span *)(void *)(lr_window.meta_base + at);
        EXPECT_UINT(lr_span_id(span), !=, 0);
        EXPECT_PTR(lr_span_from_id(lr_span_id(span)), ==, span);
    }
}
END_TEST

static void plan_under_limit(void *arg) {
    const size_t limit_bytes = *(const size_t *)arg;
    const struct rlimit limit = {limit_bytes, limit_bytes};
    lr_os_init();
    EXPECT_INT(setrlimit(RLIMIT_AS, &limit), ==, 0);
    const size_t before = test_virtual_bytes();
    EXPECT(lr_window_init(0));
    EXPECT(!lr_window.reserved);
    EXPECT_UINT(test_virtual_bytes(), ==, before); // only planned
    EXPECT_UINT(lr_window.bytes, >=, lr_min(limit_bytes, 256 * LR_GIB));
    expect_laid_out();
    // Where it is planned there is nothing, at its start, at its pools and at its end.
    EXPECT(lr_os_commit(lr_window.base, LR_MIB, false));
    EXPECT(lr_os_commit(lr_page_address(lr_window.first_pool_page), 2 * LR_MIB, false));
    EXPECT(lr_os_commit(lr_window.base + lr_window.bytes - LR_MIB, LR_MIB, false));
}

START_TEST(test_window__address_limit_makes_it_a_plan) {
    const size_t limits[] = {64 * LR_MIB, LR_GIB, 16 * LR_GIB, LR_GIB << 11};
    struct test_child child;
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN) {
        TEST_SKIP("the sanitizer's shadow memory does not live under RLIMIT_AS");
    }
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        size_t limit = limits[i];
        test_child_run(&child, 20, plan_under_limit, &limit);
        EXPECT_CHILD_EXIT(&child, 0);
    }
}
END_TEST

static void fail_under_limit(void *arg) {
    (void)arg;
    lr_os_init();
    const size_t now = test_virtual_bytes();
    const struct rlimit limit = {now, now};
    EXPECT_INT(setrlimit(RLIMIT_AS, &limit), ==, 0);
    EXPECT(!lr_window_init(0));
}

START_TEST(test_window__without_address_space_it_is_refused) {
    struct test_child child;
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN) {
        TEST_SKIP("the sanitizer's shadow memory does not live under RLIMIT_AS");
    }
    test_child_run(&child, 20, fail_under_limit, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("window");
    test_add(suite, test_window__chosen_size);
    test_add(suite, test_window__sizes_asked_for);
    test_add(suite, test_window__is_a_plan_far_from_other_mappings);
    test_add(suite, test_window__is_halved_until_it_fits);
    test_add(suite, test_window__size_is_bounded);
    test_add(suite, test_window__pages_and_addresses);
    test_add(suite, test_window__span_numbers);
    test_add(suite, test_window__address_limit_makes_it_a_plan);
    test_add(suite, test_window__without_address_space_it_is_refused);
    return suite;
}
