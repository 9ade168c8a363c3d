// SPDX-License-Identifier: Apache-2.0
//
// Records of threads: birth, use by one thread after the other, death, and their end.
#include "cache/thread_state.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../support/child.h"
#include "cache_test.h"
#include "heap/meta.h"

static const uint64_t second_ns = 1000000000;

static unsigned count_records(enum thread_record_state state) {
    unsigned count = 0;
    lr_rcu_read_lock();
    for (struct lr_rcu_node *node = lr_rcu_list_next(&lr_thread_registry);
         node != &lr_thread_registry; node = lr_rcu_list_next(node))
        count += lr_load_acquire(&lr_thread_record_of(node)->state) == state;
    lr_rcu_read_unlock();
    return count;
}

static struct thread_record *record_of(struct thread_cache *cache) {
    return (struct thread_record *)(void *)cache;
}

// Fills the cache with some blocks of the class, as a slow path does.
static void fill_cache(struct thread_cache *cache, unsigned size_class) {
    void *blocks[200];
    for (unsigned i = 0; i < 200; i++)
        if (!lr_bin_pop(&cache->bins[size_class], &blocks[i]))
            blocks[i] = lr_cache_refill(cache, size_class);
    for (unsigned i = 0; i < 200; i++)
        if (!lr_bin_push(&cache->bins[size_class], blocks[i]))
            lr_cache_overflow(cache, size_class, blocks[i]);
    EXPECT_UINT(lr_cache_objects_racy(cache, size_class), >=, 100);
}

enum { CLASS = 5, THREADS = 8 };

struct life {
    pthread_barrier_t all_born, may_die;
    struct thread_cache *caches[THREADS];
    atomic_uint next;
};

static void *live(void *arg) {
    struct life *const life = arg;
    struct thread_cache *const cache = lr_thread_cache_acquire();
    EXPECT(cache != NULL);
    EXPECT(lr_load_relaxed(&lr_thread_cache) == cache);
    EXPECT_PTR(lr_thread_cache_acquire(), ==, cache);
    const struct thread_record *const record = record_of(cache);
    EXPECT_UINT(lr_load_relaxed(&record->state), ==, THREAD_OWNED);
    EXPECT_UINT(lr_load_relaxed(&record->thread_id), ==, lr_os_thread_id());
    EXPECT_UINT(lr_load_relaxed(&record->signal_mask), ==, lr_os_signal_mask());
    EXPECT_UINT(lr_load_relaxed(&record->generation), ==, lr_thread_generation());
    EXPECT(record->slot == &lr_thread_cache);
    EXPECT_UINT(lr_cache_bytes_racy(cache), ==, 0);
    life->caches[atomic_fetch_add(&life->next, 1)] = cache;
    fill_cache(cache, CLASS);
    pthread_barrier_wait(&life->all_born);
    pthread_barrier_wait(&life->may_die);
    return NULL;
}

// `count` threads that live at the same time.
static void run_generation(struct life *life, unsigned count) {
    pthread_t threads[THREADS];
    life->next = 0;
    EXPECT_INT(pthread_barrier_init(&life->all_born, NULL, count + 1), ==, 0);
    EXPECT_INT(pthread_barrier_init(&life->may_die, NULL, count + 1), ==, 0);
    for (unsigned i = 0; i < count; i++)
        EXPECT_INT(pthread_create(&threads[i], NULL, live, life), ==, 0);
    pthread_barrier_wait(&life->all_born);
    EXPECT_UINT(count_records(THREAD_OWNED), ==, count);
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < i; j++)
            EXPECT(life->caches[i] != life->caches[j]);
    pthread_barrier_wait(&life->may_die);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    EXPECT_UINT(count_records(THREAD_OWNED), ==, 0);
    pthread_barrier_destroy(&life->all_born);
    pthread_barrier_destroy(&life->may_die);
}

START_TEST(test_thread_state__every_thread_has_a_cache_of_its_own) {
    static struct life life;
    start_tiers(LR_GIB);
    EXPECT_UINT(count_records(THREAD_OWNED), ==, 0);
    run_generation(&life, THREADS);
    EXPECT_UINT(count_records(THREAD_FREE), ==, THREADS);
    expect_all_returned(); // an ending thread gives its blocks back
}
END_TEST

