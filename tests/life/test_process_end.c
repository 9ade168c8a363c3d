// SPDX-License-Identifier: Apache-2.0
//
// The process ends when the program does: exit() among allocating threads, pthread_exit() from
// main, and never does the background thread keep it alive.
#define _GNU_SOURCE 1

#include <larder/ctl.h>
#include <larder/larder.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/child.h"
#include "../support/crew.h"
#include "../support/support.h"

static const size_t mib = 1024 * 1024;

static void allocate_for_ever(struct test_worker *worker) {
    enum { LIVE = 100 };
    void *blocks[LIVE] = {NULL};
    struct test_rng rng = {worker->seed};
    for (;;) {
        const unsigned i = (unsigned)test_rng_below(&rng, LIVE);
        larder_free(blocks[i]);
        blocks[i] = larder_malloc(test_rng_size(&rng, 300000));
    }
}

static void exit_among_threads(void *arg) {
    static struct test_crew crew;
    test_crew_start(&crew, 4, allocate_for_ever, NULL);
    void *blocks[100];
    for (unsigned i = 0; i < 100; i++)
        blocks[i] = larder_malloc(i * 100);
    for (unsigned i = 0; i < 100; i++)
        larder_free(blocks[i]);
    exit(*(const int *)arg);
}

START_TEST(test_process_end__exit_among_allocating_threads) {
    for (int i = 0; i < (TEST_UNDER_TSAN ? 5 : 40); i++) {
        int code = i % 3 * 20;
        struct test_child child;
        test_child_run(&child, 20, exit_among_threads, &code);
        EXPECT_CHILD_EXIT(&child, code);
    }
}
END_TEST

static void exit_with_statistics(void *arg) {
    EXPECT_INT(larder_option_set("stats", 1), ==, 0);
    exit_among_threads(arg);
}

START_TEST(test_process_end__statistics_among_allocating_threads) {
    for (int i = 0; i < 10; i++) {
        int code = 0;
        struct test_child child;
        test_child_run(&child, 20, exit_with_statistics, &code);
        EXPECT_CHILD_EXIT(&child, 0);
        EXPECT(strlen(child.err) > 100);
    }
}
END_TEST

static bool has_background_thread(void *arg) {
    enum { COUNT = 64 };
    char *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = larder_malloc(mib);
        EXPECT(blocks[i] != NULL);
        test_fill(blocks[i], mib, i);
    }
    for (unsigned i = 0; i < COUNT; i++)
        larder_free(blocks[i]);
    return test_thread_count() > *(const unsigned *)arg;
}

static void *work_and_return(void *arg) {
    for (unsigned i = 0; i < 200; i++) {
        larder_free(larder_malloc(i * 1000));
        test_sleep_ms(1);
    }
    return arg;
}

// What the handlers of exit() end the process with. Registered late, so that it comes before the
// leak check of a sanitizer, which would miss what the ended main thread pointed to.
enum { EXIT_HANDLERS_RAN = 42 };
static void end_in_handler(void) { _exit(EXIT_HANDLERS_RAN); }

// Nobody calls exit(): the last user thread returns from its function, which must end the process.
static void leave_main_by_pthread_exit(void *arg) {
    (void)arg;
    EXPECT_INT(atexit(end_in_handler), ==, 0);
    unsigned threads = test_thread_count();
    EXPECT(test_wait_until(has_background_thread, &threads, 10000));
    pthread_t thread;
    EXPECT_INT(pthread_create(&thread, NULL, work_and_return, NULL), ==, 0);
    EXPECT_INT(pthread_detach(thread), ==, 0);
    pthread_exit(NULL);
}

START_TEST(test_process_end__pthread_exit_from_main) {
    struct test_child child;
    test_child_run(&child, 30, leave_main_by_pthread_exit, NULL);
    EXPECT_CHILD_EXIT(&child, EXIT_HANDLERS_RAN);
}
END_TEST

static void leave_main_alone(void *arg) {
    (void)arg;
    EXPECT_INT(atexit(end_in_handler), ==, 0);
    unsigned threads = test_thread_count();
    EXPECT(test_wait_until(has_background_thread, &threads, 10000));
    pthread_exit(NULL);
}

START_TEST(test_process_end__pthread_exit_of_the_only_thread) {
    struct test_child child;
    test_child_run(&child, 30, leave_main_alone, NULL);
    EXPECT_CHILD_EXIT(&child, EXIT_HANDLERS_RAN);
}
END_TEST

static void be_terminated(void *arg) {
    (void)arg;
    static struct test_crew crew;
    test_crew_start(&crew, 4, allocate_for_ever, NULL);
    kill(getpid(), SIGTERM);
    for (;;)
        pause();
}

START_TEST(test_process_end__sigterm_ends_it) {
    struct test_child child;
    test_child_run(&child, 20, be_terminated, NULL);
    EXPECT_CHILD_SIGNAL(&child, SIGTERM);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("process_end");
    test_add(suite, test_process_end__exit_among_allocating_threads);
    test_add(suite, test_process_end__statistics_among_allocating_threads);
    if (!TEST_UNDER_TSAN) { // whose own thread keeps the process alive, without Larder too
        test_add(suite, test_process_end__pthread_exit_from_main);
        test_add(suite, test_process_end__pthread_exit_of_the_only_thread);
    }
    test_add(suite, test_process_end__sigterm_ends_it);
    return suite;
}
