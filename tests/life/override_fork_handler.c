// SPDX-License-Identifier: Apache-2.0
//
// A signal handler that forks, as those do that start a debugger or a helper after a crash, while
// the thread that it interrupts is in the middle of malloc and holds its locks, or of fork() in a
// process with several threads. The child execs or ends; it does not allocate.
#define _GNU_SOURCE 1

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "../support/plain.h"

enum { BLOCKS = 2000, BYTES_MAX = 40000, FORKS = 300, PERIOD_US = 700, MOST_SECONDS = 60 };

static atomic_int forks;

static void finish(pid_t pid) {
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(17);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 17);
}

static void fork_and_wait(int signal) {
    const int saved_errno = errno;
    (void)signal;
    const pid_t pid = fork();
    finish(pid);
    atomic_fetch_add(&forks, 1);
    errno = saved_errno;
}

// Nearly all calls miss the thread's cache: what is allocated is more than it keeps.
static void fill_and_free(unsigned round) {
    static char *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        const size_t bytes = 1 + (i * 7919 + round * 104729) % BYTES_MAX;
        blocks[i] = malloc(i % 100 == 0 ? 50 * bytes : bytes);
        CHECK(blocks[i] != NULL);
        blocks[i][0] = (char)i;
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        CHECK(blocks[i][0] == (char)i);
        free(blocks[i]);
    }
}

static void while_in_malloc(void) {
    const struct itimerval often = {{0, PERIOD_US}, {0, PERIOD_US}};
    CHECK(setitimer(ITIMER_VIRTUAL, &often, NULL) == 0);
    for (unsigned round = 0; atomic_load(&forks) < FORKS; round++)
        fill_and_free(round);
    const struct itimerval never = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_VIRTUAL, &never, NULL) == 0);
}

static atomic_bool is_forking;
static atomic_bool is_done;

static void *disturb(void *main_thread) {
    while (!atomic_load(&is_done)) {
        if (atomic_exchange(&is_forking, false))
            CHECK(pthread_kill(*(pthread_t *)main_thread, SIGVTALRM) == 0);
    }
    return NULL;
}

static void while_in_fork(void) {
    pthread_t self = pthread_self();
    pthread_t other;
    CHECK(pthread_create(&other, NULL, disturb, &self) == 0);
    sigset_t all_but_one;
    sigfillset(&all_but_one);
    sigdelset(&all_but_one, SIGVTALRM);
    sigset_t before;
    CHECK(pthread_sigmask(SIG_SETMASK, &all_but_one, &before) == 0);
    for (int i = 0; i < FORKS; i++) {
        atomic_store(&is_forking, true);
        finish(fork());
    }
    sigset_t after;
    CHECK(pthread_sigmask(SIG_SETMASK, &before, &after) == 0);
    for (int i = 1; i <= SIGRTMAX; i++)
        CHECK(sigismember(&after, i) == sigismember(&all_but_one, i) || i == SIGKILL ||
              i == SIGSTOP);
    atomic_store(&is_done, true);
    CHECK(pthread_join(other, NULL) == 0);
}

int main(void) {
    plain_require_larder();
    alarm(MOST_SECONDS); // ends a deadlock
    struct sigaction action = {.sa_handler = fork_and_wait, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGVTALRM, &action, NULL) == 0);
    while_in_malloc();
    while_in_fork();
    return 0;
}
