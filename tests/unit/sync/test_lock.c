// SPDX-License-Identifier: Apache-2.0
//
// The lock: mutual exclusion, sleeping and waking, counters, and what fork does with it. The order
// of locks is test_lock_rank.c's.
#include "sync/lock.h"

#include <pthread.h>
#include <stdatomic.h>

#include "../../support/crew.h"
#include "../../support/support.h"
#include "os/os.h"

enum { THREADS = 6, ROUNDS = 30000 };

static struct lr_lock lock = LR_LOCK_INIT(LR_RANK_POOL);

static uint32_t word(void) { return lr_load_relaxed(&lock.word); }

struct counters {
    uint64_t plain[4]; // several, so that a torn critical section shows
    atomic_uint inside;
};

static void count_up(struct test_worker *worker) {
    struct counters *const counters = worker->shared;
    struct test_rng rng = {worker->seed};
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (test_rng_below(&rng, 4) == 0) {
            while (!lr_trylock(&lock))
                continue;
        } else {
            lr_lock(&lock);
        }
        EXPECT_UINT(atomic_fetch_add(&counters->inside, 1), ==, 0);
        const uint64_t value = counters->plain[0];
        for (unsigned at = 0; at < 4; at++) {
            EXPECT_UINT(counters->plain[at], ==, value);
            counters->plain[at] = value + 1;
        }
        if (i % 1000 == 0)
            test_sleep_ms(1); // others go to sleep on the lock
        atomic_fetch_sub(&counters->inside, 1);
        lr_unlock(&lock);
    }
}

START_TEST(test_lock__excludes_and_counts) {
    static struct counters counters;
    test_crew_run(THREADS, count_up, &counters);
    EXPECT_UINT(counters.plain[0], ==, THREADS * ROUNDS);
    EXPECT_UINT(lr_load_relaxed(&lock.takes), ==, THREADS * ROUNDS);
    EXPECT_UINT(lr_load_relaxed(&lock.contended), >, 0);
    EXPECT_UINT(lr_load_relaxed(&lock.contended), <=, THREADS * ROUNDS);
    EXPECT_UINT(word(), ==, 0);
}
END_TEST

START_TEST(test_lock__alone_it_is_never_contended) {
    for (unsigned i = 1; i <= 100; i++) {
        lr_lock(&lock);
        EXPECT_UINT(word(), ==, 1);
        EXPECT(!lr_trylock(&lock));
        EXPECT_INT(lr_lock_any_held(), ==, LARDER_CHECKED);
        lr_unlock(&lock);
        EXPECT_UINT(word(), ==, 0);
        EXPECT(!lr_lock_any_held());
        EXPECT(lr_trylock(&lock));
        EXPECT_INT(lr_lock_any_held(), ==, LARDER_CHECKED);
        lr_unlock(&lock);
        EXPECT_UINT(lr_load_relaxed(&lock.takes), ==, 2 * i); // a refused try is no take
    }
    EXPECT_UINT(lr_load_relaxed(&lock.contended), ==, 0);
}
END_TEST

static atomic_uint entered;

static void *take_once(void *arg) {
    (void)arg;
    lr_lock(&lock);
    atomic_fetch_add(&entered, 1);
    lr_unlock(&lock);
    return NULL;
}

static bool somebody_sleeps(void *arg) {
    (void)arg;
    return word() == 2;
}

static bool all_entered(void *count) { return atomic_load(&entered) == *(unsigned *)count; }

START_TEST(test_lock__sleepers_are_woken_one_after_the_other) {
    unsigned count = 4;
    pthread_t threads[4];
    lr_lock(&lock);
    for (unsigned i = 0; i < count; i++)
        EXPECT_INT(pthread_create(&threads[i], NULL, take_once, NULL), ==, 0);
    EXPECT(test_wait_until(somebody_sleeps, NULL, 10000));
    test_sleep_ms(20); // the others too
    EXPECT_UINT(entered, ==, 0);
    lr_unlock(&lock);
    EXPECT(test_wait_until(all_entered, &count, 10000));
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    EXPECT_UINT(lr_load_relaxed(&lock.takes), ==, count + 1);
    EXPECT_UINT(lr_load_relaxed(&lock.contended), >=, 1);
    EXPECT_UINT(word(), ==, 0);
}
END_TEST

// While a thread forks it passes through the locks, which it holds; others do not.
START_TEST(test_lock__forking_thread_passes_through) {
    unsigned count = 1;
    pthread_t thread;
    lr_lock_for_fork(&lock);
    lr_lock_set_forking(true);
    EXPECT(lr_lock_is_forking_thread());
    lr_lock(&lock); // would wait for ever
    EXPECT_UINT(word(), ==, 1);
    EXPECT(lr_trylock(&lock));
    lr_unlock(&lock);
    lr_unlock(&lock);
    EXPECT_UINT(word(), ==, 1);
    EXPECT(!lr_lock_any_held());
    EXPECT_UINT(lr_load_relaxed(&lock.takes), ==, 0);

    EXPECT_INT(pthread_create(&thread, NULL, take_once, NULL), ==, 0);
    EXPECT(test_wait_until(somebody_sleeps, NULL, 10000));
    EXPECT_UINT(entered, ==, 0);
    lr_lock_set_forking(false);
    EXPECT(!lr_lock_is_forking_thread());
    lr_unlock_after_fork(&lock);
    EXPECT(test_wait_until(all_entered, &count, 10000));
    pthread_join(thread, NULL);
    EXPECT_UINT(lr_load_relaxed(&lock.takes), ==, 1);
}
END_TEST

static void *take_for_fork(void *arg) {
    (void)arg;
    lr_lock_for_fork(&lock);
    atomic_fetch_add(&entered, 1);
    lr_unlock_after_fork(&lock);
    return NULL;
}

START_TEST(test_lock__fork_waits_for_the_holder) {
    unsigned count = 1;
    pthread_t thread;
    lr_lock(&lock);
    EXPECT_INT(pthread_create(&thread, NULL, take_for_fork, NULL), ==, 0);
    EXPECT(test_wait_until(somebody_sleeps, NULL, 10000));
    EXPECT_UINT(entered, ==, 0);
    lr_unlock(&lock);
    EXPECT(test_wait_until(all_entered, &count, 10000));
    pthread_join(thread, NULL);
    EXPECT_UINT(word(), ==, 0);
}
END_TEST

START_TEST(test_lock__reset_frees_it_whatever_its_state) {
    for (uint32_t state = 0; state <= 2; state++) {
        lr_lock(&lock);
        lr_store_relaxed(&lock.word, state);
        lr_lock_reset_in_child(&lock);
        EXPECT_UINT(word(), ==, 0);
        EXPECT(!lr_lock_any_held());
        EXPECT(lr_trylock(&lock));
        lr_unlock(&lock);
    }
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("lock");
    test_add(suite, test_lock__excludes_and_counts);
    test_add(suite, test_lock__alone_it_is_never_contended);
    test_add(suite, test_lock__sleepers_are_woken_one_after_the_other);
    test_add(suite, test_lock__forking_thread_passes_through);
    test_add(suite, test_lock__fork_waits_for_the_holder);
    test_add(suite, test_lock__reset_frees_it_whatever_its_state);
    return suite;
}
