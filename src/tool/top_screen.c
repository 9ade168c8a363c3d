// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/top.h"

enum { BAR = 40, AMOUNT = 24 };

struct amount {
    char text[AMOUNT];
};

static const char *bytes_text(struct amount *a, uint64_t bytes) {
    struct lr_print p;
    lr_print_init(&p, a->text, sizeof a->text, -1);
    lr_print_bytes(&p, bytes);
    return a->text;
}

static double rate(uint64_t now, uint64_t before, double seconds) {
    return seconds > 0 && now > before ? (double)(now - before) / seconds : 0;
}

void lr_top_init(struct top_state *state) {
    *state = (struct top_state){.view = TOP_CLASSES};
    state->sort[TOP_CLASSES] = 6; // memory
    state->sort[TOP_THREADS] = 1; // in cache
    state->sort[TOP_LOCKS] = 2;   // waits a second
    state->ascending[TOP_OPTIONS] = true;
}

// One character for each part of held_bytes, in the order of the sum.
static void draw_bar(char *out, const struct larder_stats *s) {
    static const char marks[] = "|tcs.m";
    const uint64_t parts[] = {
        s->live_bytes,           s->thread_cache_bytes + s->transfer_cache_bytes,
        s->central_free_bytes,   s->span_tail_bytes,
        s->span_heap_free_bytes, s->metadata_bytes,
    };
    int at = 0;
    uint64_t sum = 0;
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
        sum += parts[i];
        const int end = (int)(lr_permille(sum, s->held_bytes) * BAR / 1000);
        while (at < end && at < BAR) {
            out[at++] = marks[i];
        }
    }
    while (at < BAR) {
        out[at++] = ' ';
    }
    out[BAR] = '\0';
}

static const char *limit_text(struct amount *a, uint64_t bytes) {
    return bytes != 0 ? bytes_text(a, bytes) : "none";
}

static const char *heap_limit(const struct page_view *now) {
    for (unsigned i = 0; i < now->report.option_count; i++) {
        const struct lr_report_option *option = &now->options[i];
        if (strcmp(option->name, "heap_limit") == 0 && strcmp(option->value, "0") != 0) {
            return option->value;
        }
    }
    return "none";
}

void lr_top_head(char lines[TOP_HEAD_LINES][TOP_LINE], const struct page_view *now,
                 const struct page_view *before, double seconds, const char *name) {
    const struct larder_stats *s = &now->report.stats;
    const struct larder_stats *b = before != NULL ? &before->report.stats : s;
    struct amount a, c, d, e;
    char bar[BAR + 1];
    draw_bar(bar, s);
    int i = 0;
    snprintf(lines[i++], TOP_LINE, "larder %s  process %u (%s)  %ju threads with a cache, %ju idle",
             now->version, now->report.process_id, name, (uintmax_t)s->threads,
             (uintmax_t)s->thread_caches_parked);
    snprintf(lines[i++], TOP_LINE, "Held [%s] %s  fragmentation %ju.%ju %%", bar,
             bytes_text(&a, s->held_bytes), (uintmax_t)s->fragmentation / 10,
             (uintmax_t)s->fragmentation % 10);
    snprintf(lines[i++], TOP_LINE,
             "      | live %s   t caches %s   c central %s   s tails   . free %s   m records",
             bytes_text(&a, s->live_bytes),
             bytes_text(&c, s->thread_cache_bytes + s->transfer_cache_bytes),
             bytes_text(&d, s->central_free_bytes), bytes_text(&e, s->span_heap_free_bytes));
    snprintf(lines[i++], TOP_LINE, "Tiers  threads %s   transfer %s   central %s   pages %s",
             bytes_text(&a, s->thread_cache_bytes), bytes_text(&c, s->transfer_cache_bytes),
             bytes_text(&d, s->central_free_bytes), bytes_text(&e, s->span_heap_free_bytes));
    snprintf(lines[i++], TOP_LINE, "RSS    process %s   returned %s   mapped %s   large %s in %ju",
             bytes_text(&a, s->resident_bytes), bytes_text(&c, s->returned_bytes),
             bytes_text(&d, s->mapped_bytes), bytes_text(&e, s->large_bytes),
             (uintmax_t)s->large_blocks);
    snprintf(
        lines[i++], TOP_LINE,
        "Slow   %.0f requests/s   %.0f refills/s   %.0f flushes/s   spans %ju   huge pages %ju",
        rate(s->malloc_slow, b->malloc_slow, seconds), rate(s->refills, b->refills, seconds),
        rate(s->flushes, b->flushes, seconds), (uintmax_t)s->spans, (uintmax_t)s->huge_pages);
    snprintf(lines[i++], TOP_LINE,
             "Scav.  %.1f runs/s   %.0f calls/s   %s/s returned   %ju idle caches emptied",
             rate(s->scavenge_runs, b->scavenge_runs, seconds),
             rate(s->scavenge_calls, b->scavenge_calls, seconds),
             bytes_text(&a, (uint64_t)rate(s->scavenge_bytes, b->scavenge_bytes, seconds)),
             (uintmax_t)s->idle_drains);
    snprintf(lines[i++], TOP_LINE, "Locks  %.0f taken/s   %.0f waits/s",
             rate(s->lock_takes, b->lock_takes, seconds),
             rate(s->lock_contended, b->lock_contended, seconds));
    snprintf(lines[i++], TOP_LINE,
             "Limits soft %s, %ju times above it   heap %s, %ju refused   memory short %ju times",
             limit_text(&a, s->soft_limit_bytes), (uintmax_t)s->soft_limit_hits, heap_limit(now),
             (uintmax_t)s->heap_limit_hits, (uintmax_t)s->shortages);
    snprintf(lines[i], TOP_LINE, " ");
}

