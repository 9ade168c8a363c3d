// SPDX-License-Identifier: Apache-2.0
//
// The end of a thread: its blocks outlive it, its cache does not, and its destructors may allocate
// before and after the cache has gone.
#define _GNU_SOURCE 1

#include <larder/stats.h>

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../support/crew.h"
#include "../support/support.h"

static const size_t mib = 1024 * 1024;

enum { BLOCKS = 2000 };

struct left_behind {
    char *blocks[BLOCKS];
    size_t sizes[BLOCKS];
};

static void allocate_and_leave(struct test_worker *worker) {
    struct left_behind *const left = (struct left_behind *)worker->shared + worker->index;
    struct test_rng rng = {worker->seed};
    for (unsigned i = 0; i < BLOCKS; i++) {
        left->sizes[i] = test_rng_size(&rng, 20000);
        left->blocks[i] = larder_malloc(left->sizes[i]);
        EXPECT(left->blocks[i] != NULL);
        test_fill(left->blocks[i], left->sizes[i], i);
    }
}

START_TEST(test_thread_exit__blocks_outlive_their_thread) {
    enum { THREADS = 4 };
    static struct left_behind left[THREADS];
    test_crew_run(THREADS, allocate_and_leave, left);
    for (unsigned t = 0; t < THREADS; t++) {
        for (unsigned i = 0; i < BLOCKS; i++) {
            EXPECT_FILLED(left[t].blocks[i], left[t].sizes[i], i);
            larder_free(left[t].blocks[i]);
        }
    }
}
END_TEST

// Blocks in flight: a slot is filled by threads that live for one round and emptied by others.
enum { SLOTS = 256 };
struct exchange {
    _Atomic(char *) slots[SLOTS];
    atomic_bool stop;
};
enum { EXCHANGED_BYTES = 700 };

static void *put_blocks(void *arg) {
    struct exchange *const exchange = arg;
    for (unsigned i = 0; i < SLOTS; i++) {
        char *const block = larder_malloc(EXCHANGED_BYTES);
        EXPECT(block != NULL);
        test_fill(block, EXCHANGED_BYTES, 3);
        larder_free(atomic_exchange(&exchange->slots[i], block));
    }
    return NULL;
}

static void take_blocks(struct test_worker *worker) {
    struct exchange *const exchange = worker->shared;
    while (!atomic_load(&exchange->stop)) {
        for (unsigned i = 0; i < SLOTS; i++) {
            char *const block = atomic_exchange(&exchange->slots[i], NULL);
            if (block == NULL)
                continue;
            EXPECT_FILLED(block, EXCHANGED_BYTES, 3);
            larder_free(block);
        }
    }
}

START_TEST(test_thread_exit__while_others_free_its_blocks) {
    static struct exchange exchange;
    static struct test_crew takers;
    test_crew_start(&takers, 2, take_blocks, &exchange);
    for (unsigned round = 0; round < 500; round++) {
        pthread_t putters[2];
        for (unsigned i = 0; i < 2; i++)
            EXPECT_INT(pthread_create(&putters[i], NULL, put_blocks, &exchange), ==, 0);
        for (unsigned i = 0; i < 2; i++)
            EXPECT_INT(pthread_join(putters[i], NULL), ==, 0);
    }
    atomic_store(&exchange.stop, true);
    test_crew_join(&takers);
    for (unsigned i = 0; i < SLOTS; i++)
        larder_free(atomic_load(&exchange.slots[i]));
}
END_TEST

// A destructor that sets its key again is called in each of the four rounds, so that some of its
// calls come after the library's own destructor whatever the order of the keys is. In the last
// round TSan has no state for the thread any more.
enum { KEYS = 2, ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS - LARDER_TSAN };
static pthread_key_t keys[KEYS]; // [0] from before the first allocation, [1] from after it
static _Atomic(unsigned) calls[KEYS];
static _Atomic(char *) last_words;
enum { LAST_BYTES = 3000 };

