// SPDX-License-Identifier: Apache-2.0
//
// A thread with the smallest stack there is, some of which the program has used itself, may call
// what glibc's malloc lets it call.
#define _GNU_SOURCE 1

#include <larder/ctl.h>
#include <larder/larder.h>

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/child.h"
#include "../support/support.h"

static void use_blocks(void) {
    for (size_t bytes = 1; bytes < 3000000; bytes = bytes * 3 / 2 + 1) {
        char *block = larder_malloc(bytes);
        EXPECT(block != NULL);
        block[0] = block[bytes - 1] = 1;
        block = larder_realloc(block, bytes * 2);
        EXPECT(block != NULL);
        larder_free(block);
        char *const aligned = larder_memalign(64U << bytes % 9, bytes);
        EXPECT(aligned != NULL);
        aligned[bytes - 1] = 1;
        larder_free(aligned);
        larder_free(larder_calloc(1, bytes));
    }
    enum { LIVE = 200 };
    void *blocks[LIVE];
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < LIVE; i++)
            blocks[i] = larder_malloc(i * 13 + round);
        for (unsigned i = 0; i < LIVE; i++)
            larder_free(blocks[i]);
    }
}

static void *use_all(void *stream) {
    char frame[5000]; // of the program
    test_fill(frame, sizeof frame, 1);
    EXPECT_FILLED(frame, sizeof frame, 1);
    use_blocks();
    EXPECT(larder_mallinfo2().arena > 0);
    EXPECT_INT(larder_malloc_info(0, stream), ==, 0);
    (void)larder_malloc_trim(0);
    EXPECT_INT(larder_option_set("batch_max", 100), ==, 0);
    const pid_t child = fork();
    if (child == 0) {
        test_child_mark_current();
        use_blocks();
        _exit(0);
    }
    int status;
    EXPECT(child > 0 && waitpid(child, &status, 0) == child);
    EXPECT_INT(status, ==, 0);
    return NULL;
}

static void run_with_small_stack(void *option) {
    pthread_attr_t attributes;
    pthread_t thread;
    FILE *const null = fopen("/dev/null", "w");
    EXPECT(null != NULL);
    if (option != NULL)
        EXPECT_INT(larder_option_set(option, 5000), ==, 0);
    EXPECT_INT(pthread_attr_init(&attributes), ==, 0);
    EXPECT_INT(pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN), ==, 0);
    EXPECT_INT(pthread_create(&thread, &attributes, use_all, null), ==, 0);
    EXPECT_INT(pthread_join(thread, NULL), ==, 0);
    fclose(null);
}

static void expect_enough(const char *option) {
    if (TEST_UNDER_TSAN || TEST_UNDER_ASAN)
        TEST_SKIP("sanitizers need more stack");
#if !defined(__OPTIMIZE__)
    TEST_SKIP("code that is not optimised needs more stack");
#endif
    struct test_child child;
    test_child_run(&child, 60, run_with_small_stack, (void *)(size_t)option);
    EXPECT_CHILD_EXIT(&child, 0);
}

START_TEST(test_small_stack__as_it_is) { expect_enough(NULL); }
END_TEST
START_TEST(test_small_stack__with_guards) { expect_enough("guard_sample"); }
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("small_stack");
    test_add(suite, test_small_stack__as_it_is);
    test_add(suite, test_small_stack__with_guards);
    return suite;
}
