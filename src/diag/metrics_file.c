// SPDX-License-Identifier: Apache-2.0
// A collector may read at any moment, so a file beside is written and put in the place of the last
// one. That it is made anew and no link is followed keeps others from leading the write elsewhere
// where the folder is open to them.
#include "diag/metrics_file.h"

#include <errno.h>

#include "conf/options.h"
#include "diag/report.h"
#include "os/os.h"

enum {
    NAME_BYTES = LR_OPTION_TEXT_BYTES + 64, // room for some %p
    PAGE_BYTES = 1024,
};

enum state { IDLE, WRITING, ENDED };

static struct {
    uint64_t written_ns; // scavenger thread only; 0: never
    uint32_t process_id; // that wrote it, 0: none; ordered by `state`
    bool complained;     // scavenger thread only
    bool is_child;       // set before other threads exist
    atomic_u32 state;    // enum state
} file;

// The option with the process id in the place of each %p; false if that is too long. *unique: it
// has one.
static bool make_name(char name[NAME_BYTES], const char *end, bool *unique) {
    struct lr_print p;
    lr_print_init(&p, name, NAME_BYTES, -1);
    *unique = false;
    for (const char *s = lr_options_text(LR_OPTION_metrics_file); *s != '\0'; s++) {
        if (s[0] == '%' && s[1] == 'p') {
            lr_print_u64(&p, lr_os_process_id());
            *unique = true;
            s++;
        } else {
            lr_print_char(&p, *s);
        }
    }
    lr_print_str(&p, end);
    return !p.truncated;
}

static bool is_wanted(void) {
    char name[NAME_BYTES];
    bool unique;
    return lr_opt_metrics_file() != 0 && lr_load_relaxed(&file.state) != ENDED &&
           make_name(name, "", &unique) && (unique || !file.is_child);
}

uint64_t lr_metrics_file_due_ns(void) {
    if (!is_wanted()) {
        return UINT64_MAX;
    }
    return file.written_ns == 0 ? 0
                                : file.written_ns + lr_opt_metrics_seconds() * UINT64_C(1000000000);
}

static int print_into(int fd) {
    char buffer[PAGE_BYTES];
    char command[LR_OS_COMMAND_BYTES];
    char labels[64 + 2 * LR_OS_COMMAND_BYTES];
    struct lr_print p;
    struct lr_report report;
    lr_report_gather(&report);
    lr_os_command(command);
    lr_print_init(&p, labels, sizeof labels, -1);
    lr_print_f(&p, "pid=\"%u\",command=", report.process_id);
    lr_report_quote(&p, command);
    report.labels = labels;
    lr_print_init(&p, buffer, sizeof buffer, fd);
    lr_report_metrics(&p, &report, false);
    return lr_print_flush(&p);
}

static int write_file(void) {
    char name[NAME_BYTES];
    char other[NAME_BYTES];
    char end[24];
    bool unique;
    struct lr_print p;
    lr_print_init(&p, end, sizeof end, -1);
    lr_print_f(&p, ".%u", lr_os_process_id());
    if (!make_name(name, "", &unique) || !make_name(other, end, &unique)) {
        return -ENAMETOOLONG;
    }
    const int fd = lr_os_file_begin(other);
    if (fd < 0) {
        return fd;
    }
    const int error = print_into(fd);
    lr_os_close(fd);
    return error == 0 ? lr_os_file_replace(name, other) : (lr_os_file_remove(other), error);
}

static void complain(int error) {
    const char *why = error == -ENOENT                       ? "there is no such folder"
                      : error == -EACCES || error == -EPERM  ? "not permitted"
                      : error == -EROFS                      ? "the file system is read-only"
                      : error == -ENOSPC || error == -EDQUOT ? "no space is left"
                                                             : "see <errno.h>";
    lr_print_line(
        "larder: cannot write LARDER_METRICS_FILE=\"%s\": %s (error %d); tried again every "
        "%lu s\n",
        lr_options_text(LR_OPTION_metrics_file), why, -error, lr_opt_metrics_seconds());
}

void lr_metrics_file_serve(void) {
    const uint64_t now = lr_os_now_ns();
    uint32_t idle = IDLE;
    if (lr_metrics_file_due_ns() > now || !lr_cas_acq_rel(&file.state, &idle, WRITING)) {
        return;
    }
    file.written_ns = now;
    const int error = write_file();
    if (error == 0) {
        file.process_id = lr_os_process_id();
    } else if (!file.complained) {
        file.complained = true;
        complain(error);
    }
    uint32_t writing = WRITING;
    if (!lr_cas_acq_rel(&file.state, &writing, IDLE)) {
        lr_metrics_file_end(); // the process has begun to end meanwhile
    }
}

void lr_metrics_file_after_fork_child(void) {
    file.is_child = true;
    file.written_ns = 0;
    file.process_id = 0;
    lr_store_relaxed(&file.state, IDLE);
}

void lr_metrics_file_end(void) {
    char name[NAME_BYTES];
    bool unique;
    // Whoever is writing does this again when it is done.
    const uint32_t before = lr_exchange_acq_rel(&file.state, ENDED);
    if (before != WRITING && file.process_id == lr_os_process_id() &&
        make_name(name, "", &unique)) {
        lr_os_file_remove(name);
    }
}
