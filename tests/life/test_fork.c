// SPDX-License-Identifier: Apache-2.0
//
// fork() out of a process whose threads allocate: the child may allocate, free what the parent had,
// start threads, fork again, and gets its own scavenger. LARDER_TEST_FORKS: how many forks in
// all (200 unless set; 10000 is a good long run).
#define _GNU_SOURCE 1

#include <larder/ctl.h>
#include <larder/larder.h>

#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/child.h"
#include "../support/crew.h"
#include "../support/support.h"

static const size_t mib = 1024 * 1024;

enum { WORKERS = 4, INHERITED = 300, CHILD_SECONDS = 30 };

static atomic_bool stop;
static char *inherited[INHERITED];
static size_t inherited_bytes[INHERITED];

// Spends its time under the locks of all tiers, so that a fork without them finds one half done.
static void change_tiers_until_stopped(struct test_rng *rng) {
    enum { LIVE = 256 };
    void *blocks[LIVE];
    while (!atomic_load(&stop)) {
        const size_t bytes = (size_t)1 << (4 + test_rng_below(rng, 15)); // 16 bytes to 256 KiB
        for (unsigned i = 0; i < LIVE; i++)
            blocks[i] = larder_malloc(i % 16 == 0 ? bytes + 300000 : bytes);
        larder_thread_flush();
        for (unsigned i = 0; i < LIVE; i++)
            larder_free(blocks[i]);
        larder_thread_flush();
        larder_malloc_trim(SIZE_MAX); // empties the transfer caches, returns nothing
    }
}

// The first one holds blocks in all tiers and verifies them, the others change the tiers.
static void allocate_until_stopped(struct test_worker *worker) {
    enum { LIVE = 200 };
    char *blocks[LIVE] = {NULL};
    size_t sizes[LIVE] = {0};
    struct test_rng rng = {worker->seed};
    if (worker->index != 0) {
        change_tiers_until_stopped(&rng);
        return;
    }
    while (!atomic_load(&stop)) {
        const unsigned i = (unsigned)test_rng_below(&rng, LIVE);
        if (blocks[i] != NULL)
            EXPECT_FILLED(blocks[i], sizes[i], i);
        larder_free(blocks[i]);
        const bool large = test_rng_below(&rng, 100) == 0;
        sizes[i] = test_rng_size(&rng, large ? 2 * mib : 20000);
        blocks[i] = larder_malloc(sizes[i]);
        EXPECT(blocks[i] != NULL);
        test_fill(blocks[i], sizes[i], i);
    }
    for (unsigned i = 0; i < LIVE; i++)
        larder_free(blocks[i]);
}

// Many blocks of all classes alive at once: a list that was caught half done gives one twice, which
// their beginnings show.
static void allocate_for_a_while(struct test_worker *worker) {
    enum { LIVE = 1500, FILLED_MAX = 1024 };
    struct test_rng rng = {worker->seed};
    char *blocks[LIVE];
    size_t filled[LIVE];
    for (unsigned i = 0; i < LIVE; i++) {
        const size_t bytes = test_rng_size(&rng, i % 8 == 0 ? mib : 3000);
        filled[i] = bytes < FILLED_MAX ? bytes : FILLED_MAX;
        blocks[i] = larder_malloc(bytes);
        EXPECT(blocks[i] != NULL);
        test_fill(blocks[i], filled[i], i);
    }
    for (unsigned i = 0; i < LIVE; i++) {
        EXPECT_FILLED(blocks[i], filled[i], i);
        larder_free(blocks[i]);
    }
    larder_thread_flush();
}

