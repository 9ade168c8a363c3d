// SPDX-License-Identifier: Apache-2.0
#include "diag/stats_text.h"

enum { FIELD_BYTES = 32 };

// One figure of the page as text, to be padded by the format that prints it.
struct field {
    char text[FIELD_BYTES];
};

static const char *bytes_text(struct field *f, uint64_t bytes) {
    struct lr_print p;
    lr_print_init(&p, f->text, sizeof f->text, -1);
    lr_print_bytes(&p, bytes);
    return f->text;
}

static const char *percent_text(struct field *f, uint64_t permille) {
    struct lr_print p;
    lr_print_init(&p, f->text, sizeof f->text, -1);
    lr_print_f(&p, "%lu.%lu %%", permille / 10, permille % 10);
    return f->text;
}

static const char *value_text(struct field *f, enum lr_stat_unit unit, uint64_t value) {
    struct lr_print p;
    switch (unit) {
    case LR_STAT_BYTES:
        return bytes_text(f, value);
    case LR_STAT_PERMILLE:
        return percent_text(f, value);
    default:
        lr_print_init(&p, f->text, sizeof f->text, -1);
        lr_print_u64(&p, value);
        lr_print_str(&p, unit == LR_STAT_TIME_US ? " us" : "");
        return f->text;
    }
}

static void print_row(struct lr_print *p, const char *sign, const char *value, const char *share,
                      const char *name, const char *help) {
    lr_print_f(p, "  %s %11s %8s  %-22s %s\n", sign, value, share, name, help);
}

// The sum: each of the first rows with its share of held_bytes.
static void print_held(struct lr_print *p, const struct larder_stats *stats) {
    lr_print_str(p, "memory held by the heap\n");
    for (enum lr_stat_id id = LR_STAT_live_bytes; id <= LR_STAT_held_bytes; id++) {
        struct field value, share;
        const uint64_t bytes = lr_stat_value(stats, id);
        const char *sign = id == LR_STAT_live_bytes ? " " : id == LR_STAT_held_bytes ? "=" : "+";
        print_row(p, sign, bytes_text(&value, bytes),
                  percent_text(&share, lr_permille(bytes, stats->held_bytes)), lr_stat_name(id),
                  lr_stat_help(id));
    }
}

static void print_rows(struct lr_print *p, const struct larder_stats *stats, enum lr_stat_id first,
                       enum lr_stat_id last) {
    for (enum lr_stat_id id = first; id <= last; id++) {
        struct field value;
        print_row(p, " ", value_text(&value, lr_stat_unit(id), lr_stat_value(stats, id)), "",
                  lr_stat_name(id), lr_stat_help(id));
    }
}

// Why the kernel's figure is not held_bytes, which is the first question asked of it.
static void print_difference(struct lr_print *p, const struct larder_stats *stats) {
    struct field value;
    if (stats->resident_bytes == 0) {
        lr_print_str(p, "    resident_bytes cannot be read from /proc\n");
    } else if (stats->resident_bytes >= stats->held_bytes) {
        print_row(p, " ", bytes_text(&value, stats->resident_bytes - stats->held_bytes), "",
                  "(resident - held)", "in the process beside the heap, at least");
    } else {
        print_row(p, " ", bytes_text(&value, stats->held_bytes - stats->resident_bytes), "",
                  "(held - resident)", "held, but swapped out or not touched yet, at least");
    }
}

void lr_stats_text_totals(struct lr_print *p, const struct larder_stats *stats) {
    print_held(p, stats);
    print_rows(p, stats, LR_STAT_fragmentation, LR_STAT_fragmentation);
    lr_print_str(p, "address space and process\n");
    print_rows(p, stats, LR_STAT_returned_bytes, LR_STAT_resident_bytes);
    print_difference(p, stats);
    lr_print_str(p, "what the heap is made of\n");
    print_rows(p, stats, LR_STAT_resident_bytes + 1, LR_STAT_malloc_slow - 1);
    lr_print_str(p, "since the process began\n");
    print_rows(p, stats, LR_STAT_malloc_slow, LR_STAT_COUNT - 1);
}

