// SPDX-License-Identifier: Apache-2.0
// From bytes that may be anything to a report.
#include <string.h>

#include "base/bits.h"
#include "tool/page.h"

// Of the first version; what was appended since may be missing.
#define HEADER_LEAST offsetof(struct larder_page_header, fills)

struct source {
    const char *bytes;
    size_t size;
};

// At most `most` rows of a table lie inside the page, each at least as long as what we know of it.
static bool table_fits(const struct source *s, const struct larder_page_table *t,
                       size_t row_bytes) {
    return t->rows == 0 || (t->row_bytes >= row_bytes && t->offset <= s->size &&
                            (uint64_t)t->rows * t->row_bytes <= s->size - t->offset);
}

static void read_row(const struct source *s, const struct larder_page_table *t, uint32_t row,
                     void *out, size_t bytes) {
    memcpy(out, s->bytes + t->offset + (size_t)row * t->row_bytes, bytes);
}

// As many rows as `out` has room for.
static void read_rows(const struct source *s, const struct larder_page_table *t, uint32_t rows,
                      void *out, size_t bytes) {
    if (t->row_bytes == bytes) {
        memcpy(out, s->bytes + t->offset, rows * bytes);
        return;
    }
    for (uint32_t i = 0; i < rows; i++) {
        read_row(s, t, i, (char *)out + i * bytes, bytes);
    }
}

// Printable ASCII with an end; terminals would obey other characters.
static void take_text(char *to, size_t to_bytes, const char *from, size_t from_bytes) {
    size_t length = 0;
    while (length + 1 < to_bytes && length < from_bytes && from[length] != '\0') {
        const char c = from[length];
        to[length++] = c;
        if (c < ' ' || c > '~') {
            to[length - 1] = '?';
        }
    }
    to[length] = '\0';
}

// The figure with a name of at most 31 characters; LR_STAT_COUNT: there is none. Pages of the same
// version have it at `guess`.
static enum lr_stat_id stat_of(const char name[32], uint32_t guess) {
    if (guess < LR_STAT_COUNT && strncmp(name, lr_stat_name(guess), 32) == 0) {
        return guess;
    }
    enum lr_stat_id id = 0;
    while (id < LR_STAT_COUNT && strncmp(name, lr_stat_name(id), 32) != 0) {
        id++;
    }
    return id;
}

static void decode_stats(const struct source *s, const struct larder_page_table *t,
                         struct larder_stats *out) {
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < t->rows; i++) {
        struct larder_page_stat row;
        read_row(s, t, i, &row, sizeof row);
        const enum lr_stat_id id = stat_of(row.name, i);
        if (id != LR_STAT_COUNT) {
            lr_stat_set(out, id, row.value);
        }
    }
}

static void decode_locks(const struct source *s, const struct larder_page_table *t,
                         struct page_view *out) {
    const uint32_t rows = (uint32_t)lr_min(t->rows, LR_REPORT_LOCKS);
    for (uint32_t i = 0; i < rows; i++) {
        struct larder_page_lock row;
        read_row(s, t, i, &row, sizeof row);
        take_text(out->lock_names[i], sizeof out->lock_names[i], row.name, sizeof row.name);
        out->report.locks[i] = (struct larder_lock_stats){
            .name = out->lock_names[i], .takes = row.takes, .contended = row.contended};
    }
    out->report.lock_count = rows;
}

static void decode_threads(const struct source *s, const struct larder_page_table *t,
                           struct page_view *out) {
    const uint32_t rows = (uint32_t)lr_min(t->rows, PAGE_THREADS_MOST);
    for (uint32_t i = 0; i < rows; i++) {
        struct larder_page_thread row;
        read_row(s, t, i, &row, sizeof row);
        struct lr_report_thread *thread = &out->threads[i];
        if (thread->thread_id != row.thread_id) {
            thread->thread_id = row.thread_id;
            thread->name[0] = '\0';
        }
        thread->state = row.state;
        thread->cache_bytes = row.cache_bytes;
        thread->slow_calls = row.slow_calls;
    }
    out->report.thread_count = rows;
    out->report.threads = out->threads;
}

static void print_options(struct page_view *out) {
    struct lr_print p;
    lr_print_init(&p, out->options_json, sizeof out->options_json, -1);
    lr_report_json_options(&p, &out->report);
    out->report.options_json = p.truncated ? NULL : out->options_json;
}

bool lr_page_knows_options(const struct page_view *view, const struct larder_page_header *header) {
    return header->options_ns != 0 && header->options_ns == view->options_ns &&
           header->process_id == view->options_pid;
}

