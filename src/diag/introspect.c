// SPDX-License-Identifier: Apache-2.0
// Gathers statistics from all tiers. Nothing is stopped: figures are read one after the other.
#include <larder/page.h>
#include <string.h>

#include "base/bits.h"
#include "cache/central.h"
#include "cache/idle.h"
#include "cache/span_pages.h"
#include "cache/thread_state.h"
#include "cache/trace.h"
#include "cache/transfer.h"
#include "conf/options.h"
#include "conf/stats.h"
#include "hard/hard.h"
#include "hard/pages.h"
#include "hard/slab.h"
#include "heap/direct.h"
#include "heap/huge_page.h"
#include "heap/limit.h"
#include "heap/meta.h"
#include "heap/pool.h"
#include "heap/release.h"
#include "heap/scavenger.h"
#include "heap/span_heap.h"
#include "os/os.h"
#include "prof/guard.h"
#include "prof/sample.h"
#include "sync/latency.h"

struct thread_totals {
    uint64_t objects[LR_CLASS_COUNT];
    uint64_t threads;
    uint64_t parked;
    uint64_t slow_calls;
    uint64_t refills;
    uint64_t flushes;
};

static void add_record(struct thread_totals *totals, struct thread_record *record) {
    struct thread_cache *cache = &record->cache;
    totals->slow_calls += lr_load_relaxed(&cache->slow_calls);
    totals->refills += lr_load_relaxed(&cache->refills);
    totals->flushes += lr_load_relaxed(&cache->flushes);
    if (lr_load_acquire(&record->state) == THREAD_FREE) {
        return;
    }
    uint64_t held = 0;
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        if (lr_central_is_used(c)) {
            uint64_t objects = lr_cache_objects_racy(cache, c);
            totals->objects[c] += objects;
            held += objects;
        }
    }
    totals->threads++;
    totals->parked += held == 0;
}

static void collect_threads(struct thread_totals *totals) {
    *totals = (struct thread_totals){.slow_calls = lr_thread_ended_counts().slow_calls,
                                     .refills = lr_thread_ended_counts().refills,
                                     .flushes = lr_thread_ended_counts().flushes};
    // Under the lock, not in a read-side section: that would register the calling thread with
    // liburcu, whose clean-up at the thread's end takes a lock that a fork at that moment leaves
    // held.
    lr_lock(&lr_registry_lock);
    struct lr_rcu_node *node = lr_thread_registry.next; // NULL: Larder has not started
    for (; node != NULL && node != &lr_thread_registry; node = node->next) {
        add_record(totals, lr_thread_record_of(node));
    }
    lr_unlock(&lr_registry_lock);
}

static void look_at_slabs(unsigned c, struct larder_class_stats *out) {
    struct lr_slab_counts slabs = lr_slab_counts(c);
    *out = (struct larder_class_stats){
        .size = slabs.slot_bytes,
        .objects_per_span = slabs.slots,
        .span_bytes = slabs.slab_bytes,
        .spans = slabs.slabs,
        .central_objects = slabs.slabs * slabs.slots - slabs.live,
        .live_objects = slabs.live,
    };
}

// `*central`: what else is known of its spans.
static void look_at_class(unsigned c, const struct thread_totals *totals,
                          struct larder_class_stats *out, struct central_counts *central) {
    *central = (struct central_counts){0};
    if (lr_hardened) {
        look_at_slabs(c, out);
        return;
    }
    const struct class_info *info = &lr_classes[c];
    *out = (struct larder_class_stats){
        .size = info->bytes,
        .objects_per_span = info->objects,
        .span_bytes = info->pages * LR_PAGE_BYTES,
    };
    if (!lr_central_is_used(c)) {
        return;
    }
    *central = lr_central_counts(c);
    out->spans = central->spans;
    out->thread_objects = totals->objects[c];
    out->transfer_objects = lr_transfer_objects(c);
    out->central_objects = central->free_objects;
    uint64_t all = out->spans * out->objects_per_span;
    uint64_t free = out->thread_objects + out->transfer_objects + out->central_objects;
    out->live_objects = all > free ? all - free : 0;
}

static void add_class(struct larder_stats *out, const struct larder_class_stats *c) {
    uint64_t all = c->spans * c->objects_per_span * c->size;
    uint64_t thread = c->thread_objects * c->size;
    uint64_t transfer = c->transfer_objects * c->size;
    uint64_t free = c->central_objects * c->size;
    out->spans += c->spans;
    out->span_tail_bytes += c->spans * c->span_bytes - all;
    out->thread_cache_bytes += thread;
    out->transfer_cache_bytes += transfer;
    out->central_free_bytes += free;
    // May become negative where objects moved meanwhile; the sum over all classes is put right.
    out->live_bytes += all - thread - transfer - free;
}

// Pages of spans in use that were returned.
static void subtract_clean(struct larder_stats *out, const struct central_counts *central) {
    out->returned_bytes += central->clean_bytes;
    out->span_tail_bytes -= central->clean_tail_bytes;
    out->central_free_bytes -= central->clean_bytes - central->clean_tail_bytes;
}

