// SPDX-License-Identifier: Apache-2.0
//
// The C++ runtime of a process is found wherever it is, and a process without one ends with a line
// that says so. This program has none until a test loads it.
#define _GNU_SOURCE 1

#include "api/cxx_runtime.h"

#include <dlfcn.h>
#include <larder/larder.h>
#include <signal.h>
#include <string.h>

#include "../../support/child.h"
#include "../../support/support.h"
#include "api/cxx.h"

typedef void new_handler(void);

static const char nothrow_symbol[] = "_ZnwmRKSt9nothrow_t";

// Sanitizers bring operators of their own, some builds of them a whole C++ runtime.
static bool runtime_is_here_already(void) {
    return dlsym(RTLD_DEFAULT, "_ZSt15get_new_handlerv") != NULL ||
           dlsym(RTLD_NEXT, nothrow_symbol) != NULL;
}

static const char *const libraries[] = {"libstdc++.so.6", "libc++abi.so.1"};

static unsigned handler_calls;
static void counting_handler(void) { handler_calls++; }

static void find_in_library(const char *library, int scope) {
    void *const handle = dlopen(library, RTLD_NOW | scope);
    if (handle == NULL)
        TEST_SKIP("the library is not installed");
    new_handler *(*const set)(new_handler *) =
        (new_handler * (*)(new_handler *)) dlsym(handle, "_ZSt15set_new_handlerPFvvE");
    EXPECT(set != NULL);

    EXPECT(!lr_cxx_has_new_handler());
    EXPECT(!lr_cxx_run_new_handler());
    set(counting_handler);
    EXPECT(lr_cxx_has_new_handler());
    EXPECT(lr_cxx_run_new_handler());
    EXPECT_UINT(handler_calls, ==, 1);
    set(NULL);
    EXPECT(!lr_cxx_has_new_handler());

    void *const found = lr_cxx_next(nothrow_symbol);
    Dl_info where;
    EXPECT(found != NULL && dladdr(found, &where) != 0);
    EXPECT(strstr(where.dli_fname, library) != NULL);
    EXPECT_PTR(lr_cxx_next("larder_no_such_function"), ==, NULL);
}

START_TEST(test_cxx_runtime__found_in_the_global_scope) {
    if (runtime_is_here_already())
        TEST_SKIP("this build has a C++ runtime");
    find_in_library(libraries[_i], RTLD_GLOBAL);
}
END_TEST

START_TEST(test_cxx_runtime__found_when_loaded_locally) {
    if (runtime_is_here_already())
        TEST_SKIP("this build has a C++ runtime");
    find_in_library(libraries[_i], RTLD_LOCAL);
}
END_TEST

START_TEST(test_cxx_runtime__nothing_is_found_without_one) {
    if (runtime_is_here_already())
        TEST_SKIP("this build has a C++ runtime");
    EXPECT(!lr_cxx_has_new_handler());
    EXPECT(!lr_cxx_run_new_handler());
    EXPECT_PTR(lr_cxx_next(nothrow_symbol), ==, NULL);
}
END_TEST

static void request_the_impossible(void *unused) {
    (void)unused;
    lr_cxx_new(test_opaque(SIZE_MAX));
}

START_TEST(test_cxx_runtime__abort_without_one_says_why) {
    if (runtime_is_here_already())
        TEST_SKIP("this build has a C++ runtime");
    struct test_child child;
    test_child_run(&child, 20, request_the_impossible, NULL);
    EXPECT_CHILD_SIGNAL(&child, SIGABRT);
    EXPECT(strcmp(child.err, "larder: operator new of 18446744073709551615 bytes failed in a "
                             "program without a C++ runtime that could throw std::bad_alloc; "
                             "aborted\n") == 0);
}
END_TEST

START_TEST(test_cxx_runtime__nothrow_new_is_null_without_one) {
    if (runtime_is_here_already())
        TEST_SKIP("this build has a C++ runtime");
    EXPECT_PTR(lr_cxx_new_nothrow(test_opaque(SIZE_MAX), NULL), ==, NULL);
    EXPECT_PTR(lr_cxx_new_aligned_nothrow(test_opaque(SIZE_MAX), 64, NULL), ==, NULL);
    EXPECT_PTR(lr_cxx_new_aligned_nothrow(64, 48, NULL), ==, NULL);
}
END_TEST

START_TEST(test_cxx_runtime__nothrow_new_is_malloc) {
    for (size_t size = 0; size < 1000000; size += 1 + size / 3) {
        void *const block = lr_cxx_new_nothrow(size, NULL);
        EXPECT(block != NULL);
        EXPECT_UINT(larder_malloc_usable_size(block), ==, larder_good_size(size, 0));
        void *const aligned = lr_cxx_new_aligned_nothrow(size, 256, NULL);
        EXPECT(aligned != NULL);
        EXPECT_ALIGNED(aligned, 256);
        EXPECT_UINT(larder_malloc_usable_size(aligned), ==, larder_good_size(size, 256));
        larder_free(block);
        larder_free(aligned);
    }
}
END_TEST

// Runs the test once for each of `libraries`, each in a process of its own.
static void add_for_each_library(Suite *suite, const TTest *test) {
    TCase *tcase = tcase_create(test->name);
    tcase_add_loop_test(tcase, test, 0, sizeof libraries / sizeof libraries[0]);
    suite_add_tcase(suite, tcase);
}

Suite *lr_suite(void) {
    Suite *suite = suite_create("cxx_runtime");
    add_for_each_library(suite, test_cxx_runtime__found_in_the_global_scope);
    add_for_each_library(suite, test_cxx_runtime__found_when_loaded_locally);
    test_add(suite, test_cxx_runtime__nothing_is_found_without_one);
    test_add(suite, test_cxx_runtime__abort_without_one_says_why);
    test_add(suite, test_cxx_runtime__nothrow_new_is_null_without_one);
    test_add(suite, test_cxx_runtime__nothrow_new_is_malloc);
    return suite;
}
