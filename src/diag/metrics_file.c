// SPDX-License-Identifier: Apache-2.0
#include "diag/metrics_file.h"

#include "diag/own_file.h"
#include "diag/report.h"
#include "os/os.h"

enum { PAGE_BYTES = 1024 };

enum state { IDLE, WRITING, ENDED };

static struct {
    uint64_t written_ns; // scavenger thread only; 0: never
    uint32_t process_id; // that wrote it, 0: none; ordered by `state`
    bool complained;     // scavenger thread only
    bool is_child;       // set before other threads exist
    atomic_u32 state;    // enum state
} file;

static bool is_wanted(void) {
    char name[LR_OWN_FILE_BYTES];
    bool unique;
    return lr_opt_metrics_file() != 0 && lr_load_relaxed(&file.state) != ENDED &&
           lr_own_file_name(LR_OPTION_metrics_file, "", name, &unique) &&
           (unique || !file.is_child);
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

static void complain(int error) {
    char text[64];
    struct lr_print p;
    lr_print_init(&p, text, sizeof text, -1);
    lr_print_f(&p, "tried again every %lu s", lr_opt_metrics_seconds());
    lr_own_file_complain(LR_OPTION_metrics_file, error, text);
}

void lr_metrics_file_serve(void) {
    const uint64_t now = lr_os_now_ns();
    uint32_t idle = IDLE;
    if (lr_metrics_file_due_ns() > now || !lr_cas_acq_rel(&file.state, &idle, WRITING)) {
        return;
    }
    file.written_ns = now;
    const int error = lr_own_file_write(LR_OPTION_metrics_file, print_into);
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
    char name[LR_OWN_FILE_BYTES];
    bool unique;
    // Whoever is writing does this again when it is done.
    const uint32_t before = lr_exchange_acq_rel(&file.state, ENDED);
    if (before != WRITING && file.process_id == lr_os_process_id() &&
        lr_own_file_name(LR_OPTION_metrics_file, "", name, &unique)) {
        lr_os_file_remove(name);
    }
}