// A row of any view: a value for each column to sort by, and where it stands in the report.
struct row {
    uint64_t keys[8];
    const char *name; // sorted by instead of a key, if the view has names first
    unsigned index;
};

static struct {
    struct row rows[PAGE_THREADS_MOST];
    int count;
    int column;
    bool ascending;
    bool names; // column 0 is the name
} sorted;

static int compare(const void *left, const void *right) {
    const struct row *a = left, *b = right;
    int order;
    if (sorted.names && sorted.column == 0) {
        order = strcmp(a->name, b->name);
    } else {
        const uint64_t x = a->keys[sorted.column], y = b->keys[sorted.column];
        order = x < y ? -1 : x > y;
    }
    if (order == 0) {
        return a->index < b->index ? -1 : 1; // so that rows do not jump
    }
    return sorted.ascending ? order : -order;
}

static void add_classes(const struct page_view *now) {
    for (unsigned i = 0; i < now->report.class_count; i++) {
        const struct larder_class_stats *c = &now->report.classes[i];
        if (c->spans != 0) {
            sorted.rows[sorted.count++] = (struct row){
                .keys = {c->size, c->spans, c->live_objects, c->thread_objects, c->transfer_objects,
                         c->central_objects, c->spans * c->span_bytes,
                         lr_permille(c->live_objects * c->size, c->spans * c->span_bytes)},
                .index = i};
        }
    }
}

static uint64_t slow_calls_before(const struct page_view *before, uint32_t thread_id,
                                  uint64_t otherwise) {
    for (unsigned i = 0; before != NULL && i < before->report.thread_count; i++) {
        if (before->threads[i].thread_id == thread_id) {
            return before->threads[i].slow_calls;
        }
    }
    return otherwise;
}

static void add_threads(const struct page_view *now, const struct page_view *before,
                        double seconds) {
    for (unsigned i = 0; i < now->report.thread_count; i++) {
        const struct lr_report_thread *t = &now->threads[i];
        const uint64_t old = slow_calls_before(before, t->thread_id, t->slow_calls);
        sorted.rows[sorted.count++] =
            (struct row){.keys = {t->thread_id, t->cache_bytes,
                                  (uint64_t)rate(t->slow_calls, old, seconds), t->slow_calls},
                         .index = i};
    }
}

