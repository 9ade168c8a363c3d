// SPDX-License-Identifier: Apache-2.0
// larder trace: records what a running process asks of its heap.
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool/arguments.h"
#include "tool/page.h"
#include "tool/proc.h"
#include "tool/tool.h"
#include "tool/trace_record.h"

enum { LOOK_NS = 1000000 }; // between looks at an idle process

static volatile sig_atomic_t interrupted;
static void interrupt(int signal_number) { interrupted = signal_number; }

static double seconds_since(const struct timespec *begin) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - begin->tv_sec) + (double)(now.tv_nsec - begin->tv_nsec) / 1e9;
}

// Until the time is over, the process ends, or we are interrupted.
static void record(struct trace_recorder *recorder, pid_t pid, double seconds) {
    const struct timespec pause = {.tv_nsec = LOOK_NS};
    struct timespec begin;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    while (interrupted == 0 && (seconds <= 0 || seconds_since(&begin) < seconds) &&
           lr_proc_uses_larder(pid)) {
        // A process can be looked for now and then.
        for (int i = 0; i < 100 && interrupted == 0; i++) {
            if (!lr_trace_record_move(recorder, false)) {
                (void)nanosleep(&pause, NULL);
            }
            if (seconds > 0 && seconds_since(&begin) >= seconds) {
                break;
            }
        }
    }
}

static int say(pid_t pid, int error) {
    if (error == -EBUSY) {
        lr_tool_error("process %d is being recorded already", (int)pid);
    } else if (error == -EBADF) {
        lr_tool_error(
            "process %d has closed the file of its first recording; there can be no other",
            (int)pid);
    } else {
        lr_tool_error("process %d cannot be recorded: %s", (int)pid, strerror(-error));
    }
    return TOOL_FAILED;
}

static int trace(const struct page_link *link, const char *memory, const char *path,
                 double seconds) {
    struct trace_recorder recorder;
    struct page_answer answer;
    char name[32];
    // It would begin when it goes on, with nobody to read what it writes.
    if (lr_proc_is_stopped(link->pid)) {
        lr_tool_error("process %d cannot be recorded: it is stopped (kill -CONT lets it go on)",
                      (int)link->pid);
        return TOOL_FAILED;
    }
    int error = lr_page_ask(link, LARDER_PAGE_TRACE, "", memory, &answer);
    if (error != 0 || answer.result != 0) {
        return say(link->pid, error != 0 ? error : answer.result);
    }
    lr_proc_name(link->pid, name, sizeof name);
    bool good = lr_trace_record_attach(&recorder, link->pid, answer.number);
    const bool attached = good;
    good = good && lr_trace_record_open(&recorder, path, link->pid, name);
    if (good) {
        record(&recorder, link->pid, seconds);
    }
    error = lr_page_ask(link, LARDER_PAGE_TRACE_END, "", "", &answer);
    if (error != 0 && lr_proc_uses_larder(link->pid)) {
        lr_tool_error("process %d does not answer (%s): it ends the recording by itself later",
                      (int)link->pid, strerror(-error));
    }
    if (good) {
        good = lr_trace_record_close(&recorder);
    } else if (attached) {
        lr_trace_record_drop(&recorder);
    }
    return good ? TOOL_OK : TOOL_FAILED;
}

int lr_cmd_trace(int argc, char **argv) {
    static const struct option options[] = {{"output", required_argument, NULL, 'o'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"memory", required_argument, NULL, 'm'},
                                            {NULL, 0, NULL, 0}};
    const char *path = NULL;
    const char *memory = "64M";
    double seconds = 0;
    pid_t pid;
    for (int letter; (letter = getopt_long(argc, argv, "o:", options, NULL)) != -1;) {
        if (letter == 'o') {
            path = optarg;
        } else if (letter == 'm') {
            memory = optarg;
        } else if (letter != 's') {
            return lr_tool_misused("trace");
        } else if (!lr_argument_seconds(optarg, &seconds)) {
            return lr_tool_usage("trace", "--seconds cannot be '%s'; accepted: above 0 to 86400",
                                 optarg);
        }
    }
    if (argc - optind != 1 || !lr_argument_pid(argv[optind], &pid) || path == NULL) {
        return lr_tool_usage("trace", "trace takes a process id, and a file after -o");
    }
    struct page_link link;
    int status = lr_page_open(pid, &link, false);
    if (status != TOOL_OK) {
        return status;
    }
    const struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    status = trace(&link, memory, path, seconds);
    lr_page_close(&link);
    return status;
}
