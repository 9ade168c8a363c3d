// SPDX-License-Identifier: Apache-2.0
#include "conf/option_table.h"

#include <string.h>

#include "base/bits.h"

// All strings of the table, one behind the other; rows hold offsets into it.
struct text {
#define OPTION(name, type, unit, fallback, min, max, when, help)                                   \
    char name_##name[sizeof #name];                                                                \
    char help_##name[sizeof help];
#define OPTION_VALUE(option, constant, number, text) char value_##constant[sizeof text];
#define OPTION_ALIAS(variable, option, reading) char alias_##variable[sizeof #variable];
#include "conf/options.def"
};
static_assert(sizeof(struct text) <= UINT16_MAX, "offsets have 16 bits");

static const struct text text = {
#define OPTION(option, type, unit, fallback, min, max, when, help_text)                            \
    .name_##option = #option, .help_##option = help_text,
#define OPTION_VALUE(option, constant, number, text) .value_##constant = text,
#define OPTION_ALIAS(variable, option, reading) .alias_##variable = #variable,
#include "conf/options.def"
};

static const struct lr_option_row rows[LR_OPTION_COUNT] = {
#define OPTION(option, kind, measure, preset, least, most, change, help_text)                      \
    [LR_OPTION_##option] = {.fallback = (preset),                                                  \
                            .min = (least),                                                        \
                            .max = (most),                                                         \
                            .name = offsetof(struct text, name_##option),                          \
                            .help = offsetof(struct text, help_##option),                          \
                            .type = LR_TYPE_##kind,                                                \
                            .unit = LR_UNIT_##measure,                                             \
                            .when = LR_WHEN_##change},
#include "conf/options.def"
};

static const struct value_row {
    uint8_t option; // enum lr_option_id
    uint8_t number;
    uint16_t text;
} values[] = {
#define OPTION_VALUE(name, constant, value, spelling)                                              \
    {.option = LR_OPTION_##name,                                                                   \
     .number = (value),                                                                            \
     .text = offsetof(struct text, value_##constant)},
#include "conf/options.def"
};
enum { VALUE_COUNT = sizeof values / sizeof *values };

static const struct alias_row {
    uint16_t variable;
    uint8_t option;  // enum lr_option_id
    uint8_t reading; // enum lr_alias_reading
} aliases[LR_ALIAS_COUNT] = {
#define OPTION_ALIAS(name, target, how)                                                            \
    [LR_ALIAS_##name] = {.variable = offsetof(struct text, alias_##name),                          \
                         .option = LR_OPTION_##target,                                             \
                         .reading = LR_READ_##how},
#include "conf/options.def"
};

static const uint64_t release_rate_unit = LR_GIB; // of LR_READ_RELEASE_RATE
static const uint64_t release_rate_max = 10;

static const char *text_at(uint16_t offset) { return (const char *)&text + offset; }

const struct lr_option_row *lr_option_row(enum lr_option_id id) { return &rows[id]; }

const char *lr_option_name(enum lr_option_id id) { return text_at(rows[id].name); }

const char *lr_option_help(enum lr_option_id id) { return text_at(rows[id].help); }

bool lr_option_in_range(enum lr_option_id id, uint64_t value) {
    return value >= rows[id].min && value <= rows[id].max;
}

// The locale must not decide what is a letter.
static char upper(char c) {
    if (c >= 'a' && c <= 'z') {
        c = (char)(c - 'a' + 'A');
    }
    return c;
}

static bool same_letters(const char *a, const char *b) {
    while (*a != '\0' && upper(*a) == upper(*b)) {
        a++;
        b++;
    }
    return *a == '\0' && *b == '\0';
}

enum lr_option_id lr_option_by_name(const char *name) {
    enum lr_option_id id = 0;
    while (id < LR_OPTION_COUNT && strcmp(lr_option_name(id), name) != 0) {
        id++;
    }
    return id;
}

static bool is_variable_of(const char *option, const char *variable, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (option[i] == '\0' || upper(option[i]) != variable[i]) {
            return false;
        }
    }
    return option[length] == '\0';
}

enum lr_option_id lr_option_by_variable(const char *name, size_t length) {
    enum lr_option_id id = 0;
    while (id < LR_OPTION_COUNT && !is_variable_of(lr_option_name(id), name, length)) {
        id++;
    }
    return id;
}

enum { NEAR_BYTES = 64 }; // longer names are near to none

// Letters to drop and insert to turn `from`, cut to what fits, into `to`; either case alike. That a
// change of a letter counts as two makes "LIMIT" nearer to "heap_limit" than to a short name.
static LR_COLD unsigned edits(const char *from, size_t length, const char *to) {
    uint8_t row[NEAR_BYTES];
    const size_t columns = lr_min(length, sizeof row - 1);
    for (size_t i = 0; i <= columns; i++) {
        row[i] = (uint8_t)i;
    }
    for (; *to != '\0'; to++) {
        unsigned diagonal = row[0]++;
        for (size_t i = 1; i <= columns; i++) {
            const unsigned change = diagonal + (upper(from[i - 1]) == upper(*to) ? 0 : 2);
            const unsigned insert_or_drop = 1 + (unsigned)lr_min(row[i], row[i - 1]);
            diagonal = row[i];
            row[i] = (uint8_t)lr_min(change, insert_or_drop);
        }
    }
    return row[columns];
}

// Two letters in the wrong order are always near.
static LR_COLD bool is_near(unsigned needed, size_t length, size_t other_length) {
    const uint64_t most = lr_max(2, lr_max(length, other_length) / 2);
    const bool shares_letters = needed < length + other_length;
    return length < NEAR_BYTES && shares_letters && needed <= most;
}

unsigned lr_nearest_name(const char *name, size_t length, const char *(*name_at)(unsigned),
                         unsigned count) {
    unsigned nearest = count;
    unsigned fewest = UINT32_MAX;
    for (unsigned i = 0; i < count; i++) {
        const unsigned needed = edits(name, length, name_at(i));
        if (needed < fewest && is_near(needed, length, strlen(name_at(i)))) {
            fewest = needed;
            nearest = i;
        }
    }
    return nearest;
}

static const char *name_at(unsigned i) { return lr_option_name((enum lr_option_id)i); }

enum lr_option_id lr_option_nearest(const char *name, size_t length) {
    return (enum lr_option_id)lr_nearest_name(name, length, name_at, LR_OPTION_COUNT);
}

// whole + thousandths / 1000
struct decimal {
    uint64_t whole; // saturated
    unsigned thousandths;
    bool negative;
};

// Returns what follows the number; NULL if there is none.
static const char *read_decimal(const char *s, struct decimal *out) {
    *out = (struct decimal){.negative = *s == '-'};
    s += out->negative;
    if (*s < '0' || *s > '9') {
        return NULL;
    }
    for (; *s >= '0' && *s <= '9'; s++) {
        uint64_t more;
        if (__builtin_mul_overflow(out->whole, 10, &more) ||
            __builtin_add_overflow(more, (uint64_t)(*s - '0'), &more)) {
            more = UINT64_MAX; // and stays there, whatever follows
        }
        out->whole = more;
    }
    if (*s != '.') {
        return s;
    }
    s++;
    unsigned worth = 100;
    for (; *s >= '0' && *s <= '9'; s++, worth /= 10) {
        if (worth == 0) {
            return NULL;
        }
        out->thousandths += worth * (unsigned)(*s - '0');
    }
    return worth == 100 ? NULL : s;
}

// What one unit of a number that ends in `suffix` is worth; 0 if the suffix is none of `unit`.
static uint64_t suffix_worth(enum lr_option_unit unit, const char *suffix) {
    if (*suffix == '\0') {
        return 1;
    }
    if (unit == LR_UNIT_MS) {
        return same_letters(suffix, "ms") ? 1 : same_letters(suffix, "s") ? 1000 : 0;
    }
    if (unit < LR_UNIT_BYTES) {
        return 0;
    }
    static const char powers[] = "KMGT";
    const char *power = strchr(powers, upper(*suffix));
    uint64_t worth = 1;
    if (power != NULL) {
        worth <<= 10 * (power - powers + 1);
        suffix++;
        suffix += upper(*suffix) == 'I';
    }
    suffix += upper(*suffix) == 'B';
    if (unit == LR_UNIT_BYTES_PER_S && same_letters(suffix, "/s")) {
        suffix += 2;
    }
    return *suffix == '\0' ? worth : 0;
}

// number * worth, saturated, into the range min..max.
static enum lr_option_verdict scale(const struct decimal *number, uint64_t worth, uint64_t min,
                                    uint64_t max, uint64_t *value) {
    if (worth == 0 || (number->thousandths != 0 && worth < 1000)) {
        return LR_OPTION_NOT_UNDERSTOOD;
    }
    uint64_t product;
    if (__builtin_mul_overflow(number->whole, worth, &product) ||
        __builtin_add_overflow(product, number->thousandths * worth / 1000, &product)) {
        product = UINT64_MAX;
    }
    const bool below = product < min || (number->negative && product != 0);
    *value = below ? min : product > max ? max : product;
    return below || product > max ? LR_OPTION_OUT_OF_RANGE : LR_OPTION_GOOD;
}

static enum lr_option_verdict read_number(const struct lr_option_row *row, const char *s,
                                          uint64_t *value) {
    struct decimal number;
    const char *suffix = read_decimal(s, &number);
    if (suffix == NULL) {
        return LR_OPTION_NOT_UNDERSTOOD;
    }
    const enum lr_option_verdict verdict =
        scale(&number, suffix_worth(row->unit, suffix), row->min, row->max, value);
    if (verdict == LR_OPTION_GOOD && row->unit == LR_UNIT_HUGE_PAGES) {
        *value = lr_align_up(*value, LR_HUGE_BYTES);
    }
    return verdict;
}

static enum lr_option_verdict read_flag(const char *s, uint64_t *value) {
    // The first half means 0, the second 1.
    static const char words[][8] = {"0", "no",  "n", "off", "false", "f",
                                    "1", "yes", "y", "on",  "true",  "t"};
    enum { WORDS = sizeof words / sizeof *words };
    for (unsigned i = 0; i < WORDS; i++) {
        if (same_letters(s, words[i])) {
            *value = i >= WORDS / 2;
            return LR_OPTION_GOOD;
        }
    }
    // A number is meant as a level of something that has but one.
    struct decimal number;
    const char *rest = read_decimal(s, &number);
    if (rest == NULL || *rest != '\0') {
        return LR_OPTION_NOT_UNDERSTOOD;
    }
    return scale(&number, 1, 0, 1, value);
}

static enum lr_option_verdict read_name(enum lr_option_id id, const char *s, uint64_t *value) {
    for (unsigned i = 0; i < VALUE_COUNT; i++) {
        if (values[i].option == id && same_letters(s, text_at(values[i].text))) {
            *value = values[i].number;
            return LR_OPTION_GOOD;
        }
    }
    return LR_OPTION_NOT_UNDERSTOOD;
}

static enum lr_option_verdict read_path(const char *s, uint64_t *value) {
    const bool none = *s == '\0' || same_letters(s, "none");
    if (!none && (*s != '/' || strlen(s) >= LR_OPTION_TEXT_BYTES)) {
        return LR_OPTION_NOT_UNDERSTOOD;
    }
    *value = !none;
    return LR_OPTION_GOOD;
}

enum lr_option_verdict lr_option_read(enum lr_option_id id, const char *s, uint64_t *value) {
    switch (rows[id].type) {
    case LR_TYPE_FLAG:
        return read_flag(s, value);
    case LR_TYPE_NAME:
        return read_name(id, s, value);
    case LR_TYPE_PATH:
        return read_path(s, value);
    default:
        return read_number(&rows[id], s, value);
    }
}

void lr_option_print_variable(struct lr_print *p, enum lr_option_id id) {
    lr_print_str(p, "LARDER_");
    for (const char *s = lr_option_name(id); *s != '\0'; s++) {
        lr_print_char(p, upper(*s));
    }
}

static const char *value_text(enum lr_option_id id, uint64_t number) {
    for (unsigned i = 0; i < VALUE_COUNT; i++) {
        if (values[i].option == id && values[i].number == number) {
            return text_at(values[i].text);
        }
    }
    return "?";
}

static void print_unit(struct lr_print *p, enum lr_option_unit unit) {
    switch (unit) {
    case LR_UNIT_OBJECTS:
        lr_print_str(p, " objects");
        break;
    case LR_UNIT_MS:
        lr_print_str(p, " ms");
        break;
    case LR_UNIT_BYTES_PER_S:
        lr_print_str(p, "/s");
        break;
    default:
        break;
    }
}

static void print_bare_value(struct lr_print *p, enum lr_option_id id, uint64_t value) {
    if (rows[id].type == LR_TYPE_NAME) {
        lr_print_str(p, value_text(id, value));
    } else if (rows[id].type == LR_TYPE_PATH) {
        lr_print_str(p, value == 0 ? "none" : "/...");
    } else if (rows[id].unit < LR_UNIT_BYTES || value == 0) {
        lr_print_u64(p, value);
    } else {
        lr_print_bytes_exact(p, value);
    }
}

void lr_option_print_value(struct lr_print *p, enum lr_option_id id, uint64_t value) {
    print_bare_value(p, id, value);
    print_unit(p, rows[id].unit);
}

void lr_option_print_range(struct lr_print *p, enum lr_option_id id) {
    const struct lr_option_row *row = &rows[id];
    if (row->type == LR_TYPE_NUMBER) {
        print_bare_value(p, id, row->min);
        lr_print_str(p, " to ");
        lr_option_print_value(p, id, row->max);
        return;
    }
    if (row->type == LR_TYPE_PATH) {
        lr_print_f(p, "none or a path from / on, up to %d bytes", LR_OPTION_TEXT_BYTES - 1);
        return;
    }
    for (uint64_t value = row->min; value <= row->max; value++) {
        lr_print_str(p, value == row->min ? "" : value == row->max ? " or " : ", ");
        print_bare_value(p, id, value);
    }
}

const char *lr_alias_variable(enum lr_option_alias alias) {
    return text_at(aliases[alias].variable);
}

enum lr_option_id lr_alias_option(enum lr_option_alias alias) { return aliases[alias].option; }

enum lr_option_alias lr_alias_by_variable(const char *variable, size_t length) {
    enum lr_option_alias alias = 0;
    while (alias < LR_ALIAS_COUNT && (strlen(lr_alias_variable(alias)) != length ||
                                      memcmp(lr_alias_variable(alias), variable, length) != 0)) {
        alias++;
    }
    return alias;
}

enum lr_option_verdict lr_alias_read(enum lr_option_alias alias, const char *s,
                                     enum lr_option_id *id, uint64_t *value) {
    const struct lr_option_row *row = &rows[aliases[alias].option];
    const enum lr_alias_reading reading = aliases[alias].reading;
    *id = aliases[alias].option;
    if (reading == LR_READ_SAME ||
        (reading == LR_READ_LEVEL && read_flag(s, value) == LR_OPTION_GOOD)) {
        return lr_option_read(*id, s, value);
    }
    struct decimal number;
    const char *rest = read_decimal(s, &number);
    if (rest == NULL || *rest != '\0') {
        return LR_OPTION_NOT_UNDERSTOOD;
    }
    enum lr_option_verdict verdict;
    switch (reading) {
    case LR_READ_MEBIBYTES:
        return scale(&number, LR_MIB, row->min, row->max, value);
    case LR_READ_LEVEL:
        verdict = scale(&number, 1, 0, UINT64_MAX, value);
        *value = verdict != LR_OPTION_NOT_UNDERSTOOD && *value != 0;
        return verdict;
    default:
        verdict = scale(&number, release_rate_unit, 0, release_rate_max * release_rate_unit, value);
        if (verdict != LR_OPTION_NOT_UNDERSTOOD && *value == 0) {
            *id = LR_OPTION_scavenger;
            *value = LR_SCAVENGER_OFF;
        }
        return verdict;
    }
}

void lr_alias_print_range(struct lr_print *p, enum lr_option_alias alias) {
    const struct lr_option_row *row = &rows[aliases[alias].option];
    switch (aliases[alias].reading) {
    case LR_READ_MEBIBYTES:
        lr_print_f(p, "%lu to %lu", row->min / LR_MIB, row->max / LR_MIB);
        break;
    case LR_READ_LEVEL:
        lr_print_str(p, "0 or more");
        break;
    case LR_READ_RELEASE_RATE:
        lr_print_f(p, "0 to %lu", release_rate_max);
        break;
    default:
        lr_option_print_range(p, aliases[alias].option);
        break;
    }
}