static void destructor(void *arg) {
    const unsigned key = *(const unsigned *)arg;
    const unsigned call = atomic_fetch_add(&calls[key], 1) + 1;
    for (size_t bytes = 1; bytes <= 400000; bytes = bytes * 3 + 1) {
        char *block = larder_malloc(bytes);
        EXPECT(block != NULL);
        test_fill(block, bytes, bytes);
        block = larder_realloc(block, bytes * 2);
        EXPECT(block != NULL);
        EXPECT_FILLED(block, bytes, bytes);
        larder_free(block);
    }
    char *const block = larder_malloc(LAST_BYTES);
    EXPECT(block != NULL);
    test_fill(block, LAST_BYTES, 5);
    larder_free(atomic_exchange(&last_words, block));
    if (call % ROUNDS != 0)
        EXPECT_INT(pthread_setspecific(keys[key], arg), ==, 0);
}

static void *live_and_die(void *arg) {
    static const unsigned numbers[KEYS] = {0, 1};
    void *const block = larder_malloc(100);
    for (unsigned i = 0; i < KEYS; i++)
        EXPECT_INT(pthread_setspecific(keys[i], (const void *)&numbers[i]), ==, 0);
    larder_free(block);
    return arg;
}

static void create_keys(void) {
    EXPECT_INT(pthread_key_create(&keys[0], destructor), ==, 0);
    larder_free(larder_malloc(1));
    EXPECT_INT(pthread_key_create(&keys[1], destructor), ==, 0);
}

static void run_and_join(void *(*body)(void *)) {
    pthread_t thread;
    EXPECT_INT(pthread_create(&thread, NULL, body, NULL), ==, 0);
    EXPECT_INT(pthread_join(thread, NULL), ==, 0);
}

START_TEST(test_thread_exit__destructors_allocate) {
    create_keys();
    for (unsigned i = 1; i <= 50; i++) {
        run_and_join(live_and_die);
        for (unsigned key = 0; key < KEYS; key++)
            EXPECT_UINT(atomic_load(&calls[key]), ==, i * ROUNDS);
        EXPECT_FILLED(atomic_load(&last_words), LAST_BYTES, 5);
    }
    larder_free(atomic_load(&last_words));
}
END_TEST

// What a thread allocates after its cache has gone must not give it a second one for ever.
START_TEST(test_thread_exit__late_allocations_leave_nothing) {
    create_keys();
    for (unsigned i = 0; i < 100; i++)
        run_and_join(live_and_die);
    const size_t before = test_rss_bytes();
    for (unsigned i = 0; i < 2000; i++)
        run_and_join(live_and_die);
    EXPECT_UINT(test_rss_bytes(), <, before + 16 * mib);
    larder_free(atomic_load(&last_words));
}
END_TEST

// A thread whose first call of all is in a destructor.
static void *die_before_first_call(void *arg) {
    static const unsigned number = 1;
    EXPECT_INT(pthread_setspecific(keys[1], (const void *)&number), ==, 0);
    return arg;
}

START_TEST(test_thread_exit__first_call_in_a_destructor) {
    create_keys();
    for (unsigned i = 1; i <= 50; i++) {
        run_and_join(die_before_first_call);
        EXPECT_UINT(atomic_load(&calls[1]), ==, i * ROUNDS);
    }
    larder_free(atomic_load(&last_words));
}
END_TEST

// Such a thread, too, leaves neither cache nor record behind.
START_TEST(test_thread_exit__first_call_in_a_destructor_leaves_nothing) {
    create_keys();
    for (unsigned i = 0; i < 200; i++)
        run_and_join(die_before_first_call);
    struct larder_stats stats;
    EXPECT_INT(larder_stats_get(&stats, sizeof stats), ==, 0);
    EXPECT_UINT(stats.threads, <=, 4); // this one, and the library's own if it allocates
    larder_free(atomic_load(&last_words));
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("thread_exit");
    test_add(suite, test_thread_exit__blocks_outlive_their_thread);
    test_add(suite, test_thread_exit__while_others_free_its_blocks);
    test_add(suite, test_thread_exit__destructors_allocate);
    test_add(suite, test_thread_exit__first_call_in_a_destructor);
    test_add(suite, test_thread_exit__first_call_in_a_destructor_leaves_nothing);
    if (!TEST_UNDER_TSAN) // its own memory grows by the thread
        test_add(suite, test_thread_exit__late_allocations_leave_nothing);
    return suite;
}