void lr_stats_text_class(struct lr_print *p, const struct larder_class_stats *class_stats) {
    struct field bytes, live;
    const uint64_t span_bytes = class_stats->spans * class_stats->span_bytes;
    const uint64_t live_bytes = class_stats->live_objects * class_stats->size;
    lr_print_f(p, "  %8lu %8lu %8lu %10lu %10lu %10lu %10lu %11s %8s\n", class_stats->size,
               class_stats->objects_per_span, class_stats->spans, class_stats->live_objects,
               class_stats->thread_objects, class_stats->transfer_objects,
               class_stats->central_objects, bytes_text(&bytes, span_bytes),
               percent_text(&live, lr_permille(live_bytes, span_bytes)));
}

static void print_fills(struct lr_print *p, const struct lr_report *report) {
    struct larder_span_fills fills;
    lr_print_f(p, "spans by the share of their blocks that is handed out\n  %8s", "bytes");
    for (unsigned f = 0; f < LARDER_SPAN_FILLS; f++) {
        lr_print_f(p, " %8s", lr_report_fill_name(f));
    }
    lr_print_char(p, '\n');
    for (unsigned i = 0; i < report->class_count; i++) {
        if (lr_report_fills(report, i, &fills)) {
            lr_print_f(p, "  %8lu", report->classes[i].size);
            for (unsigned f = 0; f < LARDER_SPAN_FILLS; f++) {
                lr_print_f(p, " %8u", fills.spans[f]);
            }
            lr_print_char(p, '\n');
        }
    }
}

void lr_stats_text_lock(struct lr_print *p, const struct larder_lock_stats *lock) {
    struct field share;
    lr_print_f(p, "  %12lu %12lu %8s  %s\n", lock->takes, lock->contended,
               percent_text(&share, lr_permille(lock->contended, lock->takes)), lock->name);
}

static const char *time_text(struct field *f, uint64_t ns) {
    struct lr_print p;
    lr_print_init(&p, f->text, sizeof f->text, -1);
    if (ns == UINT64_MAX) {
        lr_print_str(&p, "more");
    } else if (ns < 10000000) {
        lr_print_f(&p, "%lu.%lu us", ns / 1000, ns % 1000 / 100);
    } else {
        lr_print_f(&p, "%lu ms", ns / 1000000);
    }
    return f->text;
}

static void print_latencies(struct lr_print *p, const struct lr_report *report) {
    static const unsigned parts[] = {500, 900, 990, 999, 1000};
    struct larder_latency_stats latency;
    unsigned at = 0;
    bool first = true;
    for (uint64_t count; (count = lr_report_latency(report, &at, &latency)) != 0; first = false) {
        struct field value;
        if (first) {
            lr_print_f(
                p,
                "slow operations while LARDER_LATENCY was set: mean, and how long a share of "
                "them took at most\n  %12s %10s %10s %10s %10s %10s %10s\n",
                "count", "mean", "50 %", "90 %", "99 %", "99.9 %", "all");
        }
        lr_print_f(p, "  %12lu %10s", count, time_text(&value, latency.sum_ns / count));
        for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
            const uint64_t within =
                count - count / 1000 * (1000 - parts[i]) - count % 1000 * (1000 - parts[i]) / 1000;
            lr_print_f(p, " %10s", time_text(&value, lr_report_latency_below(&latency, within)));
        }
        lr_print_f(p, "  %s\n", latency.name);
    }
}

void lr_stats_text(struct lr_print *p, const struct lr_report *report) {
    lr_stats_text_totals(p, &report->stats);
    lr_print_f(p,
               "size classes in use, in blocks\n"
               "  %8s %8s %8s %10s %10s %10s %10s %11s %8s\n",
               "bytes", "per span", "spans", "live", "in threads", "transfer", "central", "memory",
               "live");
    for (unsigned i = 0; i < report->class_count; i++) {
        if (report->classes[i].spans != 0) {
            lr_stats_text_class(p, &report->classes[i]);
        }
    }
    print_fills(p, report);
    lr_print_f(p, "locks\n  %12s %12s %8s\n", "taken", "had to wait", "");
    for (unsigned i = 0; i < report->lock_count; i++) {
        if (report->locks[i].takes != 0) {
            lr_stats_text_lock(p, &report->locks[i]);
        }
    }
    print_latencies(p, report);
}