static void wait_for(pid_t pid) {
    int status = 0;
    EXPECT_INT(waitpid(pid, &status, 0), ==, pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        test_fail(__FILE__, __LINE__, "a forked child ended with wait status %#x (0xe: hung)",
                  (unsigned)status);
}

// What any child does, `depth` forks below the test.
static void live_as_child(unsigned number, unsigned depth) {
    test_child_mark_current();
    alarm(CHILD_SECONDS); // a hang ends by SIGALRM, which wait_for() reports
    for (unsigned i = 0; i < INHERITED; i++) {
        if (i % 2 != depth % 2)
            continue;
        EXPECT_FILLED(inherited[i], inherited_bytes[i], i);
        larder_free(inherited[i]);
    }
    struct test_worker self = {.seed = number};
    allocate_for_a_while(&self);
    if (number % 4 == 0 && !TEST_UNDER_ASAN)
        test_crew_run(2, allocate_for_a_while, NULL);
}

// One in eight children has a child of its own.
static void fork_child(unsigned number) {
    const pid_t pid = fork();
    EXPECT_INT(pid, >=, 0);
    if (pid == 0) {
        live_as_child(number, 0);
        const pid_t grandchild = number % 8 == 0 ? fork() : -1;
        if (grandchild == 0)
            live_as_child(number, 1);
        if (grandchild > 0)
            wait_for(grandchild);
        EXPECT(number % 8 != 0 || grandchild >= 0);
        _exit(0);
    }
    wait_for(pid);
}

static void allocate_inherited(void) {
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < INHERITED; i++) {
        inherited_bytes[i] = test_rng_size(&rng, i % 50 == 0 ? mib : 8000);
        inherited[i] = larder_malloc(inherited_bytes[i]);
        EXPECT(inherited[i] != NULL);
        test_fill(inherited[i], inherited_bytes[i], i);
    }
}

// ASan's allocator takes no care of fork(): one of its locks may be held for ever in the child, and
// whoever starts a thread there needs it. So nobody does, the scavenger included.
static void start_no_threads_under_asan(void) {
    const uint64_t inline_scavenger = 1;
    if (TEST_UNDER_ASAN)
        EXPECT_INT(larder_option_set("scavenger", inline_scavenger), ==, 0);
}

static unsigned forks_wanted(void) {
    return (unsigned)test_env_u64("LARDER_TEST_FORKS", TEST_UNDER_ASAN ? 50 : 200);
}

START_TEST(test_fork__out_of_allocating_threads) {
    const unsigned forks = forks_wanted();
    start_no_threads_under_asan();
    static struct test_crew crew;
    allocate_inherited();
    test_crew_start(&crew, WORKERS, allocate_until_stopped, NULL);
    for (unsigned i = 0; i < forks; i++)
        fork_child(i);
    atomic_store(&stop, true);
    test_crew_join(&crew);
    for (unsigned i = 0; i < INHERITED; i++) {
        EXPECT_FILLED(inherited[i], inherited_bytes[i], i);
        larder_free(inherited[i]);
    }
}
END_TEST

// Two threads fork at the same time.
static void fork_some(struct test_worker *worker) {
    for (unsigned i = 0; i < 25; i++)
        fork_child(i * 2 + worker->index);
}

START_TEST(test_fork__from_several_threads_at_once) {
    start_no_threads_under_asan();
    static struct test_crew crew;
    allocate_inherited();
    test_crew_start(&crew, 2, allocate_until_stopped, NULL);
    test_crew_run(2, fork_some, NULL);
    atomic_store(&stop, true);
    test_crew_join(&crew);
}
END_TEST

static void fill_and_free(void) {
    enum { COUNT = 64 };
    char *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = larder_malloc(mib);
        EXPECT(blocks[i] != NULL);
        test_fill(blocks[i], mib, i);
    }
    for (unsigned i = 0; i < COUNT; i++)
        larder_free(blocks[i]);
}

static bool rss_is_below(void *limit) { return test_rss_bytes() < *(const size_t *)limit; }

static void fill_and_wait_until_returned(void *arg) {
    (void)arg;
    size_t limit = test_rss_bytes() + 32 * mib;
    fill_and_free();
    EXPECT(test_wait_until(rss_is_below, &limit, 10000));
}

// The parent's scavenger thread is gone in the child; memory freed there goes back all the same.
START_TEST(test_fork__child_returns_memory_by_itself) {
    fill_and_wait_until_returned(NULL);
    struct test_child child;
    test_child_run(&child, 30, fill_and_wait_until_returned, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
    fill_and_wait_until_returned(NULL);
}
END_TEST

START_TEST(test_fork__skipped) {
    TEST_SKIP("TSan does not follow threads started after a fork out of threads");
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("fork");
    if (TEST_UNDER_TSAN) {
        test_add(suite, test_fork__skipped);
        return suite;
    }
    test_add_limit(suite, test_fork__out_of_allocating_threads, 60 + forks_wanted() / 2);
    test_add(suite, test_fork__from_several_threads_at_once);
    test_add(suite, test_fork__child_returns_memory_by_itself);
    return suite;
}
