// SPDX-License-Identifier: Apache-2.0
// Statistics as JSON. Names are those of <larder/stats.h>; a share is a fraction of 1.
#include <assert.h>
#include <string.h>

#include "diag/report.h"

static bool is_plain(char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; }

void lr_report_quote(struct lr_print *p, const char *text) {
    lr_print_char(p, '"');
    for (;;) {
        size_t plain = 0;
        while (is_plain(text[plain])) {
            plain++;
        }
        lr_print_part(p, text, plain);
        text += plain;
        if (*text == '\0') {
            break;
        }
        if (*text == '"' || *text == '\\') {
            lr_print_char(p, '\\');
            lr_print_char(p, *text);
        } else {
            // Names of threads may hold anything; what is not ASCII is not worth knowing.
            lr_print_char(p, '?');
        }
        text++;
    }
    lr_print_char(p, '"');
}

// One text of the compiler's for what stands before a value: they are most of what is printed.
#define KEY(before, name) before "\"" name "\": "

static LR_ALWAYS_INLINE void number(struct lr_print *p, const char *key, uint64_t value) {
    lr_print_str(p, key);
    lr_print_u64(p, value);
}

static LR_ALWAYS_INLINE void text(struct lr_print *p, const char *key, const char *value) {
    lr_print_str(p, key);
    lr_report_quote(p, value);
}

static void print_totals(struct lr_print *p, const struct larder_stats *stats) {
    lr_print_str(p, KEY(",\n  ", "stats"));
    const char *separator = "{\n    ";
    for (enum lr_stat_id id = 0; id < LR_STAT_COUNT; id++, separator = ",\n    ") {
        const uint64_t value = lr_stat_value(stats, id);
        lr_print_str(p, separator);
        lr_print_char(p, '"');
        lr_print_str(p, lr_stat_name(id));
        if (lr_stat_unit(id) == LR_STAT_PERMILLE) {
            lr_print_f(p, "\": %lu.%03lu", value / 1000, value % 1000);
        } else {
            number(p, "\": ", value);
        }
    }
    lr_print_str(p, "\n  }");
}

enum {
    DIGITS_MOST = 20,
    NUMBER_ROOM = 32, // with it lr_print_u64() need not look how much fits
    CLASS_MOST = 768,
};

static char *put_number(char *to, uint64_t value) {
    if (value < 10) { // as most figures are
        *to = (char)('0' + value);
        return to + 1;
    }
    struct lr_print p = {.buf = to, .cap = NUMBER_ROOM, .fd = -1};
    lr_print_u64(&p, value);
    return to + p.len;
}

// Without a call for each text: classes are most of a report, which may be read a hundred times a
// second.
#define PUT(to, literal) (memcpy((to), (literal), sizeof(literal) - 1), (to) + sizeof(literal) - 1)

static void print_class(struct lr_print *p, const struct lr_report *report, unsigned i) {
    static_assert(CLASS_MOST >= 9 * 24 + (8 + LARDER_SPAN_FILLS) * (DIGITS_MOST + 2) + NUMBER_ROOM,
                  "it fits");
    const struct larder_class_stats *c = &report->classes[i];
    struct larder_span_fills fills;
    char row[CLASS_MOST];
    char *at = put_number(PUT(row, KEY("{", "size")), c->size);
    at = put_number(PUT(at, KEY(", ", "objects_per_span")), c->objects_per_span);
    at = put_number(PUT(at, KEY(", ", "span_bytes")), c->span_bytes);
    at = put_number(PUT(at, KEY(", ", "spans")), c->spans);
    at = put_number(PUT(at, KEY(", ", "live_objects")), c->live_objects);
    at = put_number(PUT(at, KEY(", ", "thread_objects")), c->thread_objects);
    at = put_number(PUT(at, KEY(", ", "transfer_objects")), c->transfer_objects);
    at = put_number(PUT(at, KEY(", ", "central_objects")), c->central_objects);
    if (lr_report_fills(report, i, &fills)) {
        at = put_number(PUT(at, KEY(", ", "spans_by_fill") "["), fills.spans[0]);
        for (unsigned f = 1; f < LARDER_SPAN_FILLS; f++) {
            at = put_number(PUT(at, ", "), fills.spans[f]);
        }
        *at++ = ']';
    }
    *at++ = '}';
    lr_print_part(p, row, (size_t)(at - row));
}

