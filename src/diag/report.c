// SPDX-License-Identifier: Apache-2.0
#include "diag/report.h"

#include "diag/stats_text.h"
#include "os/os.h"

enum { PAGE_BYTES = 1024 }; // of one write; the caller may have a small stack

static bool own_fills(const struct lr_report *report, unsigned i, struct larder_span_fills *out) {
    (void)report;
    return lr_stats_fills(i, out);
}

static bool own_latency(const struct lr_report *report, unsigned i,
                        struct larder_latency_stats *out) {
    (void)report;
    return lr_stats_latency(i, out);
}

void lr_report_gather_with(struct lr_report *out, uint64_t resident_bytes) {
    out->version = larder_version();
    out->process_id = 0;
    out->fills = own_fills;
    out->latency = own_latency;
    out->class_count = LR_CLASS_COUNT - 1;
    out->labels = NULL;
    out->thread_count = 0;
    out->option_count = 0;
    out->threads = NULL;
    out->options = NULL;
    out->options_json = NULL;
    out->lock_count = 0;
    while (out->lock_count < LR_REPORT_LOCKS &&
           lr_stats_lock(out->lock_count, &out->locks[out->lock_count])) {
        out->lock_count++;
    }
    lr_stats_collect_from(&out->stats, out->classes,
                          &(struct lr_stats_known){.resident_bytes = resident_bytes,
                                                   .locks = out->locks,
                                                   .lock_count = out->lock_count});
}

void lr_report_gather(struct lr_report *out) {
    lr_report_gather_with(out, lr_os_resident_bytes());
    out->process_id = lr_os_process_id();
}

int lr_report_print(int fd, enum larder_format format) {
    char buffer[PAGE_BYTES];
    char command[LR_OS_COMMAND_BYTES];
    struct lr_print p;
    struct lr_report report;
    lr_report_gather(&report);
    lr_print_init(&p, buffer, sizeof buffer, fd);
    switch (format) {
    case LARDER_FORMAT_JSON:
        lr_report_json(&p, &report);
        break;
    case LARDER_FORMAT_OPENMETRICS:
    case LARDER_FORMAT_PROMETHEUS:
        lr_report_metrics(&p, &report, format == LARDER_FORMAT_OPENMETRICS);
        break;
    default:
        lr_os_command(command);
        lr_print_f(&p, "larder %s: statistics of process %u (%s), thread %u\n", report.version,
                   report.process_id, command, lr_os_thread_id());
        lr_stats_text(&p, &report);
        break;
    }
    return lr_print_flush(&p);
}
