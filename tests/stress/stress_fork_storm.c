// SPDX-License-Identifier: Apache-2.0
//
// Several threads fork at once while others allocate; children allocate and some of them fork
// again. LARDER_TEST_SECONDS: for how long (2 unless set).
#define _GNU_SOURCE 1

#include <larder/ctl.h>
#include <larder/larder.h>

#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/child.h"
#include "../support/crew.h"
#include "../support/support.h"

enum { FORKING = 3, ALLOCATING = 3, CHILD_SECONDS = 30 };

static uint64_t deadline;
static atomic_ulong forks;

static void allocate_rounds(struct test_rng *rng, unsigned rounds) {
    enum { LIVE = 100 };
    char *blocks[LIVE] = {NULL};
    size_t sizes[LIVE] = {0};
    for (unsigned round = 0; round < rounds; round++) {
        const unsigned i = (unsigned)test_rng_below(rng, LIVE);
        if (blocks[i] != NULL)
            EXPECT_FILLED(blocks[i], sizes[i], i);
        larder_free(blocks[i]);
        sizes[i] = test_rng_size(rng, round % 64 == 0 ? (size_t)1 << 20 : 10000);
        blocks[i] = larder_malloc(sizes[i]);
        EXPECT(blocks[i] != NULL);
        test_fill(blocks[i], sizes[i], i);
    }
    for (unsigned i = 0; i < LIVE; i++) {
        if (blocks[i] != NULL)
            EXPECT_FILLED(blocks[i], sizes[i], i);
        larder_free(blocks[i]);
    }
}

static void start_child_life(struct test_rng *rng) {
    test_child_mark_current();
    alarm(CHILD_SECONDS); // a hang ends by SIGALRM
    allocate_rounds(rng, 300);
}

static void expect_good_end(pid_t pid) {
    int status = 0;
    EXPECT_INT(waitpid(pid, &status, 0), ==, pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        test_fail(__FILE__, __LINE__, "a forked child ended with wait status %#x (0xe: hung)",
                  (unsigned)status);
}

static void fork_once(struct test_rng *rng) {
    const bool again = test_rng_below(rng, 4) == 0;
    const pid_t pid = fork();
    EXPECT_INT(pid, >=, 0);
    if (pid > 0) {
        expect_good_end(pid);
        return;
    }
    start_child_life(rng);
    const pid_t grandchild = again ? fork() : 1;
    EXPECT_INT(grandchild, >=, 0);
    if (grandchild == 0)
        start_child_life(rng);
    else if (again)
        expect_good_end(grandchild);
    _exit(0);
}

static void fork_or_allocate(struct test_worker *worker) {
    struct test_rng rng = {worker->seed};
    while (test_now_ms() < deadline) {
        if (worker->index < FORKING) {
            fork_once(&rng);
            atomic_fetch_add(&forks, 1);
        } else {
            allocate_rounds(&rng, 500);
        }
    }
}

static unsigned seconds(void) { return (unsigned)test_env_u64("LARDER_TEST_SECONDS", 2); }

START_TEST(test_stress_fork_storm__no_child_hangs) {
    if (TEST_UNDER_TSAN)
        TEST_SKIP("TSan's own locks do not survive forks out of many threads");
    // ASan's allocator, which a starting thread needs, may be locked for ever in a forked child:
    // the scavenger stays without a thread (inline).
    if (TEST_UNDER_ASAN)
        EXPECT_INT(larder_option_set("scavenger", 1), ==, 0);
    deadline = test_now_ms() + 1000 * (uint64_t)seconds();
    test_crew_run(FORKING + ALLOCATING, fork_or_allocate, NULL);
    EXPECT_UINT(atomic_load(&forks), >=, FORKING);
    printf("%lu forks\n", atomic_load(&forks));
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("stress_fork_storm");
    test_add_limit(suite, test_stress_fork_storm__no_child_hangs, 120 + 2 * seconds());
    return suite;
}