static void print_lock(struct lr_print *p, const struct larder_lock_stats *lock) {
    text(p, KEY("{", "name"), lock->name);
    number(p, KEY(", ", "takes"), lock->takes);
    number(p, KEY(", ", "contended"), lock->contended);
    lr_print_char(p, '}');
}

static void print_latencies(struct lr_print *p, const struct lr_report *report) {
    struct larder_latency_stats latency;
    unsigned at = 0;
    const char *separator = "[\n    ";
    lr_print_str(p, KEY(",\n  ", "latencies"));
    for (uint64_t count; (count = lr_report_latency(report, &at, &latency)) != 0;) {
        lr_print_str(p, separator);
        separator = ",\n    ";
        text(p, KEY("{", "name"), latency.name);
        number(p, KEY(", ", "count"), count);
        number(p, KEY(", ", "sum_ns"), latency.sum_ns);
        lr_print_str(p, KEY(", ", "buckets"));
        for (unsigned i = 0; i < LARDER_LATENCY_BUCKETS; i++) {
            number(p, i == 0 ? "[" : ", ", latency.buckets[i]);
        }
        lr_print_str(p, "]}");
    }
    lr_print_str(p, separator[0] == '[' ? "[]" : "\n  ]");
}

static void print_thread(struct lr_print *p, const struct lr_report_thread *thread) {
    number(p, KEY("{", "id"), thread->thread_id);
    text(p, KEY(", ", "name"), thread->name);
    number(p, KEY(", ", "state"), thread->state);
    number(p, KEY(", ", "cache_bytes"), thread->cache_bytes);
    number(p, KEY(", ", "slow_calls"), thread->slow_calls);
    lr_print_char(p, '}');
}

static void print_option(struct lr_print *p, const struct lr_report_option *option) {
    text(p, KEY("{", "name"), option->name);
    text(p, KEY(", ", "value"), option->value);
    text(p, KEY(", ", "accepted"), option->range);
    number(p, KEY(", ", "origin"), option->origin);
    lr_print_str(p, KEY(", ", "any_time"));
    lr_print_str(p, option->runtime != 0 ? "true" : "false");
    lr_print_char(p, '}');
}

// "name": [ a row a line ]; `used`: whether row `i` is printed.
#define PRINT_ROWS(p, name, count, used, print)                                                    \
    do {                                                                                           \
        lr_print_str((p), KEY(",\n  ", name));                                                     \
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

void lr_report_json_options(struct lr_print *p, const struct lr_report *report) {
    PRINT_ROWS(p, "options", report->option_count, true, print_option(p, &report->options[i]));
}

void lr_report_json(struct lr_print *p, const struct lr_report *report) {
    text(p, KEY("{\n  ", "larder"), report->version);
    number(p, KEY(",\n  ", "pid"), report->process_id);
    print_totals(p, &report->stats);
    PRINT_ROWS(p, "classes", report->class_count, report->classes[i].spans != 0,
               print_class(p, report, i));
    PRINT_ROWS(p, "locks", report->lock_count, true, print_lock(p, &report->locks[i]));
    print_latencies(p, report);
    if (report->threads != NULL) {
        PRINT_ROWS(p, "threads", report->thread_count, true, print_thread(p, &report->threads[i]));
    }
    if (report->options_json != NULL) {
        lr_print_str(p, report->options_json);
    } else if (report->options != NULL) {
        lr_report_json_options(p, report);
    }
    lr_print_str(p, "\n}\n");
}
