// SPDX-License-Identifier: Apache-2.0
// Statistics for collectors of metrics. Each family is larder_<name of the figure>, with _total for
// counters and _ratio for shares; times are in seconds.
#include <string.h>

#include "diag/report.h"

struct family {
    const char *name; // without larder_ and _total
    const char *help;
    enum lr_stat_kind kind;
    enum lr_stat_unit unit;
};

static void print_name(struct lr_print *p, const struct family *family, bool total) {
    if (family->unit == LR_STAT_TIME_US) { // what stands before _us
        lr_print_f(p, "larder_%.*s_seconds", (int)strlen(family->name) - 3, family->name);
    } else {
        lr_print_f(p, "larder_%s", family->name);
    }
    if (family->unit == LR_STAT_PERMILLE) {
        lr_print_str(p, "_ratio");
    }
    if (total && family->kind == LR_STAT_COUNTER) {
        lr_print_str(p, "_total");
    }
}

static void print_head(struct lr_print *p, const struct family *family, bool open) {
    lr_print_str(p, "# HELP ");
    print_name(p, family, !open);
    lr_print_f(p, " %s\n# TYPE ", family->help);
    print_name(p, family, !open);
    lr_print_str(p, family->kind == LR_STAT_COUNTER ? " counter\n" : " gauge\n");
    if (open && (family->unit == LR_STAT_BYTES || family->unit == LR_STAT_TIME_US)) {
        lr_print_str(p, "# UNIT ");
        print_name(p, family, false);
        lr_print_str(p, family->unit == LR_STAT_BYTES ? " bytes\n" : " seconds\n");
    }
}

// What begins the labels of a sample that has some of its own.
static void begin_labels(struct lr_print *p, const struct lr_report *report) {
    lr_print_char(p, '{');
    if (report->labels != NULL) {
        lr_print_f(p, "%s,", report->labels);
    }
}

static void print_value(struct lr_print *p, const struct family *family, uint64_t value) {
    if (family->unit == LR_STAT_PERMILLE) {
        lr_print_f(p, " %lu.%03lu\n", value / 1000, value % 1000);
    } else if (family->unit == LR_STAT_TIME_US) {
        lr_print_f(p, " %lu.%06lu\n", value / 1000000, value % 1000000);
    } else {
        lr_print_f(p, " %lu\n", value);
    }
}

static void print_totals(struct lr_print *p, const struct lr_report *report, bool open) {
    for (enum lr_stat_id id = 0; id < LR_STAT_COUNT; id++) {
        const struct family family = {.name = lr_stat_name(id),
                                      .help = lr_stat_help(id),
                                      .kind = lr_stat_kind(id),
                                      .unit = lr_stat_unit(id)};
        print_head(p, &family, open);
        print_name(p, &family, true);
        if (report->labels != NULL) {
            lr_print_f(p, "{%s}", report->labels);
        }
        print_value(p, &family, lr_stat_value(&report->stats, id));
    }
}

// Where a class's blocks are; all samples of a family stand together.
static const struct class_family {
    struct family family;
    size_t field; // offset in struct larder_class_stats
} class_families[] = {
    {{"class_spans", "spans in use, by block size", LR_STAT_GAUGE, LR_STAT_NUMBER},
     offsetof(struct larder_class_stats, spans)},
    {{"class_live_objects", "blocks that the program has, by block size", LR_STAT_GAUGE,
      LR_STAT_NUMBER},
     offsetof(struct larder_class_stats, live_objects)},
    {{"class_thread_objects", "free blocks in thread caches, by block size", LR_STAT_GAUGE,
      LR_STAT_NUMBER},
     offsetof(struct larder_class_stats, thread_objects)},
    {{"class_transfer_objects", "free blocks on their way between threads, by block size",
      LR_STAT_GAUGE, LR_STAT_NUMBER},
     offsetof(struct larder_class_stats, transfer_objects)},
    {{"class_central_objects", "free blocks in spans, by block size", LR_STAT_GAUGE,
      LR_STAT_NUMBER},
     offsetof(struct larder_class_stats, central_objects)},
};

static void print_classes(struct lr_print *p, const struct lr_report *report, bool open) {
    for (size_t f = 0; f < sizeof class_families / sizeof *class_families; f++) {
        const struct class_family *row = &class_families[f];
        print_head(p, &row->family, open);
        for (unsigned i = 0; i < report->class_count; i++) {
            const struct larder_class_stats *c = &report->classes[i];
            if (c->spans != 0) {
                print_name(p, &row->family, true);
                begin_labels(p, report);
                lr_print_f(p, "size=\"%lu\"}", c->size);
                print_value(p, &row->family,
                            *(const uint64_t *)(const void *)((const char *)c + row->field));
            }
        }
    }
}

