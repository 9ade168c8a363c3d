// SPDX-License-Identifier: Apache-2.0
// Statistics as JSON. Names are those of <larder/stats.h>; a share is a fraction of 1.
#include "diag/report.h"

void lr_report_quote(struct lr_print *p, const char *text) {
    lr_print_char(p, '"');
    for (; *text != '\0'; text++) {
        const char c = *text;
        if (c == '"' || c == '\\') {
            lr_print_char(p, '\\');
            lr_print_char(p, c);
        } else if (c < ' ' || c > '~') {
            // Names of threads may hold anything; what is not ASCII is not worth knowing.
            lr_print_char(p, '?');
        } else {
            lr_print_char(p, c);
        }
    }
    lr_print_char(p, '"');
}

static void key(struct lr_print *p, const char *name, const char *separator) {
    lr_print_str(p, separator);
    lr_report_quote(p, name);
    lr_print_str(p, ": ");
}

static void number(struct lr_print *p, const char *name, uint64_t value, const char *separator) {
    key(p, name, separator);
    lr_print_u64(p, value);
}

static void text(struct lr_print *p, const char *name, const char *value, const char *separator) {
    key(p, name, separator);
    lr_report_quote(p, value);
}

static void print_totals(struct lr_print *p, const struct larder_stats *stats) {
    key(p, "stats", ",\n  ");
    const char *separator = "{\n    ";
    for (enum lr_stat_id id = 0; id < LR_STAT_COUNT; id++, separator = ",\n    ") {
        const uint64_t value = lr_stat_value(stats, id);
        if (lr_stat_unit(id) == LR_STAT_PERMILLE) {
            key(p, lr_stat_name(id), separator);
            lr_print_f(p, "%lu.%03lu", value / 1000, value % 1000);
        } else {
            number(p, lr_stat_name(id), value, separator);
        }
    }
    lr_print_str(p, "\n  }");
}

static void print_class(struct lr_print *p, const struct lr_report *report, unsigned i) {
    const struct larder_class_stats *c = &report->classes[i];
    struct larder_span_fills fills;
    number(p, "size", c->size, "{");
    number(p, "objects_per_span", c->objects_per_span, ", ");
    number(p, "span_bytes", c->span_bytes, ", ");
    number(p, "spans", c->spans, ", ");
    number(p, "live_objects", c->live_objects, ", ");
    number(p, "thread_objects", c->thread_objects, ", ");
    number(p, "transfer_objects", c->transfer_objects, ", ");
    number(p, "central_objects", c->central_objects, ", ");
    if (lr_report_fills(report, i, &fills)) {
        key(p, "spans_by_fill", ", ");
        for (unsigned f = 0; f < LARDER_SPAN_FILLS; f++) {
            lr_print_f(p, f == 0 ? "[%u" : ", %u", fills.spans[f]);
        }
        lr_print_char(p, ']');
    }
    lr_print_char(p, '}');
}

static void print_lock(struct lr_print *p, const struct larder_lock_stats *lock) {
    text(p, "name", lock->name, "{");
    number(p, "takes", lock->takes, ", ");
    number(p, "contended", lock->contended, ", ");
    lr_print_char(p, '}');
}

static void print_latencies(struct lr_print *p, const struct lr_report *report) {
    struct larder_latency_stats latency;
    unsigned at = 0;
    const char *separator = "[\n    ";
    key(p, "latencies", ",\n  ");
    for (uint64_t count; (count = lr_report_latency(report, &at, &latency)) != 0;) {
        lr_print_str(p, separator);
        separator = ",\n    ";
        text(p, "name", latency.name, "{");
        number(p, "count", count, ", ");
        number(p, "sum_ns", latency.sum_ns, ", ");
        key(p, "buckets", ", ");
        for (unsigned i = 0; i < LARDER_LATENCY_BUCKETS; i++) {
            lr_print_f(p, i == 0 ? "[%lu" : ", %lu", latency.buckets[i]);
        }
        lr_print_str(p, "]}");
    }
    lr_print_str(p, separator[0] == '[' ? "[]" : "\n  ]");
}

static void print_thread(struct lr_print *p, const struct lr_report_thread *thread) {
    number(p, "id", thread->thread_id, "{");
    text(p, "name", thread->name, ", ");
    number(p, "state", thread->state, ", ");
    number(p, "cache_bytes", thread->cache_bytes, ", ");
    number(p, "slow_calls", thread->slow_calls, ", ");
    lr_print_char(p, '}');
}

static void print_option(struct lr_print *p, const struct lr_report_option *option) {
    text(p, "name", option->name, "{");
    text(p, "value", option->value, ", ");
    text(p, "accepted", option->range, ", ");
    number(p, "origin", option->origin, ", ");
    key(p, "any_time", ", ");
    lr_print_str(p, option->runtime != 0 ? "true" : "false");
    lr_print_char(p, '}');
}

// "name": [ a row a line ]; `used`: whether row `i` is printed.
#define PRINT_ROWS(p, name, count, used, print)                                                    \
    do {                                                                                           \
        key((p), (name), ",\n  ");                                                                 \
        const char *separator_ = "[\n    ";                                                        \
        for (unsigned i = 0; i < (count); i++) {                                                   \
            if (used) {                                                                            \
                lr_print_str((p), separator_);                                                     \
                print;                                                                             \
                separator_ = ",\n    ";                                                            \
            }                                                                                      \
        }                                                                                          \
        lr_print_str((p), separator_[0] == '[' ? "[]" : "\n  ]");                                  \
    } while (0)

void lr_report_json(struct lr_print *p, const struct lr_report *report) {
    text(p, "larder", report->version, "{\n  ");
    number(p, "pid", report->process_id, ",\n  ");
    print_totals(p, &report->stats);
    PRINT_ROWS(p, "classes", report->class_count, report->classes[i].spans != 0,
               print_class(p, report, i));
    PRINT_ROWS(p, "locks", report->lock_count, true, print_lock(p, &report->locks[i]));
    print_latencies(p, report);
    if (report->threads != NULL) {
        PRINT_ROWS(p, "threads", report->thread_count, true, print_thread(p, &report->threads[i]));
    }
    if (report->options != NULL) {
        PRINT_ROWS(p, "options", report->option_count, true, print_option(p, &report->options[i]));
    }
    lr_print_str(p, "\n}\n");
}
