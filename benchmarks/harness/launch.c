// SPDX-License-Identifier: Apache-2.0
// Runs a program and tells what it and its children have used.
//
//     launch <report> <library> <program> [argument...]
//
// <library> is preloaded into the program and not into this one; empty means none. The report is
// one line of key=value pairs in the file of that name. Peak memory is that of the largest process;
// the rest is summed over all that were waited for. The status is that of the program, 128 and the
// number of a signal if that has ended it, or 127 if it could not be started.
//
// The counts that the kernel keeps for a process are handed on by exec, so that a program started
// by a large one seems to have been as large. This one is small, and that is what it is for.

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double seconds_of(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static _Noreturn void become(const char *library, char **command) {
    // Whoever kills the launcher means the program.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (library[0] != '\0')
        setenv("LD_PRELOAD", library, 1);
    else
        unsetenv("LD_PRELOAD");
    execvp(command[0], command);
    perror(command[0]);
    _exit(127);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: launch <report> <library> <program> [argument...]\n");
        return 2;
    }
    FILE *report = fopen(argv[1], "we");
    if (report == NULL) {
        perror(argv[1]);
        return 2;
    }
    const double start = now_seconds();
    const pid_t child = fork();
    if (child == 0)
        become(argv[2], argv + 3);
    int status = 0;
    struct rusage usage;
    if (child < 0 || wait4(child, &status, 0, &usage) != child) {
        perror("launch");
        return 2;
    }
    const double seconds = now_seconds() - start;
    const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    fprintf(report,
            "seconds=%.6f user_s=%.6f sys_s=%.6f peak_rss_kib=%ld minor_faults=%ld "
            "major_faults=%ld\n",
            seconds, seconds_of(usage.ru_utime), seconds_of(usage.ru_stime), usage.ru_maxrss,
            usage.ru_minflt, usage.ru_majflt);
    return fclose(report) == 0 ? code : 2;
}
