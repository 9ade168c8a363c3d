// SPDX-License-Identifier: Apache-2.0
// larder set and larder trim: what changes a running process.
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "conf/option_table.h"
#include "tool/arguments.h"
#include "tool/page.h"
#include "tool/proc.h"
#include "tool/tool.h"

static struct page_view view;

static const struct lr_report_option *find_option(const char *name) {
    for (unsigned i = 0; i < view.report.option_count; i++) {
        if (strcmp(view.options[i].name, name) == 0) {
            return &view.options[i];
        }
    }
    return NULL;
}

// What the process has, which may be of another version.
static const char *name_at(unsigned i) { return view.options[i].name; }

static int say_unknown(const struct page_link *link, const char *name) {
    lr_tool_error("process %d has no option '%s'%s; nothing was set", (int)link->pid, name,
                  lr_tool_nearest(name, name_at, view.report.option_count));
    return TOOL_FAILED;
}

static int say_refusal(pid_t pid, const char *name, const char *value, int result) {
    const struct lr_report_option *option = find_option(name);
    switch (result) {
    case -ENOENT:
        lr_tool_error("process %d has no option '%s'", (int)pid, name);
        break;
    case -EPERM:
        lr_tool_error("option %s is read at the start of a process only", name);
        break;
    case -ERANGE:
    case -EINVAL:
        lr_tool_error("option %s cannot be '%s'; accepted: %s", name, value,
                      option != NULL ? option->range : "?");
        break;
    default:
        lr_tool_error("process %d refuses: %s", (int)pid, strerror(-result));
        break;
    }
    return TOOL_FAILED;
}

static int say_silence(pid_t pid, int error) {
    lr_tool_error("process %d does not answer: %s", (int)pid,
                  lr_proc_is_stopped(pid) ? "it is stopped (kill -CONT lets it go on)"
                                          : strerror(error));
    return TOOL_FAILED;
}

static int ask(const struct page_link *link, enum larder_page_command_kind kind, const char *name,
               const char *value, struct page_answer *answer) {
    const int error = lr_page_ask(link, kind, name, value, answer);
    if (error != 0) {
        return say_silence(link->pid, -error);
    }
    return TOOL_OK;
}

// A limit that is exceeded already is accepted: it says so.
static void warn_of_limit(pid_t pid, const char *name, const char *wanted) {
    uint64_t limit = 0;
    const uint64_t held = view.report.stats.held_bytes;
    if (strcmp(name, "heap_limit") == 0 &&
        lr_option_read(LR_OPTION_heap_limit, wanted, &limit) == LR_OPTION_GOOD && limit != 0 &&
        limit < held) {
        char text[32];
        struct lr_print p;
        lr_print_init(&p, text, sizeof text, -1);
        lr_print_bytes(&p, held);
        lr_tool_error("process %d holds %s, more than heap_limit: requests that need more memory "
                      "fail from now on",
                      (int)pid, text);
    }
}

static int read_view(const struct page_link *link) {
    const char *wrong = lr_page_read(link, &view);
    if (wrong != NULL) {
        lr_tool_error("process %d: its page is not usable: %s", (int)link->pid, wrong);
        return TOOL_FAILED;
    }
    return TOOL_OK;
}

// Before anything is changed. What only the process knows, which values it accepts, it says later.
static int check_one(const struct page_link *link, const char *assignment) {
    char name[ARGUMENT_OPTION_BYTES];
    const char *value = lr_argument_option(assignment, name);
    if (find_option(name) == NULL) {
        return say_unknown(link, name);
    }
    if (strcmp(name, "scavenger") == 0 && strcmp(value, "thread") != 0) {
        lr_tool_error("scavenger=%s would end the thread that answers this command; set "
                      "LARDER_SCAVENGER when the process starts; nothing was set",
                      value);
        return TOOL_FAILED;
    }
    return TOOL_OK;
}

static int set_one(const struct page_link *link, const char *assignment, bool json) {
    char name[ARGUMENT_OPTION_BYTES];
    struct page_answer answer;
    const char *wanted = lr_argument_option(assignment, name);
    int status = ask(link, LARDER_PAGE_SET, name, wanted, &answer);
    if (status == TOOL_OK) {
        status = read_view(link);
    }
    if (status != TOOL_OK) {
        return status;
    }
    if (answer.result != 0) {
        return say_refusal(link->pid, name, wanted, answer.result);
    }
    const struct lr_report_option *option = find_option(name);
    const char *value = option != NULL ? option->value : wanted;
    if (json) {
        char quoted[2 * sizeof view.options[0].value];
        struct lr_print p;
        lr_print_init(&p, quoted, sizeof quoted, -1);
        lr_report_quote(&p, value);
        printf("{\"option\": \"%s\", \"value\": %s}\n", name, quoted);
    } else {
        printf("%s = %s\n", name, value);
    }
    warn_of_limit(link->pid, name, wanted);
    return TOOL_OK;
}

int lr_cmd_set(int argc, char **argv) {
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    struct page_link link;
    pid_t pid;
    bool json = false;
    for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (letter != 'j') {
            return lr_tool_misused("set");
        }
        json = true;
    }
    if (argc - optind < 2 || !lr_argument_pid(argv[optind], &pid)) {
        return lr_tool_usage("set", "set takes a process id and what to set");
    }
    for (int i = optind + 1; i < argc; i++) {
        char name[ARGUMENT_OPTION_BYTES];
        if (lr_argument_option(argv[i], name) == NULL) {
            return lr_tool_usage("set", "'%s' is not NAME=VALUE", argv[i]);
        }
    }
    int status = lr_page_open(pid, &link, false);
    if (status != TOOL_OK) {
        return status;
    }
    status = lr_page_look(&link, &view);
    if (status == TOOL_OK && view.stale) {
        status = TOOL_FAILED;
    }
    for (int i = optind + 1; i < argc && status == TOOL_OK; i++) {
        status = check_one(&link, argv[i]);
    }
    for (int i = optind + 1; i < argc && status == TOOL_OK; i++) {
        status = set_one(&link, argv[i], json);
    }
    lr_page_close(&link);
    return status;
}

int lr_cmd_trim(int argc, char **argv) {
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    struct page_link link;
    struct page_answer answer;
    pid_t pid;
    bool json = false;
    for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (letter != 'j') {
            return lr_tool_misused("trim");
        }
        json = true;
    }
    if (argc - optind != 1 || !lr_argument_pid(argv[optind], &pid)) {
        return lr_tool_usage("trim", "trim takes one process id");
    }
    int status = lr_page_open(pid, &link, false);
    if (status != TOOL_OK) {
        return status;
    }
    // It would do what it is asked for now when it goes on, perhaps much later.
    status = lr_proc_is_stopped(pid) ? say_silence(pid, ETIMEDOUT)
                                     : ask(&link, LARDER_PAGE_TRIM, "", "", &answer);
    if (status == TOOL_OK && answer.result != 0) {
        status = say_refusal(pid, "", "", answer.result);
    } else if (status == TOOL_OK) {
        printf(json ? "{\"returned_bytes\": %ju}\n" : "%ju bytes returned to the system\n",
               (uintmax_t)answer.number);
    }
    lr_page_close(&link);
    return status;
}
