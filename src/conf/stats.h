// SPDX-License-Identifier: Apache-2.0
// The statistics table (include/larder/stats.def) for the library itself: names and help of the
// rows, what can be derived from others, and who gathers the rest.
#ifndef LARDER_CONF_STATS_H
#define LARDER_CONF_STATS_H

#include <larder/stats.h>
#include <stdbool.h>
#include <stdint.h>

enum lr_stat_id {
#define LARDER_STAT(name, kind, unit, help) LR_STAT_##name,
#include <larder/stats.def>
    LR_STAT_COUNT
};

enum lr_stat_kind { LR_STAT_GAUGE, LR_STAT_COUNTER };
enum lr_stat_unit { LR_STAT_BYTES, LR_STAT_NUMBER, LR_STAT_PERMILLE, LR_STAT_TIME_US };

const char *lr_stat_name(enum lr_stat_id id);
const char *lr_stat_help(enum lr_stat_id id);
enum lr_stat_kind lr_stat_kind(enum lr_stat_id id);
enum lr_stat_unit lr_stat_unit(enum lr_stat_id id);
uint64_t lr_stat_value(const struct larder_stats *stats, enum lr_stat_id id);
void lr_stat_set(struct larder_stats *stats, enum lr_stat_id id, uint64_t value);

// part of whole in thousandths, at most 1000: figures read at different moments may make the part
// the larger one. 0 of nothing.
uint64_t lr_permille(uint64_t part, uint64_t whole);

// Fills version, bytes, held_bytes and fragmentation from the other fields. A gauge that came out
// negative, because it is the difference of counters read at different moments, becomes 0.
void lr_stats_derive(struct larder_stats *stats);

// Gathered in diag/introspect.c, the one place that knows all tiers. They take the locks of the
// tiers one at a time, so that the caller may hold none. stats_collect ends with
// lr_stats_derive(); the others return false behind the last class or lock.
void lr_stats_collect(struct larder_stats *out);
// The same by who knows a part already, and the LR_CLASS_COUNT - 1 classes that it was made from,
// unless `classes` is NULL.
struct lr_stats_known {
    uint64_t resident_bytes;
    const struct larder_lock_stats *locks; // all that lr_stats_lock() tells
    unsigned lock_count;
};
void lr_stats_collect_from(struct larder_stats *out, struct larder_class_stats *classes,
                           const struct lr_stats_known *known);
bool lr_stats_class(unsigned index, struct larder_class_stats *out);
bool lr_stats_fills(unsigned index, struct larder_span_fills *out);
bool lr_stats_lock(unsigned index, struct larder_lock_stats *out);
bool lr_stats_latency(unsigned index, struct larder_latency_stats *out);

// The cache of one thread.
struct lr_thread_figures {
    uint32_t thread_id;
    uint32_t state; // enum larder_page_thread_state
    uint64_t cache_bytes;
    uint64_t slow_calls;
};
// Calls `visit`, which may make system calls but take no lock, for each cache in use.
void lr_stats_threads(void (*visit)(const struct lr_thread_figures *figures));

#endif
