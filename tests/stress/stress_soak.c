// SPDX-License-Identifier: Apache-2.0
//
// Everything at once, for as long as wanted (LARDER_TEST_SECONDS, 2 unless set; ci/soak): threads
// that stay and threads that come and go exchange blocks with verified contents, signals interrupt
// them, children are forked out of it and some of them run into a limit, options change, free
// memory goes back without delay, and what the heap holds stays in proportion to what is live.
#define _GNU_SOURCE 1

#include <larder/ctl.h>
#include <larder/larder.h>
#include <larder/stats.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/child.h"
#include "../support/crew.h"
#include "../support/support.h"
#include "block.h"
#include "conf/options.h"

enum { SLOTS = 8192, STAYING = 4, VISITORS = 3, BATCH = 256 };

// A child takes milliseconds; the rest is for a machine that is stopped or busy meanwhile.
enum { CHILD_SECONDS = 900 };

static const size_t mib = 1024 * 1024;

static _Atomic(struct test_block *) slots[SLOTS];
static atomic_size_t live; // bytes asked for in slots
static atomic_ulong exchanges, threads, forks, limits, signals;
static uint64_t deadline;

static struct test_block *new_block(struct test_rng *rng) {
    return test_block_new(rng, test_rng_below(rng, 256) == 0 ? 2 * mib : 4096);
}

static void exchange(struct test_rng *rng, struct test_block *block) {
    if (block != NULL)
        atomic_fetch_add(&live, block->bytes);
    struct test_block *const old = atomic_exchange(&slots[test_rng_below(rng, SLOTS)], block);
    if (old != NULL)
        atomic_fetch_sub(&live, old->bytes);
    test_block_delete(old);
}

static void exchange_batch(struct test_rng *rng) {
    for (unsigned i = 0; i < BATCH; i++)
        exchange(rng, test_rng_below(rng, 3) == 0 ? NULL : new_block(rng));
    atomic_fetch_add(&exchanges, BATCH);
}

static void stay(struct test_worker *worker) {
    struct test_rng rng = {worker->seed};
    while (test_now_ms() < deadline)
        exchange_batch(&rng);
}

// ---- Threads that come and go ----

static void *visit(void *seed) {
    struct test_rng rng = {(uint64_t)(uintptr_t)seed};
    exchange_batch(&rng);
    return NULL; // with a cache that is full
}

static void have_visitors(struct test_rng *rng) {
    pthread_t visitors[VISITORS];
    for (unsigned i = 0; i < VISITORS; i++) {
        void *const seed = (void *)(uintptr_t)(test_rng_next(rng) | 1);
        EXPECT_INT(pthread_create(&visitors[i], NULL, visit, seed), ==, 0);
    }
    for (unsigned i = 0; i < VISITORS; i++)
        EXPECT_INT(pthread_join(visitors[i], NULL), ==, 0);
    atomic_fetch_add(&threads, VISITORS);
}

// ---- Children ----

// Takes memory until there is no more, gives it back, and has some again.
static void run_into_limit(struct test_rng *rng) {
    enum { PIECES = 4096 };
    static void *pieces[PIECES];
    unsigned count = 0;
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN || test_rng_below(rng, 2) == 0) {
        struct larder_stats stats;
        EXPECT_INT(larder_stats_get(&stats, sizeof stats), ==, 0);
        EXPECT_INT(larder_option_set("heap_limit", stats.held_bytes + 32 * mib), ==, 0);
    } else {
        const struct rlimit limit = {.rlim_cur = test_virtual_bytes() + 32 * mib,
                                     .rlim_max = RLIM_INFINITY};
        EXPECT_INT(setrlimit(RLIMIT_AS, &limit), ==, 0);
        // Without it, what is reserved already would have to be filled first.
        EXPECT_INT(larder_option_set("heap_limit", 1024 * mib), ==, 0);
    }
    const size_t size = 1 + test_rng_size(rng, 4 * mib) + mib / 2;
    while (count < PIECES && (pieces[count] = larder_malloc(size)) != NULL)
        count++;
    EXPECT(count < PIECES);
    EXPECT_INT(errno, ==, ENOMEM);
    while (count > 0)
        larder_free(pieces[--count]);
    void *const again = larder_malloc(size);
    EXPECT(again != NULL);
    larder_free(again);
}

