// SPDX-License-Identifier: Apache-2.0
#include "tool/profile_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf/option_table.h"
#include "tool/memory_file.h"
#include "tool/page.h"
#include "tool/tool.h"

#define SECONDS_OTHERWISE 10.0

static struct page_view view;

static const char *option_value(const char *name) {
    for (unsigned i = 0; i < view.report.option_count; i++) {
        if (strcmp(view.options[i].name, name) == 0) {
            return view.options[i].value;
        }
    }
    return NULL;
}

static int ask(const struct page_link *link, enum larder_page_command_kind kind, const char *name,
               const char *value, uint64_t *number) {
    struct page_answer answer;
    int error = lr_page_ask(link, kind, name, value, &answer);
    if (error != 0) {
        lr_tool_error("process %d does not answer: %s", (int)link->pid, strerror(-error));
        return TOOL_FAILED;
    }
    *number = answer.number;
    error = answer.result;
    if (error == 0) {
        return TOOL_OK;
    }
    if (kind == LARDER_PAGE_SET && (error == -ERANGE || error == -EINVAL)) {
        char range[64] = "?";
        struct lr_print p;
        const enum lr_option_id id = lr_option_by_name(name);
        if (id != LR_OPTION_COUNT) {
            lr_print_init(&p, range, sizeof range, -1);
            lr_option_print_range(&p, id);
        }
        lr_tool_error("process %d does not take %s=%s; accepted: %s", (int)link->pid, name, value,
                      range);
    } else if (kind == LARDER_PAGE_SET) {
        lr_tool_error("process %d does not take %s=%s: %s", (int)link->pid, name, value,
                      strerror(-error));
    } else {
        lr_tool_error("process %d cannot write a profile: %s", (int)link->pid, strerror(-error));
    }
    return TOOL_FAILED;
}

static int set(const struct page_link *link, const char *name, const char *value) {
    uint64_t number;
    return ask(link, LARDER_PAGE_SET, name, value, &number);
}

// "512 KiB", as the page shows a value, becomes "512K", as it is set.
static void write_back(const char *shown, char *out, size_t bytes) {
    const size_t digits = strspn(shown, "0123456789");
    const char *unit = shown + digits + strspn(shown + digits, " ");
    snprintf(out, bytes, "%.*s%.1s", (int)digits, shown, *unit == 'B' ? "" : unit);
}

static int take(const struct page_link *link, struct profile *out) {
    uint64_t number;
    char path[64];
    int status = ask(link, LARDER_PAGE_PROFILE, "", "", &number);
    if (status != TOOL_OK) {
        return status;
    }
    snprintf(path, sizeof path, "/proc/%d/fd/%u", (int)link->pid, (unsigned)number);
    const int fd = lr_memory_file_open(AT_FDCWD, path, "larder-profile", O_RDONLY);
    FILE *in = fd >= 0 ? fdopen(fd, "r") : NULL;
    const char *wrong = in != NULL ? lr_profile_read(in, out) : "it is no file in memory";
    if (in != NULL) {
        fclose(in);
    }
    uint64_t ignored;
    status = ask(link, LARDER_PAGE_PROFILE_END, "", "", &ignored);
    if (wrong != NULL) {
        lr_tool_error("cannot use the profile of process %d: %s", (int)link->pid, wrong);
        return TOOL_FAILED;
    }
    if (status != TOOL_OK) {
        lr_profile_free(out);
    }
    return status;
}

// Signals that end the sampling, not the command: what was switched on is switched off again.
static void hold_signals(sigset_t *held, sigset_t *before) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    sigemptyset(held);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction action;
        const bool known = sigaction(signals[i], NULL, &action) == 0;
        // nohup(1) means it; a shell that starts a command in the background does not.
        if (signals[i] == SIGINT || (known && action.sa_handler != SIG_IGN)) {
            sigaddset(held, signals[i]);
        }
    }
    sigprocmask(SIG_BLOCK, held, before);
}

static void wait_for(double seconds, const sigset_t *held) {
    struct timespec time = {.tv_sec = (time_t)seconds};
    time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
    (void)sigtimedwait(held, NULL, &time);
}

static int take_both(const struct page_link *link, double seconds, const sigset_t *held,
                     struct profile *out, struct profile *base) {
    if (seconds <= 0) {
        *base = (struct profile){0};
        return take(link, out);
    }
    int status = take(link, base);
    if (status == TOOL_OK) {
        wait_for(seconds, held);
        status = take(link, out);
        if (status != TOOL_OK) {
            lr_profile_free(base);
        }
    }
    return status;
}

// With sampling switched on for the time, unless it is already.
static int sample(const struct page_link *link, bool was_on, double seconds, const sigset_t *held,
                  struct profile *out, struct profile *base) {
    if (was_on) {
        return take_both(link, seconds, held, out, base);
    }
    int status = set(link, "profile", "1");
    if (status == TOOL_OK) {
        status = take_both(link, seconds > 0 ? seconds : SECONDS_OTHERWISE, held, out, base);
        if (set(link, "profile", "0") != TOOL_OK && status == TOOL_OK) {
            lr_profile_free(out);
            lr_profile_free(base);
            status = TOOL_FAILED;
        }
    }
    return status;
}

int lr_profile_fetch(pid_t pid, const char *interval, double seconds, struct profile *out,
                     struct profile *base) {
    struct page_link link;
    int status = lr_page_open(pid, &link, false);
    if (status != TOOL_OK) {
        return status;
    }
    status = lr_page_look(&link, &view);
    if (status == TOOL_OK && view.stale) {
        status = TOOL_FAILED;
    }
    const char *value = status == TOOL_OK ? option_value("profile") : NULL;
    const bool was_on = value != NULL && strcmp(value, "0") != 0;
    char interval_before[64] = "";
    sigset_t held;
    sigset_t signals_before;
    hold_signals(&held, &signals_before);
    if (status == TOOL_OK && interval != NULL && option_value("profile_interval") != NULL) {
        write_back(option_value("profile_interval"), interval_before, sizeof interval_before);
    }
    if (status == TOOL_OK && interval != NULL) {
        status = set(&link, "profile_interval", interval);
    }
    if (status == TOOL_OK) {
        status = sample(&link, was_on, seconds, &held, out, base);
        if (interval_before[0] != '\0' &&
            set(&link, "profile_interval", interval_before) != TOOL_OK && status == TOOL_OK) {
            lr_profile_free(out);
            lr_profile_free(base);
            status = TOOL_FAILED;
        }
    }
    lr_page_close(&link);
    sigprocmask(SIG_SETMASK, &signals_before, NULL);
    return status;
}
