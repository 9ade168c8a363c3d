// SPDX-License-Identifier: Apache-2.0
//
// Caches of idle threads, emptied without their help. The tests play the scavenger, at times of
// their own; that its hand-over is right in every order is shown by tests/model/model_idle.c.
#include "cache/idle.h"

#include <larder/larder.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../support/child.h"
#include "../../support/crew.h"
#include "api/start.h"
#include "cache_test.h"

enum { IDLE_MS = 1000, BLOCKS = 300, BYTES = 200 };
static const uint64_t ms_ns = 1000000, start_ns = 5000000000;

// A thread that fills its cache and then does something else until it is told to go on.
struct sleeper {
    void (*wait)(struct sleeper *);
    pthread_t thread;
    int pipe[2];
    struct thread_cache *cache;
    atomic_uint id;
    atomic_bool go_on, done;
};

static void fill_cache(void) {
    void *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = larder_malloc(BYTES);
        EXPECT(blocks[i] != NULL);
        test_fill(blocks[i], BYTES, i);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        EXPECT_FILLED(blocks[i], BYTES, i);
        larder_free(blocks[i]);
    }
}

static void *live(void *arg) {
    struct sleeper *const sleeper = arg;
    fill_cache();
    sleeper->cache = lr_load_relaxed(&lr_thread_cache);
    EXPECT_UINT(lr_cache_bytes_racy(sleeper->cache), >, 0);
    atomic_store(&sleeper->id, lr_os_thread_id());
    sleeper->wait(sleeper);
    fill_cache(); // whatever was done meanwhile, it has a cache, and the same one
    EXPECT(lr_load_relaxed(&lr_thread_cache) == sleeper->cache);
    EXPECT_UINT(lr_cache_bytes_racy(sleeper->cache), >, 0);
    atomic_store(&sleeper->done, true);
    return NULL;
}

static void wait_blocked(struct sleeper *sleeper) {
    char c;
    EXPECT_INT(read(sleeper->pipe[0], &c, 1), ==, 1);
}

static void wait_running(struct sleeper *sleeper) {
    while (!atomic_load(&sleeper->go_on))
        continue;
}

// As inside a handler of SIGUSR2, whatever it interrupted.
static void wait_with_blocked_signal(struct sleeper *sleeper) {
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr2, NULL);
    wait_blocked(sleeper);
    pthread_sigmask(SIG_UNBLOCK, &usr2, NULL);
}

static bool is_ready(void *arg) {
    struct sleeper *const sleeper = arg;
    const uint32_t id = atomic_load(&sleeper->id);
    if (id == 0)
        return false;
    return sleeper->wait == wait_running ||
           lr_os_thread_activity(id, UINT64_MAX) == LR_OS_THREAD_BLOCKED;
}

static void begin(struct sleeper *sleeper, void (*wait)(struct sleeper *)) {
    *sleeper = (struct sleeper){.wait = wait};
    EXPECT(lr_start());
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_OFF), ==, 0);
    EXPECT_INT(lr_option_set("idle_thread_ms", IDLE_MS), ==, 0);
    EXPECT_INT(pipe(sleeper->pipe), ==, 0);
    EXPECT_INT(pthread_create(&sleeper->thread, NULL, live, sleeper), ==, 0);
    EXPECT(test_wait_until(is_ready, sleeper, 10000));
}

static void finish(struct sleeper *sleeper) {
    atomic_store(&sleeper->go_on, true);
    EXPECT_INT(write(sleeper->pipe[1], "", 1), ==, 1);
    pthread_join(sleeper->thread, NULL);
    EXPECT(sleeper->done);
}

static size_t held(const struct sleeper *sleeper) { return lr_cache_bytes_racy(sleeper->cache); }

// Looks often enough to empty whatever may be emptied.
static void drain_patiently(void) {
    for (uint64_t ms = 0; ms <= 5 * IDLE_MS; ms += IDLE_MS / 2)
        lr_idle_drain(start_ns + ms * ms_ns);
}

