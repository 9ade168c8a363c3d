// SPDX-License-Identifier: Apache-2.0
//
// Random sequences of API calls against the shadow heap, on one thread and on several that share
// one address space. LARDER_TEST_SECONDS: length of each part.
#include "../support/crew.h"
#include "../support/shadow_heap.h"
#include "../support/support.h"

enum { SLOTS = 3000, THREADS = 4, SLOTS_EACH = 800, PASSED = 64 };

static const size_t mib = 1024 * 1024;

static uint64_t deadline_ms(void) {
    return test_now_ms() + 1000 * test_env_u64("LARDER_TEST_SECONDS", 2);
}

static void run_until(struct shadow_heap *heap, uint64_t deadline) {
    while (test_now_ms() < deadline) {
        for (unsigned i = 0; i < 500; i++)
            shadow_heap_step(heap);
    }
}

static void run_alone(size_t largest_bytes) {
    static struct test_interval ranges[SLOTS];
    static struct shadow_block blocks[SLOTS];
    static struct shadow_map map;
    shadow_map_init(&map, ranges, SLOTS);
    struct shadow_heap heap = {.map = &map,
                               .rng = {test_seed()},
                               .largest_bytes = largest_bytes,
                               .slots = SLOTS,
                               .blocks = blocks};
    run_until(&heap, deadline_ms());
    shadow_heap_end(&heap);
    EXPECT_UINT(map.live.count, ==, 0);
}

START_TEST(test_model_api__small_blocks) { run_alone(32 * 1024); }
END_TEST

START_TEST(test_model_api__all_sizes) { run_alone(4 * mib); }
END_TEST

// Threads share the map of live ranges, and pass blocks to one another to free.
struct shared {
    struct shadow_map map;
    pthread_mutex_t lock;
    struct shadow_block passed[PASSED]; // guarded by: lock
    uint64_t deadline;
};

// Puts a block of this thread into a random place and takes what was there.
static void exchange(struct shared *shared, struct shadow_heap *heap) {
    struct shadow_block *const own = &heap->blocks[test_rng_below(&heap->rng, heap->slots)];
    pthread_mutex_lock(&shared->lock);
    struct shadow_block *const place = &shared->passed[test_rng_below(&heap->rng, PASSED)];
    struct shadow_block taken = *place;
    *place = *own;
    pthread_mutex_unlock(&shared->lock);
    *own = (struct shadow_block){.address = NULL};
    if (taken.address != NULL)
        shadow_block_free(&shared->map, &taken);
}

static void run_thread(struct test_worker *worker) {
    static struct shadow_block blocks[THREADS][SLOTS_EACH];
    struct shared *const shared = worker->shared;
    struct shadow_heap heap = {.map = &shared->map,
                               .rng = {worker->seed},
                               .largest_bytes = 256 * 1024,
                               .slots = SLOTS_EACH,
                               .blocks = blocks[worker->index]};
    while (test_now_ms() < shared->deadline) {
        for (unsigned i = 0; i < 100; i++)
            shadow_heap_step(&heap);
        for (unsigned i = 0; i < 20; i++)
            exchange(shared, &heap);
    }
    shadow_heap_end(&heap);
}

START_TEST(test_model_api__threads_that_pass_blocks) {
    static struct test_interval ranges[THREADS * SLOTS_EACH + PASSED];
    static struct shared shared;
    shadow_map_init(&shared.map, ranges, THREADS * SLOTS_EACH + PASSED);
    EXPECT_INT(pthread_mutex_init(&shared.lock, NULL), ==, 0);
    shared.deadline = deadline_ms();
    test_crew_run(THREADS, run_thread, &shared);
    for (unsigned i = 0; i < PASSED; i++) {
        if (shared.passed[i].address != NULL)
            shadow_block_free(&shared.map, &shared.passed[i]);
    }
    EXPECT_UINT(shared.map.live.count, ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    const unsigned seconds = 60 + 2 * (unsigned)test_env_u64("LARDER_TEST_SECONDS", 2);
    Suite *suite = suite_create("model_api");
    test_add_limit(suite, test_model_api__small_blocks, seconds);
    test_add_limit(suite, test_model_api__all_sizes, seconds);
    test_add_limit(suite, test_model_api__threads_that_pass_blocks, seconds);
    return suite;
}
