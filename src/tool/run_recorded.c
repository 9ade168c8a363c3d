// SPDX-License-Identifier: Apache-2.0
#include "tool/run_recorded.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tool/tool.h"
#include "tool/trace_record.h"

enum { LOOK_NS = 1000000, BY_SIGNAL = 128 };

static volatile sig_atomic_t child;

// The terminal sends its signals to the program too; others mean the program.
static void pass_on(int signal_number) { (void)kill((pid_t)child, signal_number); }

static int status_of(int waited) {
    return WIFSIGNALED(waited) ? BY_SIGNAL + WTERMSIG(waited) : WEXITSTATUS(waited);
}

static int record(struct trace_recorder *recorder) {
    const struct timespec pause = {.tv_nsec = LOOK_NS};
    int waited = 0;
    for (;;) {
        const bool moved = lr_trace_record_move(recorder, false);
        const pid_t ended = waitpid((pid_t)child, &waited, WNOHANG);
        if (ended == (pid_t)child || (ended < 0 && errno != EINTR)) {
            return status_of(waited);
        }
        if (!moved) {
            (void)nanosleep(&pause, NULL);
        }
    }
}

int lr_run_recorded(const char *path, const char *name, int (*execute)(void *context),
                    void *context) {
    struct trace_recorder recorder;
    char number[16];
    if (!lr_trace_record_create(&recorder)) {
        return TOOL_FAILED;
    }
    snprintf(number, sizeof number, "%d", recorder.fd);
    const pid_t pid = setenv("LARDER_TRACE_FD", number, 1) == 0 ? fork() : -1;
    if (pid == 0) {
        _exit(execute(context));
    }
    if (pid < 0 || !lr_trace_record_open(&recorder, path, pid, name)) {
        if (pid < 0) {
            lr_tool_error("cannot start '%s': %s", name, strerror(errno));
        } else {
            kill(pid, SIGKILL);
            (void)waitpid(pid, NULL, 0);
        }
        lr_trace_record_drop(&recorder);
        return TOOL_FAILED;
    }
    child = pid;
    const struct sigaction pass = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGTERM, &pass, NULL);
    sigaction(SIGHUP, &pass, NULL);
    sigaction(SIGINT, &ignore, NULL);
    sigaction(SIGQUIT, &ignore, NULL);
    const int status = record(&recorder);
    return lr_trace_record_close(&recorder) ? status : TOOL_FAILED;
}
