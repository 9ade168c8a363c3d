// SPDX-License-Identifier: Apache-2.0
//
// Memory freed by a process that then is idle goes back without any call. LARDER_TEST_FILL_MB:
// how much is filled before (1024 unless set, a quarter of it under a sanitizer).
#include <larder/larder.h>

#include <pthread.h>
#include <stdatomic.h>

#include "../support/crew.h"
#include "../support/support.h"

static const size_t mib = 1024 * 1024;

enum { THREADS = 2, LIMIT_MIB = 24, DEADLINE_MS = 10000 };

// Blocks in a chain through their first word, so that the test holds no other memory.
struct block {
    struct block *next;
};

struct fill {
    size_t bytes_each;
    bool stay; // keep the threads, asleep, after they have freed everything
    pthread_barrier_t all_filled;
    atomic_uint empty;
    atomic_bool leave;
};

// Half of the bytes in blocks of up to 1 KiB, half in blocks of up to 1 MiB.
static struct block *fill_memory(struct test_rng *rng, size_t bytes) {
    struct block *chain = NULL;
    size_t small = 0, total = 0;
    while (total < bytes) {
        const bool next_is_small = small < bytes / 2;
        const size_t block_bytes = sizeof(struct block) + (next_is_small ? test_rng_below(rng, 1024)
                                                                         : test_rng_size(rng, mib));
        struct block *const block = larder_malloc(block_bytes);
        EXPECT(block != NULL);
        test_fill(block, block_bytes, 1);
        block->next = chain;
        chain = block;
        total += block_bytes;
        small += next_is_small ? block_bytes : 0;
    }
    return chain;
}

static bool may_leave(void *arg) { return atomic_load(&((struct fill *)arg)->leave); }

static void fill_and_free(struct test_worker *worker) {
    struct fill *const fill = worker->shared;
    struct test_rng rng = {worker->seed};
    struct block *chain = fill_memory(&rng, fill->bytes_each);
    pthread_barrier_wait(&fill->all_filled);
    while (chain != NULL) {
        struct block *const block = chain;
        chain = block->next;
        larder_free(block);
    }
    atomic_fetch_add(&fill->empty, 1);
    if (fill->stay)
        test_wait_until(may_leave, fill, 60000);
}

static bool all_empty(void *arg) { return atomic_load(&((struct fill *)arg)->empty) == THREADS; }

static bool rss_is_below(void *limit) { return test_rss_bytes() < *(const size_t *)limit; }

static void expect_memory_returned(bool stay) {
    // A sanitizer's own memory comes on top.
    size_t limit = LIMIT_MIB * mib + (TEST_UNDER_ASAN ? test_rss_bytes() : 0);
    static struct fill fill;
    static struct test_crew crew;
    fill.stay = stay;
    uint64_t fill_mib = test_env_u64("LARDER_TEST_FILL_MB", TEST_UNDER_ASAN ? 256 : 1024);
    fill.bytes_each = fill_mib * mib / THREADS;
    EXPECT_INT(pthread_barrier_init(&fill.all_filled, NULL, THREADS + 1), ==, 0);
    test_crew_start(&crew, THREADS, fill_and_free, &fill);
    pthread_barrier_wait(&fill.all_filled);
    EXPECT(test_wait_until(all_empty, &fill, 30000));
    if (!stay)
        test_crew_join(&crew);
    if (!test_wait_until(rss_is_below, &limit, DEADLINE_MS))
        test_fail(__FILE__, __LINE__, "%zu bytes are resident %d s after all was freed",
                  test_rss_bytes(), DEADLINE_MS / 1000);
    atomic_store(&fill.leave, true);
    if (stay)
        test_crew_join(&crew);
}

START_TEST(test_idle_return__threads_asleep) { expect_memory_returned(true); }
END_TEST

START_TEST(test_idle_return__threads_gone) { expect_memory_returned(false); }
END_TEST

START_TEST(test_idle_return__skipped) { TEST_SKIP("TSan's shadow memory drowns the figures"); }
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("idle_return");
    if (TEST_UNDER_TSAN) {
        test_add(suite, test_idle_return__skipped);
        return suite;
    }
    test_add_limit(suite, test_idle_return__threads_asleep, 180);
    test_add_limit(suite, test_idle_return__threads_gone, 180);
    return suite;
}