START_TEST(test_idle__cache_of_a_blocked_thread_is_emptied) {
    struct sleeper sleeper;
    begin(&sleeper, wait_blocked);
    const size_t bytes = held(&sleeper);
    EXPECT(lr_idle_drain(start_ns)); // the time begins
    EXPECT(lr_idle_drain(start_ns + IDLE_MS * ms_ns / 2));
    EXPECT_UINT(held(&sleeper), ==, bytes);
    EXPECT_UINT(lr_idle_counts().drains, ==, 0);
    lr_idle_drain(start_ns + IDLE_MS * ms_ns);
    EXPECT_UINT(held(&sleeper), ==, 0);
    EXPECT_UINT(lr_idle_counts().drains, ==, 1);
    EXPECT_UINT(lr_idle_counts().refusals, ==, 0);
    const unsigned c = lr_class_of(BYTES);
    EXPECT_UINT(lr_transfer_objects(c) + central_free_objects(c), >=, BLOCKS);
    EXPECT(!lr_idle_drain(start_ns + 2 * IDLE_MS * ms_ns)); // nothing is left to do
    EXPECT_UINT(lr_idle_counts().drains, ==, 1);
    finish(&sleeper);
}
END_TEST

static void wait_use_wait(struct sleeper *sleeper) {
    wait_blocked(sleeper);
    larder_free(larder_malloc(100 * BYTES)); // another bin is filled
    wait_blocked(sleeper);
}

START_TEST(test_idle__use_begins_the_time_anew) {
    struct sleeper sleeper;
    begin(&sleeper, wait_use_wait);
    const uint64_t calls = lr_load_relaxed(&sleeper.cache->slow_calls);
    lr_idle_drain(start_ns);
    EXPECT_INT(write(sleeper.pipe[1], "", 1), ==, 1);
    do // until it has used its cache and sleeps again
        test_sleep_ms(1);
    while (lr_load_relaxed(&sleeper.cache->slow_calls) == calls || !is_ready(&sleeper));
    EXPECT(lr_idle_drain(start_ns + IDLE_MS * ms_ns));
    EXPECT(lr_idle_drain(start_ns + 3 * IDLE_MS * ms_ns / 2));
    EXPECT_UINT(held(&sleeper), >, 0);
    lr_idle_drain(start_ns + 2 * IDLE_MS * ms_ns);
    EXPECT_UINT(held(&sleeper), ==, 0);
    finish(&sleeper);
}
END_TEST

static void expect_left_alone(void (*wait)(struct sleeper *)) {
    struct sleeper sleeper;
    begin(&sleeper, wait);
    const size_t bytes = held(&sleeper);
    drain_patiently();
    EXPECT_UINT(held(&sleeper), ==, bytes);
    EXPECT_UINT(lr_idle_counts().drains, ==, 0);
    EXPECT_UINT(lr_load_relaxed(&((struct thread_record *)(void *)sleeper.cache)->state), ==,
                THREAD_OWNED);
    finish(&sleeper);
}

START_TEST(test_idle__running_thread_is_left_alone) { expect_left_alone(wait_running); }
END_TEST

START_TEST(test_idle__thread_in_a_signal_handler_is_left_alone) {
    expect_left_alone(wait_with_blocked_signal);
}
END_TEST

START_TEST(test_idle__switched_off) {
    struct sleeper sleeper;
    begin(&sleeper, wait_blocked);
    EXPECT_INT(lr_option_set("idle_thread_ms", 0), ==, 0);
    const size_t bytes = held(&sleeper);
    drain_patiently();
    EXPECT_UINT(held(&sleeper), ==, bytes);
    finish(&sleeper);
}
END_TEST

static void *end_without_destructors(void *arg) {
    fill_cache();
    *(struct thread_cache **)arg = lr_load_relaxed(&lr_thread_cache);
    syscall(SYS_exit, 0);
    return NULL;
}

