// SPDX-License-Identifier: Apache-2.0
//
// Children of tests: see child.h.
#define _GNU_SOURCE 1

#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

static bool in_child;

bool test_child_is_current(void) { return in_child; }

void test_child_mark_current(void) {
    in_child = true;
    // Check's own handlers, which the child inherits, would kill the test instead of this child.
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
}

// In a build that counts coverage what a child runs counts too, also when abort() ends it.
#if LARDER_COVERAGE
void __gcov_dump(void);

static void dump_and_end(int number) {
    __gcov_dump();
    signal(number, SIG_DFL);
    raise(number);
}

static void count_when_aborted(void) { signal(SIGABRT, dump_and_end); }
static void count(void) { __gcov_dump(); }
#else
static void count_when_aborted(void) {}
static void count(void) {}
#endif

static _Noreturn void run_child(const int err_pipe[2], void (*body)(void *), void *arg) {
    test_child_mark_current();
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(err_pipe[1], STDERR_FILENO);
    close(err_pipe[0]);
    close(err_pipe[1]);
    count_when_aborted();
    body(arg);
    count();
    _exit(0);
}

// Keeps the first bytes of the child's stderr and reads the rest away.
static void drain(int fd, char *text, size_t capacity, size_t *used) {
    char spare[512];
    for (;;) {
        const size_t room = capacity - 1 - *used;
        const ssize_t got = room > 0 ? read(fd, text + *used, room) : read(fd, spare, sizeof spare);
        if (got <= 0)
            return;
        if (room > 0)
            *used += (size_t)got;
    }
}

void test_child_run(struct test_child *out, unsigned seconds, void (*body)(void *), void *arg) {
    int err_pipe[2];
    EXPECT_INT(pipe2(err_pipe, O_CLOEXEC), ==, 0);
    const pid_t pid = fork();
    EXPECT_INT(pid, >=, 0);
    if (pid == 0)
        run_child(err_pipe, body, arg);
    close(err_pipe[1]);
    fcntl(err_pipe[0], F_SETFL, O_NONBLOCK);

    *out = (struct test_child){.status = 0};
    size_t used = 0;
    const uint64_t scale = TEST_UNDER_ASAN || TEST_UNDER_TSAN ? 4 : 1;
    const uint64_t end = test_now_ms() + seconds * scale * 1000;
    for (;;) {
        struct pollfd readable = {.fd = err_pipe[0], .events = POLLIN};
        poll(&readable, 1, 5);
        drain(err_pipe[0], out->err, sizeof out->err, &used);
        if ((readable.revents & POLLHUP) != 0)
            test_sleep_ms(1);
        const pid_t ended = waitpid(pid, &out->status, WNOHANG);
        EXPECT_INT(ended, >=, 0);
        if (ended == pid)
            break;
        if (test_now_ms() >= end && !out->timed_out) {
            out->timed_out = true;
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL);
        }
    }
    drain(err_pipe[0], out->err, sizeof out->err, &used);
    out->err[used] = '\0';
    close(err_pipe[0]);
}

static const char *how_it_ended(const struct test_child *child) {
    if (child->timed_out)
        return "was killed at its deadline; code";
    return WIFSIGNALED(child->status) ? "ended by signal" : "exited with";
}

static int code_of(const struct test_child *child) {
    return WIFSIGNALED(child->status) ? WTERMSIG(child->status) : WEXITSTATUS(child->status);
}

void test_child_check_exit(const char *file, int line, const struct test_child *child, int code) {
    if (child->timed_out || !WIFEXITED(child->status) || WEXITSTATUS(child->status) != code)
        test_fail(file, line, "expected exit %d; the child %s %d; its stderr: %s", code,
                  how_it_ended(child), code_of(child), child->err);
}

void test_child_check_signal(const char *file, int line, const struct test_child *child, int sig) {
    if (child->timed_out || !WIFSIGNALED(child->status) || WTERMSIG(child->status) != sig)
        test_fail(file, line, "expected signal %d; the child %s %d; its stderr: %s", sig,
                  how_it_ended(child), code_of(child), child->err);
}

bool test_child_skipped(const struct test_child *child) {
    return WIFEXITED(child->status) && WEXITSTATUS(child->status) == TEST_CHILD_SKIP;
}
