// SPDX-License-Identifier: Apache-2.0
//
// Producers that only allocate, consumers that only free: all memory crosses threads, and however
// long it goes on, resident memory stays bounded. LARDER_TEST_SECONDS: for how long (2 unless set).
#include <larder/larder.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "../support/crew.h"
#include "../support/support.h"

static const size_t mib = 1024 * 1024;

enum { PAIRS = 4, RING = 1024 };

struct item {
    char *block;
    size_t bytes;
    uint64_t seed;
};

// Bounded queue of one pair.
struct ring {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct item items[RING]; // guarded by: lock
    unsigned head, count;    // guarded by: lock
    bool closed;             // guarded by: lock
};

static struct ring rings[PAIRS];
static uint64_t deadline;
static atomic_ulong passed;

static void ring_put(struct ring *ring, struct item item) {
    pthread_mutex_lock(&ring->lock);
    while (ring->count == RING)
        pthread_cond_wait(&ring->changed, &ring->lock);
    ring->items[(ring->head + ring->count++) % RING] = item;
    pthread_cond_signal(&ring->changed);
    pthread_mutex_unlock(&ring->lock);
}

static void ring_close(struct ring *ring) {
    pthread_mutex_lock(&ring->lock);
    ring->closed = true;
    pthread_cond_signal(&ring->changed);
    pthread_mutex_unlock(&ring->lock);
}

// False at the end.
static bool ring_take(struct ring *ring, struct item *item) {
    pthread_mutex_lock(&ring->lock);
    while (ring->count == 0 && !ring->closed)
        pthread_cond_wait(&ring->changed, &ring->lock);
    const bool got = ring->count > 0;
    if (got) {
        *item = ring->items[ring->head];
        ring->head = (ring->head + 1) % RING;
        ring->count--;
        pthread_cond_signal(&ring->changed);
    }
    pthread_mutex_unlock(&ring->lock);
    return got;
}

static void produce(struct ring *ring, uint64_t seed) {
    struct test_rng rng = {seed};
    while (test_now_ms() < deadline) {
        for (unsigned i = 0; i < 100; i++) {
            struct item item = {.bytes = test_rng_size(&rng, 16 * 1024),
                                .seed = test_rng_next(&rng)};
            item.block = larder_malloc(item.bytes);
            EXPECT(item.block != NULL);
            test_fill(item.block, item.bytes, item.seed);
            ring_put(ring, item);
        }
    }
    ring_close(ring);
}

static void consume(struct ring *ring) {
    struct item item;
    while (ring_take(ring, &item)) {
        EXPECT_FILLED(item.block, item.bytes, item.seed);
        larder_free(item.block);
        atomic_fetch_add(&passed, 1);
    }
}

static void produce_or_consume(struct test_worker *worker) {
    struct ring *const ring = &rings[worker->index / 2];
    if (worker->index % 2 == 0)
        produce(ring, worker->seed);
    else
        consume(ring);
}

static unsigned seconds(void) { return (unsigned)test_env_u64("LARDER_TEST_SECONDS", 2); }

START_TEST(test_stress_producer_consumer__memory_is_bounded) {
    const size_t before = test_rss_bytes();
    deadline = test_now_ms() + 1000 * (uint64_t)seconds();
    for (unsigned i = 0; i < PAIRS; i++) {
        EXPECT_INT(pthread_mutex_init(&rings[i].lock, NULL), ==, 0);
        EXPECT_INT(pthread_cond_init(&rings[i].changed, NULL), ==, 0);
    }
    test_crew_run(2 * PAIRS, produce_or_consume, NULL);
    EXPECT_UINT(atomic_load(&passed), >=, 100 * PAIRS);
    printf("%u pairs: %lu blocks passed\n", PAIRS, atomic_load(&passed));
    // At most 4 x 1024 blocks of 16 KiB were alive, a few MiB in the mean; and caches have budgets.
    if (!TEST_UNDER_TSAN)
        EXPECT_UINT(test_rss_bytes(), <, before + 160 * mib);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("stress_producer_consumer");
    test_add_limit(suite, test_stress_producer_consumer__memory_is_bounded, 60 + 2 * seconds());
    return suite;
}