START_TEST(test_idle__cache_of_a_thread_that_vanished_is_adopted) {
    pthread_t thread;
    struct thread_cache *cache = NULL;
    if (TEST_UNDER_ASAN) {
        TEST_SKIP("AddressSanitizer does not know of the thread's end");
    }
    EXPECT(lr_start());
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_OFF), ==, 0);
    EXPECT_INT(lr_option_set("idle_thread_ms", IDLE_MS), ==, 0);
    EXPECT_INT(pthread_create(&thread, NULL, end_without_destructors, &cache), ==, 0);
    pthread_join(thread, NULL);
    const struct thread_record *const record = (struct thread_record *)(void *)cache;
    EXPECT_UINT(lr_load_relaxed(&record->state), ==, THREAD_OWNED);
    EXPECT_UINT(lr_cache_bytes_racy(cache), >, 0);
    drain_patiently();
    EXPECT_UINT(lr_cache_bytes_racy(cache), ==, 0);
    EXPECT_UINT(lr_load_relaxed(&record->state), ==, THREAD_FREE);
    struct sleeper sleeper; // gets the record
    begin(&sleeper, wait_blocked);
    EXPECT_PTR(sleeper.cache, ==, cache);
    finish(&sleeper);
}
END_TEST

static void drain_without_proc(void *arg) {
    struct sleeper running, blocked;
    (void)arg;
    begin(&running, wait_running);
    begin(&blocked, wait_blocked);
    char directory[] = "/tmp/larder-test-XXXXXX";
    EXPECT(mkdtemp(directory) != NULL);
    EXPECT_INT(chdir(directory), ==, 0);
    EXPECT_INT(rmdir(directory), ==, 0);
    if (chroot(".") != 0)
        _exit(TEST_CHILD_SKIP);
    const size_t bytes = held(&running);
    drain_patiently();
    EXPECT_UINT(held(&running), ==, bytes);
    EXPECT_UINT(held(&blocked), >, 0);
    EXPECT_UINT(lr_idle_counts().drains, ==, 0);
    EXPECT(!lr_idle_drain(start_ns)); // nor will anything be: the scavenger may sleep
    finish(&running);
    finish(&blocked);
}

START_TEST(test_idle__without_proc_nothing_is_touched) {
    struct test_child child;
    test_child_run(&child, 30, drain_without_proc, NULL);
    if (test_child_skipped(&child)) {
        TEST_SKIP("not allowed to chroot");
    }
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

static bool is_empty(void *arg) { return held(arg) == 0; }

// With the real scavenger, at its own pace.
START_TEST(test_idle__scavenger_does_it_in_time) {
    struct sleeper sleeper;
    begin(&sleeper, wait_blocked);
    EXPECT_INT(lr_option_set("idle_thread_ms", 300), ==, 0);
    EXPECT_INT(lr_option_set("scavenge_start", 0), ==, 0);
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_THREAD), ==, 0);
    const uint64_t start = test_now_ms();
    larder_free(larder_malloc(LR_MIB));
    EXPECT(test_wait_until(is_empty, &sleeper, 300 + 3000));
    EXPECT_UINT(test_now_ms() - start, >=, 300);
    finish(&sleeper);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("idle");
    const bool can_drain =
        lr_os_membarrier_register() && access("/proc/thread-self/syscall", R_OK) == 0;
    if (!can_drain) {
        test_add(suite, test_idle__switched_off);
        return suite;
    }
    test_add(suite, test_idle__cache_of_a_blocked_thread_is_emptied);
    test_add(suite, test_idle__use_begins_the_time_anew);
    test_add(suite, test_idle__running_thread_is_left_alone);
    test_add(suite, test_idle__thread_in_a_signal_handler_is_left_alone);
    test_add(suite, test_idle__switched_off);
    test_add(suite, test_idle__cache_of_a_thread_that_vanished_is_adopted);
    test_add(suite, test_idle__without_proc_nothing_is_touched);
    test_add(suite, test_idle__scavenger_does_it_in_time);
    return suite;
}