static void add_locks(const struct page_view *now, const struct page_view *before, double seconds) {
    for (unsigned i = 0; i < now->report.lock_count; i++) {
        const struct larder_lock_stats *lock = &now->report.locks[i];
        const bool same = before != NULL && i < before->report.lock_count;
        const struct larder_lock_stats *old = same ? &before->report.locks[i] : lock;
        sorted.rows[sorted.count++] =
            (struct row){.keys = {0, (uint64_t)rate(lock->takes, old->takes, seconds),
                                  (uint64_t)rate(lock->contended, old->contended, seconds),
                                  lock->takes, lock->contended},
                         .name = lock->name,
                         .index = i};
    }
}

static void add_options(const struct page_view *now) {
    for (unsigned i = 0; i < now->report.option_count; i++) {
        sorted.rows[sorted.count++] = (struct row){
            .keys = {0, now->options[i].origin}, .name = now->options[i].name, .index = i};
    }
}

static void print_row(char *out, enum top_view view, const struct row *row,
                      const struct page_view *now) {
    const uint64_t *k = row->keys;
    struct amount a;
    switch (view) {
    case TOP_CLASSES:
        snprintf(out, TOP_LINE, "%8ju %8ju %10ju %10ju %10ju %10ju %11s %5ju.%ju %%",
                 (uintmax_t)k[0], (uintmax_t)k[1], (uintmax_t)k[2], (uintmax_t)k[3],
                 (uintmax_t)k[4], (uintmax_t)k[5], bytes_text(&a, k[6]), (uintmax_t)k[7] / 10,
                 (uintmax_t)k[7] % 10);
        break;
    case TOP_THREADS:
        snprintf(out, TOP_LINE, "%8ju %11s %12ju %14ju  %s", (uintmax_t)k[0], bytes_text(&a, k[1]),
                 (uintmax_t)k[2], (uintmax_t)k[3], now->threads[row->index].name);
        break;
    case TOP_LOCKS:
        snprintf(out, TOP_LINE, "%-18s %10ju %10ju %14ju %12ju", row->name, (uintmax_t)k[1],
                 (uintmax_t)k[2], (uintmax_t)k[3], (uintmax_t)k[4]);
        break;
    default: {
        static const char *const origins[] = {"default", "environment", "set while it ran", "?"};
        const struct lr_report_option *o = &now->options[row->index];
        snprintf(out, TOP_LINE, "%-22s %-16s %-24s %s", o->name, origins[o->origin], o->value,
                 o->range);
        break;
    }
    }
}

static const char *const titles[TOP_VIEWS] = {
    [TOP_CLASSES] =
        "   BYTES    SPANS       LIVE  IN THREAD   TRANSFER    CENTRAL      MEMORY    LIVE%",
    [TOP_THREADS] = "  THREAD    IN CACHE  SLOW CALLS/s     SLOW CALLS  NAME",
    [TOP_LOCKS] = "LOCK                  TAKEN/s    WAITS/s          TAKEN        WAITS",
    [TOP_OPTIONS] = "OPTION                 ORIGIN           VALUE                    ACCEPTED",
};

int lr_top_columns(enum top_view view) {
    static const int columns[TOP_VIEWS] = {
        [TOP_CLASSES] = 8, [TOP_THREADS] = 4, [TOP_LOCKS] = 5, [TOP_OPTIONS] = 2};
    return columns[view];
}

int lr_top_table(const struct top_state *state, const struct page_view *now,
                 const struct page_view *before, double seconds, char title[TOP_LINE],
                 char (*rows)[TOP_LINE], int most) {
    const enum top_view view = state->view;
    sorted.count = 0;
    sorted.column = state->sort[view];
    sorted.ascending = state->ascending[view];
    sorted.names = view == TOP_LOCKS || view == TOP_OPTIONS;
    switch (view) {
    case TOP_CLASSES:
        add_classes(now);
        break;
    case TOP_THREADS:
        add_threads(now, before, seconds);
        break;
    case TOP_LOCKS:
        add_locks(now, before, seconds);
        break;
    default:
        add_options(now);
        break;
    }
    qsort(sorted.rows, (size_t)sorted.count, sizeof sorted.rows[0], compare);
    snprintf(title, TOP_LINE, "%s", titles[view]);
    for (int i = 0; i < most && state->first + i < sorted.count; i++) {
        print_row(rows[i], view, &sorted.rows[state->first + i], now);
    }
    return sorted.count;
}
