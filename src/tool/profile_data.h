// SPDX-License-Identifier: Apache-2.0
// A heap profile as larder_profile_write() wrote it, read into memory. The text is not trusted.
#ifndef LARDER_TOOL_PROFILE_DATA_H
#define LARDER_TOOL_PROFILE_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PROFILE_COLUMNS(X)                                                                         \
    X(objects)                                                                                     \
    X(bytes)                                                                                       \
    X(live_objects)                                                                                \
    X(live_bytes)                                                                                  \
    X(peak_objects)                                                                                \
    X(peak_bytes)                                                                                  \
    X(freed_objects)                                                                               \
    X(freed_bytes)                                                                                 \
    X(lifetime_ns)                                                                                 \
    X(pinned_span_bytes)                                                                           \
    X(pinned_huge_bytes)

enum profile_column {
#define PROFILE_COLUMN(name) PROFILE_##name,
    PROFILE_COLUMNS(PROFILE_COLUMN)
#undef PROFILE_COLUMN
        PROFILE_COLUMN_COUNT
};

struct profile_stack {
    int64_t values[PROFILE_COLUMN_COUNT]; // negative only after profile_subtract()
    unsigned depth;
    uint64_t *pcs; // return addresses, the innermost first
};

struct profile_mapping {
    uint64_t start, end, offset;
    char *path;
};

// Each address that occurs, once, in rising order.
struct profile_location {
    uint64_t pc;
    const struct profile_mapping *mapping; // NULL: unknown
    const char *function;                  // never NULL: "[file+0x12]" or "[0x1234]" if unknown
};

struct profile {
    struct profile_stack *stacks;
    size_t stack_count;
    struct profile_mapping *mappings;
    size_t mapping_count;
    struct profile_location *locations; // after profile_symbolize()
    size_t location_count;
    uint64_t process, time_ns, interval, samples, samples_live, samples_dropped;
};

// NULL, or what is wrong.
const char *lr_profile_read(FILE *in, struct profile *out);
void lr_profile_free(struct profile *profile);

// What happened between `base` and `profile`, two dumps of one process: sums that only grow are
// reduced by those of the base; with `growth` what is live too.
void lr_profile_subtract(struct profile *profile, const struct profile *base, bool growth);

// Names the functions, from files below `root` ("" for this system), and takes Larder's own frames
// and those of malloc off the stacks.
void lr_profile_symbolize(struct profile *profile, const char *root);
const struct profile_location *lr_profile_location(const struct profile *profile, uint64_t pc);

// Ends the command if there is no memory.
void *lr_profile_grow(void *array, size_t count, size_t item_bytes);

// Text for people: the stacks with most of a column. JSON: all stacks, in that order. pprof:
// profile.proto, gzipped if the command has zlib. SVG: a flame graph. False: the file cannot be
// written.
struct profile_kind {
    const char *name;
    enum profile_column column;
    const char *unit;  // of the column: bytes, count, nanoseconds
    const char *title; // what it is, for people
};
// The stacks, those with most of the kind's column first, to be freed; *total: of all.
const struct profile_stack **lr_profile_sorted(const struct profile *profile,
                                               const struct profile_kind *kind, int64_t *total);
bool lr_profile_text(const struct profile *profile, const struct profile_kind *kind, FILE *out);
bool lr_profile_json(const struct profile *profile, const struct profile_kind *kind, FILE *out);
bool lr_profile_pprof(const struct profile *profile, const struct profile_kind *kind, FILE *out);
bool lr_profile_svg(const struct profile *profile, const struct profile_kind *kind, FILE *out);

#endif
