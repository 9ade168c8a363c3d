// SPDX-License-Identifier: Apache-2.0
//
// The look for misuse at exit: it waits for the scavenger, which holds locks while the kernel takes
// pages, and not for a lock that stays held.
#include <larder/larder.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../support/child.h"
#include "../support/support.h"
#include "heap/release.h"
#include "sync/lock.h"

static atomic_u32 is_held;

// For as many milliseconds as *arg says, as a thread that is inside a long system call.
static void *hold_lock(void *arg) {
    lr_lock(&lr_release_lock);
    lr_store_release(&is_held, 1);
    test_sleep_ms(*(const unsigned *)arg);
    lr_unlock(&lr_release_lock);
    return NULL;
}

static bool lock_is_held(void *arg) {
    (void)arg;
    return lr_load_acquire(&is_held) != 0;
}

static void free_twice_and_exit(void *arg) {
    pthread_t thread;
    EXPECT_INT(pthread_create(&thread, NULL, hold_lock, arg), ==, 0);
    EXPECT(test_wait_until(lock_is_held, NULL, 10000));
    void *block = larder_malloc(100);
    larder_free(block);
    __asm__ volatile("" : "+r"(block));
    larder_free(block);
    exit(3);
}

START_TEST(test_exit_check__waits_for_a_lock) {
    unsigned ms = 20;
    struct test_child child;
    test_child_run(&child, 20, free_twice_and_exit, &ms);
    EXPECT_CHILD_SIGNAL(&child, SIGABRT);
    EXPECT(strstr(child.err, "invalid free of") != NULL);
}
END_TEST

START_TEST(test_exit_check__does_not_wait_for_ever) {
    unsigned ms = 600000;
    struct test_child child;
    test_child_run(&child, 20, free_twice_and_exit, &ms);
    EXPECT_CHILD_EXIT(&child, 3);
}
END_TEST

static void exit_with_the_lock(void *arg) {
    (void)arg;
    void *block = larder_malloc(100);
    larder_free(block);
    __asm__ volatile("" : "+r"(block));
    larder_free(block);
    lr_lock(&lr_release_lock);
    exit(3);
}

START_TEST(test_exit_check__of_who_holds_a_lock_is_left_out) {
    struct test_child child;
    test_child_run(&child, 20, exit_with_the_lock, NULL);
    EXPECT_CHILD_EXIT(&child, 3);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("exit_check");
    test_add(suite, test_exit_check__waits_for_a_lock);
    test_add(suite, test_exit_check__does_not_wait_for_ever);
    test_add(suite, test_exit_check__of_who_holds_a_lock_is_left_out);
    return suite;
}