// Most reads find them as they were.
static void decode_options(const struct source *s, const struct larder_page_table *t,
                           struct page_view *out) {
    const uint32_t rows = (uint32_t)lr_min(t->rows, PAGE_OPTIONS_MOST);
    bool same = out->report.options == out->options && out->report.option_count == rows;
    for (uint32_t i = 0; i < rows; i++) {
        struct larder_page_option row;
        read_row(s, t, i, &row, sizeof row);
        if (same && memcmp(&row, &out->options_read[i], sizeof row) == 0) {
            continue;
        }
        same = false;
        struct lr_report_option *option = &out->options[i];
        out->options_read[i] = row;
        take_text(option->name, sizeof option->name, row.name, sizeof row.name);
        take_text(option->value, sizeof option->value, row.value, sizeof row.value);
        take_text(option->range, sizeof option->range, row.range, sizeof row.range);
        option->origin = (uint8_t)lr_min(row.origin, 3);
        option->runtime = row.any_time == 1;
    }
    out->report.option_count = rows;
    out->report.options = out->options;
    if (!same) {
        print_options(out);
    }
}

static bool view_fills(const struct lr_report *report, unsigned i, struct larder_span_fills *out) {
    const struct page_view *view = (const struct page_view *)(const void *)report;
    if (i >= view->fill_count) {
        return false;
    }
    *out = view->fills[i];
    return true;
}

static void decode_fills(const struct source *s, const struct larder_page_table *t,
                         struct page_view *out) {
    out->fill_count = (unsigned)lr_min(t->rows, out->report.class_count);
    read_rows(s, t, out->fill_count, out->fills, sizeof out->fills[0]);
    out->report.fills = view_fills;
}

static bool view_latency(const struct lr_report *report, unsigned i,
                         struct larder_latency_stats *out) {
    const struct page_view *view = (const struct page_view *)(const void *)report;
    if (i >= view->latency_count) {
        return false;
    }
    *out = view->latencies[i];
    return true;
}

static void decode_latencies(const struct source *s, const struct larder_page_table *t,
                             struct page_view *out) {
    out->latency_count = (unsigned)lr_min(t->rows, PAGE_LATENCIES_MOST);
    for (uint32_t i = 0; i < out->latency_count; i++) {
        struct larder_page_latency row;
        struct larder_latency_stats *latency = &out->latencies[i];
        read_row(s, t, i, &row, sizeof row);
        take_text(out->latency_names[i], sizeof out->latency_names[i], row.name, sizeof row.name);
        latency->name = out->latency_names[i];
        latency->sum_ns = row.sum_ns;
        memcpy(latency->buckets, row.buckets, sizeof latency->buckets);
    }
    out->report.latency = view_latency;
}

static const char *check(const struct source *s, const struct larder_page_header *header) {
    if (header->magic != LARDER_PAGE_MAGIC) {
        return "it does not begin as a page of Larder does";
    }
    if (header->version != LARDER_PAGE_VERSION) {
        return "its version is not that of this command; use the command installed with the "
               "library";
    }
    if (header->header_bytes < HEADER_LEAST || header->page_bytes > s->size ||
        !table_fits(s, &header->stats, sizeof(struct larder_page_stat)) ||
        !table_fits(s, &header->classes, sizeof(struct larder_class_stats)) ||
        !table_fits(s, &header->locks, sizeof(struct larder_page_lock)) ||
        !table_fits(s, &header->threads, sizeof(struct larder_page_thread)) ||
        !table_fits(s, &header->options, sizeof(struct larder_page_option)) ||
        !table_fits(s, &header->fills, sizeof(struct larder_span_fills)) ||
        !table_fits(s, &header->latencies, sizeof(struct larder_page_latency))) {
        return "its tables are not inside of it";
    }
    if (header->updated_ns == 0) {
        return "it has not been written yet";
    }
    return NULL;
}

const char *lr_page_decode(const void *bytes, size_t size, struct page_view *out) {
    const struct source source = {.bytes = bytes, .size = size};
    struct larder_page_header header;
    if (size < sizeof header) {
        return "it is too short";
    }
    memcpy(&header, bytes, sizeof header);
    if (header.header_bytes < sizeof header) {
        memset((char *)&header + header.header_bytes, 0, sizeof header - header.header_bytes);
    }
    const char *wrong = check(&source, &header);
    if (wrong != NULL) {
        return wrong;
    }
    take_text(out->version, sizeof out->version, header.larder_version,
              sizeof header.larder_version);
    out->report.version = out->version;
    out->report.process_id = header.process_id;
    out->window_begin = header.window_begin;
    out->window_end = header.window_end;
    out->pools_begin = header.pools_begin;
    out->pools_end = header.pools_end;
    out->updated_ns = header.updated_ns;
    out->threads_total = header.threads_total;
    decode_stats(&source, &header.stats, &out->report.stats);
    out->report.class_count = (unsigned)lr_min(header.classes.rows, LR_CLASS_COUNT);
    read_rows(&source, &header.classes, out->report.class_count, out->report.classes,
              sizeof out->report.classes[0]);
    decode_fills(&source, &header.fills, out);
    decode_latencies(&source, &header.latencies, out);
    decode_locks(&source, &header.locks, out);
    decode_threads(&source, &header.threads, out);
    if (!lr_page_knows_options(out, &header)) {
        decode_options(&source, &header.options, out);
        out->options_pid = header.process_id;
        out->options_ns = header.options_ns;
    }
    return NULL;
}
