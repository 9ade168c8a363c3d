// SPDX-License-Identifier: Apache-2.0
//
// Many threads (LARDER_TEST_THREADS, 64 unless set) on one table of blocks: each puts a new block
// into a random slot and verifies and frees the one it took out, which mostly is another thread's.
// LARDER_TEST_SECONDS: for how long (2 unless set).
#include <larder/larder.h>

#include <stdatomic.h>
#include <stdio.h>

#include "../support/crew.h"
#include "../support/support.h"

enum { SLOTS = 16384, BATCH = 64 };

// A block carries its size and seed, and the contents that follow from them.
struct block {
    size_t bytes;
    uint64_t seed;
    char contents[];
};

static _Atomic(struct block *) slots[SLOTS];
static atomic_ulong exchanges;
static uint64_t deadline;

static struct block *make_block(struct test_rng *rng) {
    const size_t largest = test_rng_below(rng, 64) == 0 ? 512 * 1024 : 2048;
    const size_t bytes = sizeof(struct block) + test_rng_size(rng, largest);
    struct block *block = NULL;
    switch (test_rng_below(rng, 8)) {
    case 0:
        block = larder_calloc(1, bytes);
        EXPECT(block != NULL);
        EXPECT_ZERO(block, bytes);
        break;
    case 1:
        block = larder_aligned_alloc((size_t)16 << test_rng_below(rng, 9), bytes);
        break;
    case 2:
        block = larder_realloc(larder_malloc(test_rng_size(rng, 4000)), bytes);
        break;
    default:
        block = larder_malloc(bytes);
    }
    EXPECT(block != NULL);
    EXPECT_ALIGNED(block, 16);
    block->bytes = bytes;
    block->seed = test_rng_next(rng);
    test_fill(block->contents, bytes - sizeof *block, block->seed);
    return block;
}

static void verify_and_free(struct block *block) {
    if (block == NULL)
        return;
    EXPECT_UINT(larder_malloc_usable_size(block), >=, block->bytes);
    EXPECT_FILLED(block->contents, block->bytes - sizeof *block, block->seed);
    larder_free(block);
}

static void exchange_until_deadline(struct test_worker *worker) {
    struct test_rng rng = {worker->seed};
    while (test_now_ms() < deadline) {
        for (unsigned i = 0; i < BATCH; i++) {
            _Atomic(struct block *) *const slot = &slots[test_rng_below(&rng, SLOTS)];
            verify_and_free(atomic_exchange(slot, make_block(&rng)));
        }
        atomic_fetch_add(&exchanges, BATCH);
    }
}

static unsigned seconds(void) { return (unsigned)test_env_u64("LARDER_TEST_SECONDS", 2); }

START_TEST(test_stress_mixed__cross_thread_frees) {
    deadline = test_now_ms() + 1000 * (uint64_t)seconds();
    const unsigned threads = (unsigned)test_env_u64("LARDER_TEST_THREADS", 64);
    test_crew_run(threads, exchange_until_deadline, NULL);
    for (unsigned i = 0; i < SLOTS; i++)
        verify_and_free(atomic_load(&slots[i]));
    EXPECT_UINT(atomic_load(&exchanges), >=, threads * BATCH);
    printf("%u threads: %lu blocks verified\n", threads, atomic_load(&exchanges));
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("stress_mixed");
    test_add_limit(suite, test_stress_mixed__cross_thread_frees, 60 + 2 * seconds());
    return suite;
}
