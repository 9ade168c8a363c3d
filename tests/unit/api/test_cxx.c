// SPDX-License-Identifier: Apache-2.0
//
// operator new and delete by their internal names, in front of a C++ runtime played by this file:
// std::get_new_handler() is a variable, throwing is a longjmp.
#include "api/cxx.h"

#include <larder/ctl.h>
#include <larder/larder.h>
#include <setjmp.h>

#include "../../support/support.h"

static const size_t mib = 1024 * 1024;

typedef void new_handler(void);
static new_handler *installed;
static unsigned calls;
static jmp_buf catch_here;
enum { THROWN_BAD_ALLOC = 1, THROWN_BY_HANDLER = 2 };

new_handler *runtime_get_new_handler(void) __asm__("_ZSt15get_new_handlerv");
new_handler *runtime_get_new_handler(void) { return installed; }

_Noreturn void runtime_throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv");
void runtime_throw_bad_alloc(void) { longjmp(catch_here, THROWN_BAD_ALLOC); }

static void give_up_at_third_call(void) {
    if (++calls == 3)
        installed = NULL;
}

static void throw_at_second_call(void) {
    if (++calls == 2)
        longjmp(catch_here, THROWN_BY_HANDLER);
}

static void lift_the_limit(void) {
    calls++;
    EXPECT_INT(larder_option_set("heap_limit", 0), ==, 0);
}

static void install(new_handler *handler) {
    installed = handler;
    calls = 0;
}

// What the operator does with a request of `size` bytes: the block, or NULL and what was thrown.
static void *attempt(size_t size, size_t alignment, int *thrown) {
    *thrown = setjmp(catch_here);
    if (*thrown != 0)
        return NULL;
    return alignment == 0 ? lr_cxx_new(size) : lr_cxx_new_aligned(size, alignment);
}

START_TEST(test_cxx__new_is_malloc) {
    for (size_t size = 0; size < 3 * mib; size += 1 + size / 3) {
        char *const block = lr_cxx_new(size);
        EXPECT_ALIGNED(block, 16);
        EXPECT_UINT(larder_malloc_usable_size(block), ==, larder_good_size(size, 0));
        test_fill(block, size, size);
        EXPECT_FILLED(block, size, size);
        larder_free_sized(block, size);
    }
}
END_TEST

START_TEST(test_cxx__aligned_pair) {
    const struct mallinfo2 before = larder_mallinfo2();
    for (size_t alignment = 1; alignment <= mib; alignment *= 2) {
        for (size_t size = 0; size < mib; size += 1 + size / 2) {
            char *const block = lr_cxx_new_aligned(size, alignment);
            EXPECT_ALIGNED(block, alignment);
            EXPECT_ALIGNED(block, 16);
            test_fill(block, size, size);
            EXPECT_FILLED(block, size, size);
            lr_cxx_delete_aligned_sized(block, size, alignment);
        }
    }
    lr_cxx_delete_aligned_sized(NULL, 100, 64);
    const struct mallinfo2 after = larder_mallinfo2();
    EXPECT_UINT(after.uordblks + after.hblkhd, ==, before.uordblks + before.hblkhd);
}
END_TEST

static const size_t alignments[] = {0, 8, 64, 8192};

START_TEST(test_cxx__throws_without_a_handler) {
    const size_t alignment = alignments[_i];
    int thrown;
    install(NULL);
    EXPECT_PTR(attempt(test_opaque(SIZE_MAX), alignment, &thrown), ==, NULL);
    EXPECT_INT(thrown, ==, THROWN_BAD_ALLOC);
    EXPECT_PTR(attempt(test_opaque((size_t)PTRDIFF_MAX + 1), alignment, &thrown), ==, NULL);
    EXPECT_INT(thrown, ==, THROWN_BAD_ALLOC);
}
END_TEST

START_TEST(test_cxx__asks_the_handler_until_it_gives_up) {
    int thrown;
    install(give_up_at_third_call);
    EXPECT_PTR(attempt(test_opaque(SIZE_MAX), alignments[_i], &thrown), ==, NULL);
    EXPECT_INT(thrown, ==, THROWN_BAD_ALLOC);
    EXPECT_UINT(calls, ==, 3);
}
END_TEST

START_TEST(test_cxx__the_handler_may_throw) {
    int thrown;
    install(throw_at_second_call);
    EXPECT_PTR(attempt(test_opaque(SIZE_MAX), alignments[_i], &thrown), ==, NULL);
    EXPECT_INT(thrown, ==, THROWN_BY_HANDLER);
    EXPECT_UINT(calls, ==, 2);
}
END_TEST

START_TEST(test_cxx__the_handler_may_help) {
    int thrown;
    install(lift_the_limit);
    EXPECT_INT(larder_option_set("heap_limit", 64 * mib), ==, 0);
    void *const block = attempt(128 * mib, alignments[_i], &thrown);
    EXPECT_INT(thrown, ==, 0);
    EXPECT(block != NULL);
    EXPECT_UINT(calls, ==, 1);
    larder_free(block);
}
END_TEST

START_TEST(test_cxx__no_handler_is_asked_for_an_alignment_that_does_not_exist) {
    int thrown;
    install(give_up_at_third_call);
    EXPECT_PTR(attempt(64, 48, &thrown), ==, NULL);
    EXPECT_INT(thrown, ==, THROWN_BAD_ALLOC);
    EXPECT_UINT(calls, ==, 0);
}
END_TEST

// Runs the test once for each of `alignments`.
static void add_for_each_alignment(Suite *suite, const TTest *test) {
    TCase *tcase = tcase_create(test->name);
    tcase_add_loop_test(tcase, test, 0, sizeof alignments / sizeof alignments[0]);
    suite_add_tcase(suite, tcase);
}

Suite *lr_suite(void) {
    Suite *suite = suite_create("cxx");
    test_add(suite, test_cxx__new_is_malloc);
    test_add(suite, test_cxx__aligned_pair);
    add_for_each_alignment(suite, test_cxx__throws_without_a_handler);
    add_for_each_alignment(suite, test_cxx__asks_the_handler_until_it_gives_up);
    add_for_each_alignment(suite, test_cxx__the_handler_may_throw);
    add_for_each_alignment(suite, test_cxx__the_handler_may_help);
    test_add(suite, test_cxx__no_handler_is_asked_for_an_alignment_that_does_not_exist);
    return suite;
}