static void have_child(struct test_rng *rng) {
    const bool limited = test_rng_below(rng, 4) == 0;
    const pid_t pid = fork();
    EXPECT_INT(pid, >=, 0);
    if (pid == 0) {
        test_child_mark_current();
        alarm(CHILD_SECONDS); // a hang ends by SIGALRM
        exchange_batch(rng);
        if (limited)
            run_into_limit(rng);
        _exit(0);
    }
    int status;
    EXPECT_INT(waitpid(pid, &status, 0), ==, pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        test_fail(__FILE__, __LINE__, "a child ended with wait status %#x", (unsigned)status);
    atomic_fetch_add(&forks, 1);
    atomic_fetch_add(&limits, limited);
}

// ---- What disturbs them ----

static void note_signal(int number) {
    (void)number;
    atomic_fetch_add(&signals, 1);
}

static void send_signals(const struct test_crew *crew) {
    for (unsigned i = 0; i < STAYING; i++)
        EXPECT_INT(pthread_kill(crew->threads[i], SIGUSR1), ==, 0);
}

static void change_options(struct test_rng *rng) {
    static const struct {
        const char *name;
        uint64_t values[2];
    } changes[] = {
        {"scavenge_delay_ms", {0, 40}},           {"profile", {0, 1}},
        {"guard_sample", {0, 1 << 20}},           {"thread_cache_max", {64 << 10, 4 << 20}},
        {"transfer_cache_max", {0, 16 << 20}},    {"bin_objects_max", {8, 2048}},
        {"scavenge_rate", {64 << 20, 1ll << 40}}, {"idle_thread_ms", {1, 3000}},
    };
    const size_t i = test_rng_below(rng, sizeof changes / sizeof *changes);
    EXPECT_INT(larder_option_set(changes[i].name, changes[i].values[test_rng_below(rng, 2)]), ==,
               0);
    if (test_rng_below(rng, 4) == 0)
        larder_release(test_rng_size(rng, 64 * mib));
}

// ---- What is watched ----

static size_t most_live;

// Blocks, caches of threads at their largest, and pages that the scavenger has not come to yet.
static void expect_proportion(void) {
    struct larder_stats stats;
    const size_t now = atomic_load(&live);
    most_live = now > most_live ? now : most_live;
    EXPECT_INT(larder_stats_get(&stats, sizeof stats), ==, 0);
    EXPECT_UINT(stats.held_bytes, <=, 2 * most_live + 96 * mib);
    if (!TEST_UNDER_ASAN && !TEST_UNDER_TSAN)
        EXPECT_UINT(test_rss_bytes(), <=, 2 * most_live + 128 * mib);
}

static void say(uint64_t from) {
    struct larder_stats stats;
    EXPECT_INT(larder_stats_get(&stats, sizeof stats), ==, 0);
    printf("%6.1f s: %lu exchanges, %lu threads, %lu forks, %lu at a limit, %lu signals; MiB: live "
           "%zu, held %llu, RSS %zu\n",
           (double)(test_now_ms() - from) / 1000, atomic_load(&exchanges), atomic_load(&threads),
           atomic_load(&forks), atomic_load(&limits), atomic_load(&signals),
           atomic_load(&live) / mib, (unsigned long long)stats.held_bytes / mib,
           test_rss_bytes() / mib);
    fflush(stdout);
}

static unsigned seconds(void) { return (unsigned)test_env_u64("LARDER_TEST_SECONDS", 2); }

static void prepare(void) {
    EXPECT_INT(larder_option_set("scavenge_delay_ms", 0), ==, 0);
    EXPECT_INT(larder_option_set("scavenge_rate", (uint64_t)1 << 40), ==, 0);
    EXPECT_INT(larder_option_set("scavenge_cpu_percent", 100), ==, 0);
    EXPECT_INT(larder_option_set("scavenge_start", 0), ==, 0);
    // ASan's allocator, which a starting thread needs, may be locked for ever in a forked child.
    if (TEST_UNDER_ASAN)
        EXPECT_INT(larder_option_set("scavenger", LR_SCAVENGER_INLINE), ==, 0);
    const struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    EXPECT_INT(sigaction(SIGUSR1, &action, NULL), ==, 0);
}

START_TEST(test_stress_soak__everything_at_once) {
    static struct test_crew crew;
    struct test_rng rng = {test_seed()};
    const uint64_t from = test_now_ms();
    const uint64_t every = seconds() > 60 ? 10000 : 1000;
    uint64_t next = from + every;
    prepare();
    deadline = from + 1000 * (uint64_t)seconds();
    test_crew_start(&crew, STAYING, stay, NULL);
    while (test_now_ms() < deadline) {
        have_visitors(&rng);
        if (!TEST_UNDER_TSAN) // its own locks do not survive forks out of many threads
            have_child(&rng);
        send_signals(&crew);
        change_options(&rng);
        expect_proportion();
        if (test_now_ms() >= next) {
            say(from);
            next += every;
        }
    }
    test_crew_join(&crew);
    for (unsigned i = 0; i < SLOTS; i++)
        test_block_delete(atomic_exchange(&slots[i], NULL));
    say(from);
    EXPECT_UINT(atomic_load(&exchanges), >, 0);
    EXPECT_UINT(atomic_load(&threads), >, 0);
    EXPECT(TEST_UNDER_TSAN || atomic_load(&forks) > 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("stress_soak");
    test_add_limit(suite, test_stress_soak__everything_at_once, 120 + 2 * seconds());
    return suite;
}
