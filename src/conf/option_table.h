// SPDX-License-Identifier: Apache-2.0
// The rows of options.def as constant data, and the text of their values both ways. Pure: it knows
// neither the environment nor which values are in effect (options.h does).
//
// Flags are read as 0/1, no/yes, off/on, false/true (and their first letters), names as the table
// spells them, numbers as decimal with at most three decimal places; letters of either case. A
// number of bytes may end in K, M, G or T, also written Ki, KB or KiB, which are all powers of
// 1024; one of milliseconds in ms or s. Anything else behind a value is an error.
#ifndef LARDER_CONF_OPTION_TABLE_H
#define LARDER_CONF_OPTION_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/print.h"

enum lr_option_id {
#define OPTION(name, type, unit, fallback, min, max, when, help) LR_OPTION_##name,
#include "conf/options.def"
    LR_OPTION_COUNT
};

// The values of options that are names: LR_SCAVENGER_THREAD, ...
enum lr_option_constant {
#define OPTION_VALUE(option, constant, number, text) constant = (number),
#include "conf/options.def"
};

enum lr_option_alias {
#define OPTION_ALIAS(variable, option, reading) LR_ALIAS_##variable,
#include "conf/options.def"
    LR_ALIAS_COUNT
};

enum lr_option_type {
    LR_TYPE_FLAG,
    LR_TYPE_NUMBER,
    LR_TYPE_NAME,
    LR_TYPE_PATH, // the value says whether there is one; what it is: lr_options_text()
};
enum { LR_OPTION_TEXT_BYTES = 256 };

enum lr_option_unit {
    LR_UNIT_NONE,
    LR_UNIT_OBJECTS,
    LR_UNIT_MS,
    LR_UNIT_BYTES,
    LR_UNIT_HUGE_PAGES, // bytes, rounded up to whole huge pages
    LR_UNIT_BYTES_PER_S,
};

enum lr_option_when { LR_WHEN_STARTUP, LR_WHEN_RUNTIME };

enum lr_alias_reading {
    LR_READ_SAME,         // as the option itself
    LR_READ_MEBIBYTES,    // a number of MiB
    LR_READ_LEVEL,        // a flag, or a number of which any but 0 is 1
    LR_READ_RELEASE_RATE, // 0 to 10; gperftools' default of 1 is ours of 1 GiB/s, and 0, which
                          // means "never return memory", is scavenger=off
};

// Kept small and free of pointers, so that the table needs no relocation and stays shared.
struct lr_option_row {
    uint64_t fallback; // the default
    uint64_t min;
    uint64_t max;
    uint16_t name; // offsets of text
    uint16_t help;
    uint8_t type; // enum lr_option_type
    uint8_t unit; // enum lr_option_unit
    uint8_t when; // enum lr_option_when
};

enum lr_option_verdict {
    LR_OPTION_GOOD,
    LR_OPTION_OUT_OF_RANGE,   // the value read is the nearest bound
    LR_OPTION_NOT_UNDERSTOOD, // no value read
};

const struct lr_option_row *lr_option_row(enum lr_option_id id);
const char *lr_option_name(enum lr_option_id id); // "thread_cache_max"
const char *lr_option_help(enum lr_option_id id);
bool lr_option_in_range(enum lr_option_id id, uint64_t value);

// LR_OPTION_COUNT if there is none. by_name compares exactly; by_variable takes the `length`
// characters behind "LARDER_", which must be upper case.
LR_COLD enum lr_option_id lr_option_by_name(const char *name);
LR_COLD enum lr_option_id lr_option_by_variable(const char *name, size_t length);
// The option whose variable needs the fewest edits to become LARDER_<name>, if they are few.
LR_COLD enum lr_option_id lr_option_nearest(const char *name, size_t length);
// Of the names 0 to `count` - 1 the one that takes the fewest edits, in either case; `count` if
// none is near.
LR_COLD unsigned lr_nearest_name(const char *name, size_t length, const char *(*name_at)(unsigned),
                                 unsigned count);

LR_COLD enum lr_option_verdict lr_option_read(enum lr_option_id id, const char *text,
                                              uint64_t *value);

// "LARDER_THREAD_CACHE_MAX", "64 KiB", "64 KiB to 1 GiB".
LR_COLD void lr_option_print_variable(struct lr_print *p, enum lr_option_id id);
LR_COLD void lr_option_print_value(struct lr_print *p, enum lr_option_id id, uint64_t value);
LR_COLD void lr_option_print_range(struct lr_print *p, enum lr_option_id id);

// gperftools' variables. LR_ALIAS_COUNT if there is none; *id is the option that is set, which for
// LR_READ_RELEASE_RATE depends on the value.
const char *lr_alias_variable(enum lr_option_alias alias);
enum lr_option_id lr_alias_option(enum lr_option_alias alias);
LR_COLD enum lr_option_alias lr_alias_by_variable(const char *variable, size_t length);
LR_COLD enum lr_option_verdict lr_alias_read(enum lr_option_alias alias, const char *text,
                                             enum lr_option_id *id, uint64_t *value);
LR_COLD void lr_alias_print_range(struct lr_print *p, enum lr_option_alias alias);

#endif