static void collect_heap(struct larder_stats *out) {
    struct span_heap_counts heap = lr_span_heap_counts();
    struct direct_counts direct = lr_direct_counts();
    out->span_heap_free_bytes = heap.free_dirty_pages << LR_PAGE_SHIFT;
    out->returned_bytes = heap.free_clean_pages << LR_PAGE_SHIFT;
    out->large_blocks = heap.large_spans + direct.blocks;
    out->large_bytes = (heap.large_pages << LR_PAGE_SHIFT) + direct.bytes;
    out->live_bytes += out->large_bytes;
    size_t pool = lr_pool_bytes();
    size_t pages = pool >> LR_PAGE_SHIFT;
    out->mapped_bytes = pool + direct.bytes;
    out->reserved_bytes = lr_window.reserved ? lr_window.bytes : pool;
    out->huge_pages = pool >> LR_HUGE_SHIFT;
    out->huge_pages_free = out->huge_pages - heap.huge_partial - heap.huge_full;
    out->metadata_bytes = lr_meta_used_bytes() + pages * (sizeof(atomic_u16) + sizeof(atomic_u32)) +
                          out->huge_pages * sizeof(struct huge_page);
}

// A sample's shadow counts as the live block; the pages that the program has instead are overhead.
static void collect_samples(struct larder_stats *out) {
    struct lr_sample_counts counts = lr_sample_counts();
    out->samples = counts.taken;
    out->samples_dropped = counts.dropped;
    out->samples_live = counts.live;
    out->sample_bytes = counts.place_bytes;
    out->large_blocks -= counts.place_blocks;
    out->large_bytes -= counts.place_bytes;
    out->live_bytes -= counts.place_bytes;
    out->metadata_bytes += counts.place_bytes;
}

// In hardened mode blocks have the size that was asked for; what a slot has beyond it counts as
// free with the slots that are, quarantined ones too. Guards and quarantined pages hold no memory.
static void collect_hardened(struct larder_stats *out) {
    struct lr_pages_counts pages = lr_pages_counts();
    out->live_bytes -= out->large_bytes; // as the span heap counts: with guards and quarantine
    out->large_blocks = lr_direct_counts().blocks + pages.blocks;
    out->large_bytes = lr_direct_counts().bytes + pages.block_bytes;
    out->live_bytes += out->large_bytes;
    out->span_tail_bytes += pages.room_bytes - pages.block_bytes;
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        struct lr_slab_counts slabs = lr_slab_counts(c);
        size_t slack = slabs.live * slabs.slot_bytes - slabs.live_bytes;
        out->live_bytes -= slack;
        out->central_free_bytes += slack;
    }
    size_t held = out->live_bytes + out->central_free_bytes + out->span_tail_bytes +
                  out->transfer_cache_bytes + out->span_heap_free_bytes;
    out->returned_bytes = out->mapped_bytes - lr_min(held, out->mapped_bytes);
}

// ---- Locks, one row a rank ----

struct lock_row {
    const char *name;
    struct lr_lock *lock; // NULL: one of each class
    struct lr_lock *(*of_class)(unsigned size_class);
    unsigned classes; // 1 to classes - 1, those in use
};

static const struct lock_row lock_rows[] = {
    {.name = "options", .lock = &lr_options_lock},
    {.name = "recording", .lock = &lr_trace_lock},
    {.name = "thread registry", .lock = &lr_registry_lock},
    {.name = "scavenger", .lock = &lr_scavenger_lock},
    {.name = "release", .lock = &lr_release_lock},
    {.name = "samples", .lock = &lr_sample_lock},
    {.name = "sampled guards", .lock = &lr_guard_lock},
    {.name = "transfer caches", .of_class = lr_transfer_lock, .classes = LR_CLASS_COUNT},
    {.name = "central lists", .of_class = lr_central_lock, .classes = LR_CLASS_COUNT},
    {.name = "hardened slabs", .of_class = lr_slab_lock, .classes = LR_SLAB_CLASSES},
    {.name = "hardened pages", .lock = &lr_pages_lock},
    {.name = "pools", .lock = &lr_pool_lock},
    {.name = "span heap", .lock = &lr_span_heap_lock},
    {.name = "direct blocks", .lock = &lr_direct_lock},
    {.name = "metadata", .lock = &lr_meta_lock},
};

static void add_lock(struct larder_lock_stats *out, struct lr_lock *lock) {
    out->takes += lr_load_relaxed(&lock->takes);
    out->contended += lr_load_relaxed(&lock->contended);
}

bool lr_stats_lock(unsigned index, struct larder_lock_stats *out) {
    if (index >= sizeof lock_rows / sizeof lock_rows[0]) {
        return false;
    }
    const struct lock_row *row = &lock_rows[index];
    *out = (struct larder_lock_stats){.name = row->name};
    if (row->lock != NULL) {
        add_lock(out, row->lock);
    }
    for (unsigned c = 1; c < row->classes; c++) {
        if (row->of_class == lr_slab_lock ? lr_hardened : lr_central_is_used(c)) {
            add_lock(out, row->of_class(c));
        }
    }
    return true;
}