START_TEST(test_thread_state__records_are_used_again) {
    static struct life life, later;
    start_tiers(LR_GIB);
    run_generation(&life, THREADS);
    const size_t metadata = lr_meta_used_bytes();
    for (unsigned count = 1; count <= THREADS; count++) {
        run_generation(&later, count);
        EXPECT_UINT(count_records(THREAD_FREE), ==, THREADS);
        for (unsigned i = 0; i < count; i++) {
            bool known = false;
            for (unsigned j = 0; j < THREADS; j++)
                known |= later.caches[i] == life.caches[j];
            EXPECT(known);
        }
    }
    // How far a bin grows depends on what other threads left for its refills: once more at most.
    const size_t bins = THREADS * 512 * sizeof(void *);
    EXPECT_UINT(lr_meta_used_bytes(), <, metadata + bins + sizeof(struct thread_record));
}
END_TEST

static void *find_stacks(void *arg) {
    const struct thread_cache *const cache = lr_thread_cache_acquire();
    *(ptrdiff_t *)arg = cache->bins[CLASS].limit - cache->bins[CLASS].base;
    return NULL;
}

// Bins keep their size, so that a thread a request does not begin with nothing.
START_TEST(test_thread_state__the_next_thread_finds_stacks_of_a_useful_size) {
    static struct life life;
    pthread_t thread;
    ptrdiff_t slots = 0;
    start_tiers(LR_GIB);
    run_generation(&life, 1);
    EXPECT_INT(pthread_create(&thread, NULL, find_stacks, &slots), ==, 0);
    pthread_join(thread, NULL);
    EXPECT_INT(slots, >=, 100);
}
END_TEST

// ---- The end of a thread, seen from another key's destructor, which runs after ours ----

static pthread_key_t other_key;
static unsigned rounds, rounds_with_cache, rounds_without;

