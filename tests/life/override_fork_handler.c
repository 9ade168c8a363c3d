// SPDX-License-Identifier: Apache-2.0
//
// A signal handler that forks, as those do that start a debugger or a helper after a crash, while
// the thread that it interrupts is in the middle of malloc and holds its locks. The child execs or
// ends; it does not allocate.
#define _GNU_SOURCE 1

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "../support/plain.h"

enum { BLOCKS = 2000, BYTES_MAX = 40000, FORKS = 300, PERIOD_US = 700, MOST_SECONDS = 60 };

static atomic_int forks;

static void fork_and_wait(int signal) {
    const int saved_errno = errno;
    (void)signal;
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(17);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 17);
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

int main(void) {
    plain_require_larder();
    alarm(MOST_SECONDS); // ends a deadlock
    struct sigaction action = {.sa_handler = fork_and_wait, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGVTALRM, &action, NULL) == 0);
    const struct itimerval often = {{0, PERIOD_US}, {0, PERIOD_US}};
    CHECK(setitimer(ITIMER_VIRTUAL, &often, NULL) == 0);
    for (unsigned round = 0; atomic_load(&forks) < FORKS; round++)
        fill_and_free(round);
    const struct itimerval never = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_VIRTUAL, &never, NULL) == 0);
    return 0;
}