static_assert((int)LR_LATENCY_BUCKETS == LARDER_LATENCY_BUCKETS &&
                  (int)LR_LATENCY_SHIFT == LARDER_LATENCY_SHIFT,
              "one is read into the other");

bool lr_stats_latency(unsigned index, struct larder_latency_stats *out) {
    if (index >= LR_LATENCY_KINDS) {
        return false;
    }
    struct lr_latency_counts counts = lr_latency_read(index);
    out->name = lr_latency_name(index);
    out->sum_ns = counts.sum_ns;
    memcpy(out->buckets, counts.buckets, sizeof out->buckets);
    return true;
}

void lr_stats_collect(struct larder_stats *out) {
    struct larder_lock_stats locks[sizeof lock_rows / sizeof lock_rows[0]];
    struct lr_stats_known known = {.resident_bytes = lr_os_resident_bytes(), .locks = locks};
    while (lr_stats_lock(known.lock_count, &locks[known.lock_count])) {
        known.lock_count++;
    }
    lr_stats_collect_from(out, NULL, &known);
}

void lr_stats_collect_from(struct larder_stats *out, struct larder_class_stats *classes,
                           const struct lr_stats_known *known) {
    *out = (struct larder_stats){.resident_bytes = known->resident_bytes};
    struct thread_totals totals;
    collect_threads(&totals);
    collect_heap(out);
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        struct larder_class_stats class_stats;
        struct central_counts central;
        look_at_class(c, &totals, &class_stats, &central);
        add_class(out, &class_stats);
        subtract_clean(out, &central);
        if (classes != NULL) {
            classes[c - 1] = class_stats;
        }
    }
    if (lr_hardened) {
        collect_hardened(out);
    }
    collect_samples(out);
    struct release_counts release = lr_release_counts();
    out->threads = totals.threads;
    out->thread_caches_parked = totals.parked;
    out->malloc_slow = totals.slow_calls;
    out->refills = totals.refills;
    out->flushes = totals.flushes;
    out->idle_drains = lr_idle_counts().drains;
    struct scavenger_counts scavenger = lr_scavenger_counts();
    struct span_pages_counts span_pages = lr_span_pages_counts();
    out->scavenge_runs = scavenger.ticks;
    out->scavenge_calls = release.calls + span_pages.calls;
    out->scavenge_bytes = (release.pages << LR_PAGE_SHIFT) + span_pages.bytes;
    out->scavenge_cpu_us = scavenger.cpu_ns / 1000;
    struct limit_counts limits = lr_limit_counts();
    size_t soft = lr_limit_soft_bytes();
    out->soft_limit_bytes = soft == SIZE_MAX ? 0 : soft;
    out->soft_limit_hits = limits.soft_hits;
    out->heap_limit_hits = limits.refused;
    out->shortages = limits.shortages;
    for (unsigned i = 0; i < known->lock_count; i++) {
        out->lock_takes += known->locks[i].takes;
        out->lock_contended += known->locks[i].contended;
    }
    lr_stats_derive(out);
}

bool lr_stats_class(unsigned index, struct larder_class_stats *out) {
    if (index + 1 >= LR_CLASS_COUNT) {
        return false;
    }
    struct thread_totals totals;
    collect_threads(&totals);
    struct central_counts central;
    look_at_class(index + 1, &totals, out, &central);
    return true;
}

static_assert((int)LR_CENTRAL_FILLS == LARDER_SPAN_FILLS, "one is read into the other");

bool lr_stats_fills(unsigned index, struct larder_span_fills *out) {
    if (index + 1 >= LR_CLASS_COUNT) {
        return false;
    }
    lr_central_fills(index + 1, out->spans);
    return true;
}

void lr_stats_threads(void (*visit)(const struct lr_thread_figures *figures)) {
    lr_lock(&lr_registry_lock);
    struct lr_rcu_node *node = lr_thread_registry.next;
    for (; node != NULL && node != &lr_thread_registry; node = node->next) {
        struct thread_record *record = lr_thread_record_of(node);
        const uint32_t state = lr_load_acquire(&record->state);
        if (state == THREAD_FREE) {
            continue;
        }
        const bool gone = lr_load_relaxed(&record->generation) != lr_thread_generation();
        const struct lr_thread_figures figures = {
            .thread_id = lr_load_relaxed(&record->thread_id),
            .state = gone                    ? LARDER_PAGE_THREAD_GONE
                     : state == THREAD_TAKEN ? LARDER_PAGE_THREAD_TAKEN
                                             : LARDER_PAGE_THREAD_USES,
            .cache_bytes = lr_cache_bytes_racy(&record->cache),
            .slow_calls = lr_load_relaxed(&record->cache.slow_calls)};
        visit(&figures);
    }
    lr_unlock(&lr_registry_lock);
}