static void look_in_destructor(void *value) {
    struct thread_cache *const cache = lr_thread_cache_acquire();
    if (cache != NULL)
        fill_cache(cache, CLASS);
    else
        EXPECT(lr_load_relaxed(&lr_thread_cache) == &lr_empty_cache);
    EXPECT(cache == NULL || rounds_without == 0); // a dead thread does not get another one
    rounds_with_cache += cache != NULL;
    rounds_without += cache == NULL;
    if (++rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
        pthread_setspecific(other_key, value);
}

static void *end_with_destructor(void *arg) {
    EXPECT(lr_thread_cache_acquire() != NULL);
    EXPECT_INT(pthread_setspecific(other_key, arg), ==, 0);
    return NULL;
}

START_TEST(test_thread_state__destructors_find_a_cache_at_first) {
    pthread_t thread;
    if (TEST_UNDER_TSAN) {
        TEST_SKIP("under ThreadSanitizer a cache ends in the first round");
    }
    start_tiers(LR_GIB);
    EXPECT_INT(pthread_key_create(&other_key, look_in_destructor), ==, 0);
    EXPECT_INT(pthread_create(&thread, NULL, end_with_destructor, &other_key), ==, 0);
    pthread_join(thread, NULL);
    EXPECT_UINT(rounds, ==, PTHREAD_DESTRUCTOR_ITERATIONS);
    EXPECT_UINT(rounds_with_cache, >=, 1);
    EXPECT_UINT(rounds_without, >=, 1);
    EXPECT_UINT(count_records(THREAD_FREE), ==, 1);
    EXPECT_UINT(count_records(THREAD_OWNED), ==, 0);
    expect_all_returned();
}
END_TEST

// ---- What a thread does while its cache is taken, by this thread here ----

static struct thread_record *take_cache(struct thread_cache *cache) {
    struct thread_record *const record = record_of(cache);
    uint32_t owned = THREAD_OWNED;
    EXPECT(lr_cas_acq_rel(&record->state, &owned, THREAD_TAKEN));
    lr_store_relaxed(record->slot, &lr_empty_cache);
    return record;
}

static void return_cache(struct thread_record *record) {
    lr_store_release(&record->state, THREAD_OWNED);
    lr_os_futex_wake(&record->state, 1);
}

START_TEST(test_thread_state__works_without_a_cache_while_it_is_taken) {
    start_tiers(LR_GIB);
    struct thread_cache *const cache = lr_thread_cache_acquire();
    fill_cache(cache, CLASS);
    struct thread_record *const record = take_cache(cache);
    for (unsigned i = 0; i < 10; i++) {
        EXPECT_PTR(lr_thread_cache_acquire(), ==, NULL);
        EXPECT(lr_load_relaxed(&lr_thread_cache) == &lr_empty_cache);
        EXPECT_UINT(lr_load_relaxed(&cache->busy), ==, 0);
    }
    return_cache(record);
    EXPECT_PTR(lr_thread_cache_acquire(), ==, cache);
    EXPECT(lr_load_relaxed(&lr_thread_cache) == cache);
}
END_TEST

START_TEST(test_thread_state__does_not_end_while_its_cache_is_taken) {
    static struct life life;
    pthread_t thread;
    start_tiers(LR_GIB);
    EXPECT_INT(pthread_barrier_init(&life.all_born, NULL, 2), ==, 0);
    EXPECT_INT(pthread_barrier_init(&life.may_die, NULL, 2), ==, 0);
    EXPECT_INT(pthread_create(&thread, NULL, live, &life), ==, 0);
    pthread_barrier_wait(&life.all_born);
    struct thread_cache *const cache = life.caches[0];
    struct thread_record *const record = take_cache(cache);
    const size_t bytes = lr_cache_bytes_racy(cache);
    pthread_barrier_wait(&life.may_die);
    test_sleep_ms(100);
    EXPECT_UINT(lr_load_relaxed(&record->state), ==, THREAD_TAKEN);
    EXPECT_UINT(lr_cache_bytes_racy(cache), ==, bytes); // it keeps off the bins
    EXPECT(pthread_tryjoin_np(thread, NULL) != 0);
    return_cache(record);
    pthread_join(thread, NULL);
    EXPECT_UINT(lr_load_relaxed(&record->state), ==, THREAD_FREE);
    expect_all_returned();
}
END_TEST

// ---- Reclaim, at times of the test's own ----

START_TEST(test_thread_state__free_records_go_after_two_seconds) {
    static struct life life;
    start_tiers(LR_GIB);
    EXPECT(!lr_thread_state_reclaim(5 * second_ns)); // there is none
    run_generation(&life, 3);
    EXPECT(lr_thread_state_reclaim(10 * second_ns)); // time begins at the first look
    EXPECT(lr_thread_state_reclaim(12 * second_ns - 1));
    EXPECT_UINT(count_records(THREAD_FREE), ==, 3);
    EXPECT(!lr_thread_state_reclaim(12 * second_ns));
    EXPECT_UINT(count_records(THREAD_FREE), ==, 0);
    // Their memory serves the next records and stacks.
    const size_t metadata = lr_meta_used_bytes();
    run_generation(&life, 3);
    // How far a bin grows depends on what other threads left for its refills: once more at most.
    const size_t bins = THREADS * 512 * sizeof(void *);
    EXPECT_UINT(lr_meta_used_bytes(), <, metadata + bins + sizeof(struct thread_record));
}
END_TEST

START_TEST(test_thread_state__records_in_use_stay) {
    static struct life life;
    start_tiers(LR_GIB);
    run_generation(&life, 3);
    struct thread_cache *const mine = lr_thread_cache_acquire(); // takes one of them
    EXPECT(lr_thread_state_reclaim(10 * second_ns));
    EXPECT(!lr_thread_state_reclaim(20 * second_ns));
    EXPECT_UINT(count_records(THREAD_FREE), ==, 0);
    EXPECT_UINT(count_records(THREAD_OWNED), ==, 1);
    EXPECT_PTR(lr_thread_cache_acquire(), ==, mine);
}
END_TEST

// A record that was used in between begins to wait anew.
START_TEST(test_thread_state__use_begins_the_time_anew) {
    static struct life life;
    start_tiers(LR_GIB);
    run_generation(&life, 1);
    EXPECT(lr_thread_state_reclaim(10 * second_ns));
    run_generation(&life, 1);
    EXPECT(lr_thread_state_reclaim(13 * second_ns));
    EXPECT(lr_thread_state_reclaim(14 * second_ns));
    EXPECT(!lr_thread_state_reclaim(15 * second_ns));
}
END_TEST

START_TEST(test_thread_state__work_of_ended_threads_is_not_forgotten) {
    static struct life life;
    start_tiers(LR_GIB);
    EXPECT_UINT(lr_thread_ended_counts().refills, ==, 0);
    run_generation(&life, 2);
    const uint64_t refills =
        lr_load_relaxed(&life.caches[0]->refills) + lr_load_relaxed(&life.caches[1]->refills);
    const uint64_t flushes =
        lr_load_relaxed(&life.caches[0]->flushes) + lr_load_relaxed(&life.caches[1]->flushes);
    EXPECT_UINT(refills, >, 0);
    lr_thread_state_reclaim(10 * second_ns);
    EXPECT_UINT(lr_thread_ended_counts().refills, ==, 0); // still in their records
    lr_thread_state_reclaim(12 * second_ns);
    EXPECT_UINT(lr_thread_ended_counts().refills, ==, refills);
    EXPECT_UINT(lr_thread_ended_counts().flushes, ==, flushes);
}
END_TEST

// ---- Fork ----

static void expect_child_state(struct thread_cache *mine, unsigned parents) {
    const uint32_t generation = lr_thread_generation();
    EXPECT(!lr_thread_state_is_ours()); // as in a child that ran no handlers
    lr_thread_state_after_fork_child();
    EXPECT(lr_thread_state_is_ours());
    EXPECT_UINT(lr_thread_generation(), ==, generation + 1);
    unsigned of_this_process = 0;
    for (struct lr_rcu_node *node = lr_rcu_list_next(&lr_thread_registry);
         node != &lr_thread_registry; node = lr_rcu_list_next(node)) {
        const struct thread_record *const record = lr_thread_record_of(node);
        of_this_process += lr_load_relaxed(&record->state) == THREAD_OWNED &&
                           lr_load_relaxed(&record->generation) == generation + 1;
    }
    EXPECT_UINT(of_this_process, ==, 1);
    EXPECT_UINT(count_records(THREAD_OWNED), ==, parents);
    EXPECT_PTR(lr_thread_cache_acquire(), ==, mine);
    EXPECT_UINT(lr_load_relaxed(&record_of(mine)->thread_id), ==, lr_os_thread_id());
    fill_cache(mine, CLASS);
}

START_TEST(test_thread_state__child_keeps_the_forking_threads_cache) {
    static struct life life;
    pthread_t thread;
    start_tiers(LR_GIB);
    EXPECT(lr_thread_state_is_ours());
    struct thread_cache *const mine = lr_thread_cache_acquire();
    fill_cache(mine, CLASS);
    EXPECT_INT(pthread_barrier_init(&life.all_born, NULL, 2), ==, 0);
    EXPECT_INT(pthread_barrier_init(&life.may_die, NULL, 2), ==, 0);
    EXPECT_INT(pthread_create(&thread, NULL, live, &life), ==, 0);
    pthread_barrier_wait(&life.all_born);
    const pid_t pid = fork();
    EXPECT_INT(pid, >=, 0);
    if (pid == 0) {
        test_child_mark_current();
        expect_child_state(mine, 2);
        _exit(0);
    }
    int status = 1;
    EXPECT_INT(waitpid(pid, &status, 0), ==, pid);
    EXPECT_INT(status, ==, 0);
    pthread_barrier_wait(&life.may_die);
    pthread_join(thread, NULL);
    EXPECT(lr_thread_state_is_ours());
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("thread_state");
    test_add(suite, test_thread_state__every_thread_has_a_cache_of_its_own);
    test_add(suite, test_thread_state__records_are_used_again);
    test_add(suite, test_thread_state__the_next_thread_finds_stacks_of_a_useful_size);
    test_add(suite, test_thread_state__destructors_find_a_cache_at_first);
    test_add(suite, test_thread_state__works_without_a_cache_while_it_is_taken);
    test_add(suite, test_thread_state__does_not_end_while_its_cache_is_taken);
    test_add(suite, test_thread_state__free_records_go_after_two_seconds);
    test_add(suite, test_thread_state__records_in_use_stay);
    test_add(suite, test_thread_state__use_begins_the_time_anew);
    test_add(suite, test_thread_state__work_of_ended_threads_is_not_forgotten);
    test_add(suite, test_thread_state__child_keeps_the_forking_threads_cache);
    return suite;
}
