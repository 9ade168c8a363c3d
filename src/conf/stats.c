// SPDX-License-Identifier: Apache-2.0
#include "conf/stats.h"

#include <assert.h>

// All strings, one behind the other; rows hold offsets, so that the table needs no relocation.
struct text {
#define LARDER_STAT(name, kind, unit, help)                                                        \
    char name_##name[sizeof #name];                                                                \
    char help_##name[sizeof help];
#include <larder/stats.def>
};
static_assert(sizeof(struct text) <= UINT16_MAX, "offsets have 16 bits");

static const struct text text = {
#define LARDER_STAT(stat, kind, unit, help_text) .name_##stat = #stat, .help_##stat = help_text,
#include <larder/stats.def>
};

// The units of the table by their names there.
enum {
    UNIT_BYTES = LR_STAT_BYTES,
    UNIT_COUNT = LR_STAT_NUMBER,
    UNIT_PERMILLE = LR_STAT_PERMILLE,
    UNIT_MICROSECONDS = LR_STAT_TIME_US,
};

static const struct stat_row {
    uint16_t name;
    uint16_t help;
    uint16_t field; // offset in struct larder_stats
    uint8_t kind;   // enum lr_stat_kind
    uint8_t unit;   // enum lr_stat_unit
} rows[LR_STAT_COUNT] = {
#define LARDER_STAT(stat, sort, measure, help_text)                                                \
    [LR_STAT_##stat] = {.name = offsetof(struct text, name_##stat),                                \
                        .help = offsetof(struct text, help_##stat),                                \
                        .field = offsetof(struct larder_stats, stat),                              \
                        .kind = LR_STAT_##sort,                                                    \
                        .unit = UNIT_##measure},
#include <larder/stats.def>
};

static_assert(sizeof(struct larder_stats) == 8 + 8 * LR_STAT_COUNT, "two headers, then the rows");

const char *lr_stat_name(enum lr_stat_id id) { return (const char *)&text + rows[id].name; }

const char *lr_stat_help(enum lr_stat_id id) { return (const char *)&text + rows[id].help; }

enum lr_stat_kind lr_stat_kind(enum lr_stat_id id) { return rows[id].kind; }

enum lr_stat_unit lr_stat_unit(enum lr_stat_id id) { return rows[id].unit; }

static uint64_t *field_of(struct larder_stats *stats, enum lr_stat_id id) {
    return (uint64_t *)(void *)((char *)stats + rows[id].field);
}

uint64_t lr_stat_value(const struct larder_stats *stats, enum lr_stat_id id) {
    return *(const uint64_t *)(const void *)((const char *)stats + rows[id].field);
}

void lr_stat_set(struct larder_stats *stats, enum lr_stat_id id, uint64_t value) {
    *field_of(stats, id) = value;
}

uint64_t lr_permille(uint64_t part, uint64_t whole) {
    if (whole == 0) {
        return 0;
    }
    if (part >= whole) {
        return 1000;
    }
    // Both are shifted alike until part * 1000 cannot overflow.
    while (part > UINT64_MAX / 1000) {
        part >>= 1;
        whole >>= 1;
    }
    return part * 1000 / whole;
}

void lr_stats_derive(struct larder_stats *stats) {
    for (enum lr_stat_id id = 0; id < LR_STAT_COUNT; id++) {
        uint64_t *value = field_of(stats, id);
        if (rows[id].kind == LR_STAT_GAUGE && *value > INT64_MAX) {
            *value = 0;
        }
    }
    const uint64_t idle = stats->thread_cache_bytes + stats->transfer_cache_bytes +
                          stats->central_free_bytes + stats->span_tail_bytes +
                          stats->span_heap_free_bytes + stats->metadata_bytes;
    stats->version = LARDER_STATS_VERSION;
    stats->bytes = sizeof *stats;
    stats->held_bytes = stats->live_bytes + idle;
    stats->fragmentation = lr_permille(idle, stats->held_bytes);
}
