// SPDX-License-Identifier: Apache-2.0
//
// Signals: the background thread takes none of the program's, and handlers may interrupt any
// allocation.
#define _GNU_SOURCE 1

#include <larder/larder.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "../support/crew.h"
#include "../support/support.h"

static const size_t mib = 1024 * 1024;

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

// Fields of /proc/self/task/TID/status of the thread that the library started.
struct background {
    unsigned tid; // 0: there is none
    uint64_t blocked;
    char name[32];
};

static void read_status(struct background *thread) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/task/%u/status", thread->tid);
    FILE *const file = fopen(path, "re");
    EXPECT(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "Name:\t", 6) == 0)
            snprintf(thread->name, sizeof thread->name, "%.*s", (int)strcspn(line + 6, "\n"),
                     line + 6);
        if (strncmp(line, "SigBlk:\t", 8) == 0)
            thread->blocked = strtoull(line + 8, NULL, 16);
    }
    fclose(file);
}

// Other than ours: in this process only the library starts threads (and TSan, by its own name).
static bool find_background(void *arg) {
    struct background *const thread = arg;
    fill_and_free(); // gives the library a safe point and something to return
    DIR *const dir = opendir("/proc/self/task");
    EXPECT(dir != NULL);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        const unsigned tid = (unsigned)strtoul(entry->d_name, NULL, 10);
        if (tid == 0 || tid == (unsigned)getpid())
            continue;
        struct background found = {.tid = tid};
        read_status(&found);
        if (strncmp(found.name, "larder", 6) == 0)
            *thread = found;
    }
    closedir(dir);
    return thread->tid != 0;
}

START_TEST(test_signals__background_thread_blocks_all) {
    struct background thread = {.tid = 0};
    EXPECT(test_wait_until(find_background, &thread, 10000));
    for (int sig = 1; sig <= SIGRTMAX; sig++) {
        // Not blockable: kill, stop; the C library's own: cancel, setxid.
        if (sig == SIGKILL || sig == SIGSTOP || sig == 32 || sig == 33)
            continue;
        if ((thread.blocked >> (sig - 1) & 1) == 0)
            test_fail(__FILE__, __LINE__, "signal %d is not blocked in thread %s", sig,
                      thread.name);
    }
}
END_TEST

// With SIGUSR1 blocked in the program, one sent to the process stays pending: no thread of ours
// takes it.
START_TEST(test_signals__sent_to_the_process_wait_for_the_program) {
    struct background thread = {.tid = 0};
    EXPECT(test_wait_until(find_background, &thread, 10000));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    EXPECT_INT(pthread_sigmask(SIG_BLOCK, &set, NULL), ==, 0);
    for (unsigned i = 0; i < 100; i++) {
        EXPECT_INT(kill(getpid(), SIGUSR1), ==, 0);
        const struct timespec limit = {.tv_sec = 5};
        EXPECT_INT(sigtimedwait(&set, NULL, &limit), ==, SIGUSR1);
    }
}
END_TEST

static atomic_uint interruptions; // lock-free, and handlers run on several threads

static void handler(int sig) {
    (void)sig;
    volatile char stack[2000];
    for (unsigned i = 0; i < sizeof stack; i++)
        stack[i] = (char)0xee;
    atomic_fetch_add(&interruptions, 1);
}

static void allocate_verified(struct test_worker *worker) {
    enum { LIVE = 300 };
    char *blocks[LIVE] = {NULL};
    size_t sizes[LIVE] = {0};
    struct test_rng rng = {worker->seed};
    const uint64_t end = test_now_ms() + 1000;
    while (test_now_ms() < end) {
        for (unsigned round = 0; round < 200; round++) {
            const unsigned i = (unsigned)test_rng_below(&rng, LIVE);
            if (blocks[i] != NULL)
                EXPECT_FILLED(blocks[i], sizes[i], i);
            larder_free(blocks[i]);
            sizes[i] = test_rng_size(&rng, 9000);
            blocks[i] = larder_malloc(sizes[i]);
            EXPECT(blocks[i] != NULL);
            test_fill(blocks[i], sizes[i], i);
        }
    }
    for (unsigned i = 0; i < LIVE; i++)
        larder_free(blocks[i]);
}

START_TEST(test_signals__handlers_interrupt_allocation) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    EXPECT_INT(sigaction(SIGPROF, &action, NULL), ==, 0);
    const struct itimerval often = {{0, 300}, {0, 300}}; // of CPU time, as fast as the kernel ticks
    EXPECT_INT(setitimer(ITIMER_PROF, &often, NULL), ==, 0);
    test_crew_run(3, allocate_verified, NULL);
    const struct itimerval never = {.it_value = {0, 0}};
    EXPECT_INT(setitimer(ITIMER_PROF, &never, NULL), ==, 0);
    EXPECT_UINT(atomic_load(&interruptions), >, 20);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("signals");
    test_add(suite, test_signals__background_thread_blocks_all);
    test_add(suite, test_signals__sent_to_the_process_wait_for_the_program);
    test_add(suite, test_signals__handlers_interrupt_allocation);
    return suite;
}
