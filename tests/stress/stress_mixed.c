// SPDX-License-Identifier: Apache-2.0
//
// Many threads (LARDER_TEST_THREADS, 64 unless set) on one table of blocks: each puts a new block
// into a random slot and verifies and frees the one it took out, which mostly is another thread's.
// LARDER_TEST_SECONDS: for how long (2 unless set).
#include <stdatomic.h>
#include <stdio.h>

#include "../support/crew.h"
#include "../support/support.h"
#include "block.h"

enum { SLOTS = 16384, BATCH = 64 };

static _Atomic(struct test_block *) slots[SLOTS];
static atomic_ulong exchanges;
static uint64_t deadline;

static void exchange_until_deadline(struct test_worker *worker) {
    struct test_rng rng = {worker->seed};
    while (test_now_ms() < deadline) {
        for (unsigned i = 0; i < BATCH; i++) {
            _Atomic(struct test_block *) *const slot = &slots[test_rng_below(&rng, SLOTS)];
            const size_t largest = test_rng_below(&rng, 64) == 0 ? 512 * 1024 : 2048;
            test_block_delete(atomic_exchange(slot, test_block_new(&rng, largest)));
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
        test_block_delete(atomic_load(&slots[i]));
    EXPECT_UINT(atomic_load(&exchanges), >=, threads * BATCH);
    printf("%u threads: %lu blocks verified\n", threads, atomic_load(&exchanges));
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("stress_mixed");
    test_add_limit(suite, test_stress_mixed__cross_thread_frees, 60 + 2 * seconds());
    return suite;
}