// Only what there is: most of the ten are 0 for most classes.
static void print_fills(struct lr_print *p, const struct lr_report *report, bool open) {
    static const struct family family = {
        "class_spans_filled", "spans in use, by block size and share of their blocks handed out",
        LR_STAT_GAUGE, LR_STAT_NUMBER};
    print_head(p, &family, open);
    for (unsigned i = 0; i < report->class_count; i++) {
        struct larder_span_fills fills;
        const bool known = lr_report_fills(report, i, &fills);
        for (unsigned f = 0; known && f < LARDER_SPAN_FILLS; f++) {
            if (fills.spans[f] != 0) {
                print_name(p, &family, true);
                begin_labels(p, report);
                lr_print_f(p, "size=\"%lu\",share=\"%s\"}", report->classes[i].size,
                           lr_report_fill_name(f));
                print_value(p, &family, fills.spans[f]);
            }
        }
    }
}

static void print_locks(struct lr_print *p, const struct lr_report *report, bool open) {
    static const struct family families[] = {
        {"lock_acquisitions", "times that a lock was taken, by lock", LR_STAT_COUNTER,
         LR_STAT_NUMBER},
        {"lock_waits", "of those, the ones that had to wait, by lock", LR_STAT_COUNTER,
         LR_STAT_NUMBER},
    };
    for (unsigned waits = 0; waits <= 1; waits++) {
        print_head(p, &families[waits], open);
        for (unsigned i = 0; i < report->lock_count; i++) {
            const struct larder_lock_stats *lock = &report->locks[i];
            print_name(p, &families[waits], true);
            begin_labels(p, report);
            lr_print_str(p, "lock=");
            lr_report_quote(p, lock->name);
            lr_print_char(p, '}');
            print_value(p, &families[waits], waits ? lock->contended : lock->takes);
        }
    }
}

static void print_seconds(struct lr_print *p, uint64_t ns) {
    lr_print_f(p, "%lu.%09lu", ns / 1000000000, ns % 1000000000);
}

static void begin_operation(struct lr_print *p, const struct lr_report *report, const char *suffix,
                            const struct larder_latency_stats *latency) {
    lr_print_f(p, "larder_latency_seconds_%s", suffix);
    begin_labels(p, report);
    lr_print_str(p, "operation=");
    lr_report_quote(p, latency->name);
}

static void print_latency(struct lr_print *p, const struct lr_report *report,
                          const struct larder_latency_stats *latency) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < LARDER_LATENCY_BUCKETS; i++) {
        sum += latency->buckets[i];
        begin_operation(p, report, "bucket", latency);
        lr_print_str(p, ",le=\"");
        if (lr_report_latency_limit(i) == UINT64_MAX) {
            lr_print_str(p, "+Inf");
        } else {
            print_seconds(p, lr_report_latency_limit(i));
        }
        lr_print_f(p, "\"} %lu\n", sum);
    }
    begin_operation(p, report, "sum", latency);
    lr_print_str(p, "} ");
    print_seconds(p, latency->sum_ns);
    lr_print_char(p, '\n');
    begin_operation(p, report, "count", latency);
    lr_print_f(p, "} %lu\n", sum);
}

static void print_latencies(struct lr_print *p, const struct lr_report *report, bool open) {
    struct larder_latency_stats latency;
    unsigned at = 0;
    lr_print_f(p,
               "# HELP larder_latency_seconds how long slow operations took while LARDER_LATENCY "
               "was set\n# TYPE larder_latency_seconds histogram\n%s",
               open ? "# UNIT larder_latency_seconds seconds\n" : "");
    while (lr_report_latency(report, &at, &latency) != 0) {
        print_latency(p, report, &latency);
    }
}

void lr_report_metrics(struct lr_print *p, const struct lr_report *report, bool open) {
    lr_print_f(p, "# HELP larder_build%s version of the allocator\n# TYPE larder_build%s %s\n",
               open ? "" : "_info", open ? "" : "_info", open ? "info" : "gauge");
    lr_print_str(p, "larder_build_info");
    begin_labels(p, report);
    lr_print_str(p, "version=");
    lr_report_quote(p, report->version);
    lr_print_str(p, "} 1\n");
    print_totals(p, report, open);
    print_classes(p, report, open);
    print_fills(p, report, open);
    print_locks(p, report, open);
    print_latencies(p, report, open);
    if (open) {
        lr_print_str(p, "# EOF\n");
    }
}
