// SPDX-License-Identifier: Apache-2.0
// larder stat: the statistics of a running process.
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf/option_table.h"
#include "diag/stats_text.h"
#include "tool/arguments.h"
#include "tool/explain.h"
#include "tool/page.h"
#include "tool/tool.h"

#define FOLLOW_MOST 0.05 // seconds: intervals up to which figures may be so old

struct request {
    enum larder_format format;
    bool explain;
    bool formatted;  // `format` was asked for
    double interval; // seconds; 0: once
    uint64_t count;  // 0: for ever
};

static void print_threads(struct lr_print *p, const struct page_view *view) {
    static const char *const states[] = {"", "", "being emptied", "left by a fork"};
    lr_print_f(p, "threads with a cache: %u\n  %8s %-15s %11s %12s\n", view->threads_total, "id",
               "name", "in cache", "slow calls");
    for (unsigned i = 0; i < view->report.thread_count; i++) {
        const struct lr_report_thread *thread = &view->threads[i];
        char bytes[32];
        struct lr_print field;
        lr_print_init(&field, bytes, sizeof bytes, -1);
        lr_print_bytes(&field, thread->cache_bytes);
        lr_print_f(p, "  %8u %-15s %11s %12lu  %s\n", thread->thread_id, thread->name, bytes,
                   thread->slow_calls, thread->state < 4 ? states[thread->state] : "");
    }
}

// What was set back is at its default, too.
static bool is_default(const struct lr_report_option *option) {
    const enum lr_option_id id = lr_option_by_name(option->name);
    char value[64];
    struct lr_print p;
    if (id == LR_OPTION_COUNT) {
        return false;
    }
    lr_print_init(&p, value, sizeof value, -1);
    lr_option_print_value(&p, id, lr_option_row(id)->fallback);
    return strcmp(value, option->value) == 0;
}

static void print_options(struct lr_print *p, const struct page_view *view) {
    static const char *const origins[] = {"default", "environment", "set while it ran", "?"};
    lr_print_str(p, "options that are not at their default\n");
    for (unsigned i = 0; i < view->report.option_count; i++) {
        const struct lr_report_option *option = &view->options[i];
        if (option->origin != LARDER_PAGE_FROM_DEFAULT && !is_default(option)) {
            lr_print_f(p, "  %-22s %-16s %s\n", option->name, option->value,
                       origins[option->origin]);
        }
    }
}

// False, with a line said: it cannot be explained.
static bool format(struct lr_print *p, const struct page_link *link, const struct request *request,
                   const struct page_view *view) {
    struct proc_memory memory;
    const bool explain = request->explain;
    if (explain && !lr_proc_memory(link->pid, view->window_begin, view->window_end,
                                   view->pools_begin, view->pools_end, &memory)) {
        lr_tool_error("process %d: cannot read its smaps: %s", (int)link->pid, strerror(errno));
        return false;
    }
    switch (request->format) {
    case LARDER_FORMAT_JSON:
        if (explain) {
            lr_print_str(p, "{\"resident\": {");
            lr_explain_json(p, &memory);
            lr_print_str(p, "}, \"report\":\n");
        }
        lr_report_json(p, &view->report);
        lr_print_str(p, explain ? "}\n" : "");
        break;
    case LARDER_FORMAT_OPENMETRICS:
    case LARDER_FORMAT_PROMETHEUS:
        lr_report_metrics(p, &view->report, request->format == LARDER_FORMAT_OPENMETRICS);
        break;
    default: {
        char name[32];
        lr_proc_name(link->pid, name, sizeof name);
        lr_print_f(p, "larder %s: process %d (%s)\n", view->version, (int)link->pid, name);
        if (explain) {
            lr_explain_text(p, view, &memory);
        }
        lr_stats_text(p, &view->report);
        print_threads(p, view);
        print_options(p, view);
        break;
    }
    }
    return true;
}

static int print(const struct page_link *link, const struct request *request,
                 const struct page_view *view) {
    // Room for what any page says, so that it is one write, and another of the same page too.
    static char buffer[16 * LARDER_PAGE_BYTES];
    static size_t length;
    static char first; // of them; where no text waits there is a 0
    struct lr_print p;
    lr_print_init(&p, buffer, sizeof buffer, STDOUT_FILENO);
    if (view->same && !request->explain) {
        buffer[0] = first;
        p.len = length;
    } else if (!format(&p, link, request, view)) {
        return TOOL_FAILED;
    }
    length = p.len;
    first = buffer[0];
    const int error = lr_print_flush(&p);
    if (error != 0) {
        lr_tool_error("cannot write to standard output: %s", strerror(-error));
    }
    return error == 0 ? TOOL_OK : TOOL_FAILED;
}

static bool take_format(struct request *out, enum larder_format format) {
    const bool good = !out->formatted || out->format == format;
    out->formatted = true;
    out->format = format;
    return good;
}

// TOOL_OK, or TOOL_USAGE with a line said.
static int parse(int argc, char **argv, struct request *out) {
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"openmetrics", no_argument, NULL, 'o'},
        {"prometheus", no_argument, NULL, 'p'},
        {"explain", no_argument, NULL, 'e'},
        {"interval", required_argument, NULL, 'i'},
        {"count", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    bool one_format = true;
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 'j':
            one_format &= take_format(out, LARDER_FORMAT_JSON);
            break;
        case 'o':
            one_format &= take_format(out, LARDER_FORMAT_OPENMETRICS);
            break;
        case 'p':
            one_format &= take_format(out, LARDER_FORMAT_PROMETHEUS);
            break;
        case 'e':
            out->explain = true;
            break;
        case 'i':
            if (!lr_argument_seconds(optarg, &out->interval)) {
                return lr_tool_usage(
                    "stat", "--interval cannot be '%s'; accepted: seconds, above 0 to 86400",
                    optarg);
            }
            break;
        case 'c':
            if (!lr_argument_number(optarg, &out->count)) {
                return lr_tool_usage("stat", "--count cannot be '%s'", optarg);
            }
            break;
        default:
            return lr_tool_misused("stat");
        }
    }
    if (!one_format) {
        return lr_tool_usage("stat", "stat takes one of --json, --openmetrics and --prometheus");
    }
    return TOOL_OK;
}

static void pause_for(double seconds) {
    const struct timespec t = {.tv_sec = (time_t)seconds,
                               .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

int lr_cmd_stat(int argc, char **argv) {
    static struct page_view view;
    struct request request = {.format = LARDER_FORMAT_TEXT};
    struct page_link link;
    pid_t pid;
    int status = parse(argc, argv, &request);
    if (status != TOOL_OK) {
        return status;
    }
    if (optind != argc - 1 || !lr_argument_pid(argv[optind], &pid)) {
        return lr_tool_usage("stat", "stat takes one process id, a number as `larder ps` shows");
    }
    status = lr_page_open(pid, &link, false);
    if (status != TOOL_OK) {
        return status;
    }
    link.follow_us = request.interval <= FOLLOW_MOST ? (uint32_t)(request.interval * 1e6) : 0;
    for (uint64_t done = 0;; done++) {
        status = lr_page_look(&link, &view);
        if (status == TOOL_OK) {
            status = print(&link, &request, &view);
        }
        if (status != TOOL_OK || request.interval <= 0 || done + 1 == request.count) {
            break;
        }
        pause_for(request.interval);
    }
    lr_page_close(&link);
    return status == TOOL_OK && view.stale ? TOOL_FAILED : status;
}
