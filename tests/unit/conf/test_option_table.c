// SPDX-License-Identifier: Apache-2.0
//
// The rows of options.def are sane, and values are read and shown as option_table.h says.
#include "conf/option_table.h"

#include <string.h>

#include "../../support/support.h"

// A value that no reading below results in, to see that nothing was stored.
static const uint64_t untouched = 0xdeadbeefdeadbeef;

static const char *range_text(enum lr_option_id id) {
    static char text[128];
    struct lr_print p;
    lr_print_init(&p, text, sizeof text, -1);
    lr_option_print_range(&p, id);
    EXPECT(!p.truncated);
    return text;
}

static const char *shown(enum lr_option_id id, uint64_t value) {
    static char text[64];
    struct lr_print p;
    lr_print_init(&p, text, sizeof text, -1);
    lr_option_print_value(&p, id, value);
    EXPECT(!p.truncated);
    return text;
}

static const char *variable_text(enum lr_option_id id) {
    static char text[64];
    struct lr_print p;
    lr_print_init(&p, text, sizeof text, -1);
    lr_option_print_variable(&p, id);
    EXPECT(!p.truncated);
    return text;
}

static void expect_read(enum lr_option_id id, const char *text, enum lr_option_verdict verdict,
                        uint64_t value) {
    uint64_t found = untouched;
    const enum lr_option_verdict said = lr_option_read(id, text, &found);
    if (said != verdict || found != value) {
        test_fail(__FILE__, __LINE__, "%s=\"%s\": verdict %d, value %ju; expected %d, %ju",
                  lr_option_name(id), text, (int)said, (uintmax_t)found, (int)verdict,
                  (uintmax_t)value);
    }
}

START_TEST(test_option_table__every_default_lies_in_its_range) {
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        const struct lr_option_row *row = lr_option_row(id);
        EXPECT_UINT(row->min, <=, row->max);
        EXPECT(lr_option_in_range(id, row->fallback));
        EXPECT(lr_option_in_range(id, row->min));
        EXPECT(lr_option_in_range(id, row->max));
        EXPECT(row->min == 0 || !lr_option_in_range(id, row->min - 1));
        EXPECT(row->max == UINT64_MAX || !lr_option_in_range(id, row->max + 1));
        EXPECT(strlen(lr_option_help(id)) > 10);
    }
}
END_TEST

START_TEST(test_option_table__every_name_finds_its_row) {
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        const char *variable = variable_text(id);
        EXPECT(strncmp(variable, "LARDER_", 7) == 0);
        EXPECT_UINT(lr_option_by_name(lr_option_name(id)), ==, id);
        EXPECT_UINT(lr_option_by_variable(variable + 7, strlen(variable + 7)), ==, id);
        EXPECT_UINT(lr_option_by_variable(variable + 7, strlen(variable + 7) - 1), ==,
                    LR_OPTION_COUNT);
        EXPECT_UINT(lr_option_by_variable(lr_option_name(id), strlen(lr_option_name(id))), ==,
                    LR_OPTION_COUNT);
        EXPECT_UINT(lr_option_by_name(variable), ==, LR_OPTION_COUNT);
        EXPECT_UINT(lr_option_nearest(variable + 7, strlen(variable + 7)), ==, id);
    }
    EXPECT_UINT(lr_option_by_name(""), ==, LR_OPTION_COUNT);
    EXPECT_UINT(lr_option_by_variable("", 0), ==, LR_OPTION_COUNT);
    EXPECT_UINT(lr_option_by_variable("STATSX", 6), ==, LR_OPTION_COUNT);
    EXPECT_UINT(lr_option_by_variable("STATSX", 5), ==, LR_OPTION_stats);
}
END_TEST

START_TEST(test_option_table__what_is_shown_can_be_read_again) {
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        const struct lr_option_row *row = lr_option_row(id);
        const uint64_t values[] = {row->min, row->fallback, row->max};
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            // "64 MiB" is shown, "64MiB" is read; the word "objects" is only shown.
            char text[64];
            size_t length = 0;
            for (const char *s = shown(id, values[i]); *s != '\0'; s++) {
                if (*s != ' ') {
                    text[length++] = *s;
                }
            }
            text[length] = '\0';
            char *objects = strstr(text, "objects");
            if (objects != NULL) {
                *objects = '\0';
            }
            expect_read(id, text, LR_OPTION_GOOD, values[i]);
        }
    }
}
END_TEST

START_TEST(test_option_table__paths) {
    const enum lr_option_id id = LR_OPTION_metrics_file;
    char longest[LR_OPTION_TEXT_BYTES + 1];
    memset(longest, '/', sizeof longest);
    longest[LR_OPTION_TEXT_BYTES] = '\0';
    expect_read(id, "", LR_OPTION_GOOD, 0);
    expect_read(id, "none", LR_OPTION_GOOD, 0);
    expect_read(id, "/a %p b", LR_OPTION_GOOD, 1);
    expect_read(id, "a/b", LR_OPTION_NOT_UNDERSTOOD, untouched);
    expect_read(id, longest, LR_OPTION_NOT_UNDERSTOOD, untouched);
    expect_read(id, longest + 1, LR_OPTION_GOOD, 1);
    ck_assert_str_eq(range_text(id), "none or a path from / on, up to 255 bytes");
}
END_TEST

START_TEST(test_option_table__names_are_numbered_without_a_gap) {
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        if (lr_option_row(id)->type != LR_TYPE_NAME) {
            continue;
        }
        EXPECT_UINT(lr_option_row(id)->min, ==, 0);
        for (uint64_t value = 0; value <= lr_option_row(id)->max; value++) {
            EXPECT(strcmp(shown(id, value), "?") != 0);
            expect_read(id, shown(id, value), LR_OPTION_GOOD, value);
        }
        ck_assert_str_eq(shown(id, lr_option_row(id)->max + 1), "?");
        expect_read(id, "?", LR_OPTION_NOT_UNDERSTOOD, untouched);
        expect_read(id, "0", LR_OPTION_NOT_UNDERSTOOD, untouched);
    }
    expect_read(LR_OPTION_scavenger, "Inline", LR_OPTION_GOOD, LR_SCAVENGER_INLINE);
    expect_read(LR_OPTION_scavenger, "off", LR_OPTION_GOOD, LR_SCAVENGER_OFF);
    expect_read(LR_OPTION_scavenger, "offf", LR_OPTION_NOT_UNDERSTOOD, untouched);
    expect_read(LR_OPTION_scavenger, "of", LR_OPTION_NOT_UNDERSTOOD, untouched);
    expect_read(LR_OPTION_on_error, "report", LR_OPTION_GOOD, LR_ON_ERROR_REPORT);
    expect_read(LR_OPTION_on_error, "inline", LR_OPTION_NOT_UNDERSTOOD, untouched);
}
END_TEST

START_TEST(test_option_table__flags) {
    static const char *const yes[] = {"1", "yes", "y", "on", "true", "t", "TRUE", "On", "Y"};
    static const char *const no[] = {"0", "no", "n", "off", "false", "f", "FALSE", "Off", "N"};
    static const char *const neither[] = {"", "o", "yess", "1 ", " 1", "1x", "1.5", "-", "enable"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        expect_read(LR_OPTION_stats, yes[i], LR_OPTION_GOOD, 1);
        expect_read(LR_OPTION_stats, no[i], LR_OPTION_GOOD, 0);
        expect_read(LR_OPTION_stats, neither[i], LR_OPTION_NOT_UNDERSTOOD, untouched);
    }
    expect_read(LR_OPTION_stats, "2", LR_OPTION_OUT_OF_RANGE, 1);
    expect_read(LR_OPTION_verbose, "2", LR_OPTION_OUT_OF_RANGE, 1);
    expect_read(LR_OPTION_stats, "-1", LR_OPTION_OUT_OF_RANGE, 0);
}
END_TEST

START_TEST(test_option_table__bytes) {
    static const char *const mebibyte_and_a_half[] = {"1572864", "1572864B", "1536K",  "1536k",
                                                      "1536Ki",  "1536KiB",  "1536KB", "1.5M",
                                                      "1.5MiB",  "1.50mib",  "1.500MB"};
    const enum lr_option_id id = LR_OPTION_thread_cache_max;
    for (size_t i = 0; i < sizeof mebibyte_and_a_half / sizeof(char *); i++) {
        expect_read(id, mebibyte_and_a_half[i], LR_OPTION_GOOD, 1536 * LR_KIB);
    }
    expect_read(id, "1G", LR_OPTION_GOOD, LR_GIB);
    expect_read(LR_OPTION_scavenge_start, "1T", LR_OPTION_GOOD, 1024 * LR_GIB);
    expect_read(LR_OPTION_scavenge_rate, "2M/s", LR_OPTION_GOOD, 2 * LR_MIB);
    expect_read(LR_OPTION_scavenge_rate, "2097152", LR_OPTION_GOOD, 2 * LR_MIB);
    static const char *const wrong[] = {"",    " ",    "M",    "1.M",   ".5M",     "1.5",
                                        "1M ", " 1M",  "1MM",  "1KiBs", "1Mi B",   "0x10",
                                        "1e6", "+1M",  "--1",  "-",     "1.2.3M",  "1P",
                                        "1iB", "1M/s", "1,5M", "1bb",   "1.5000M", "Infinity"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        expect_read(id, wrong[i], LR_OPTION_NOT_UNDERSTOOD, untouched);
    }
}
END_TEST

START_TEST(test_option_table__out_of_range_is_the_nearest_bound) {
    const enum lr_option_id id = LR_OPTION_thread_cache_max;
    const uint64_t min = lr_option_row(id)->min, max = lr_option_row(id)->max;
    expect_read(id, "65535", LR_OPTION_OUT_OF_RANGE, min);
    expect_read(id, "65536", LR_OPTION_GOOD, min);
    expect_read(id, "0", LR_OPTION_OUT_OF_RANGE, min);
    expect_read(id, "-1", LR_OPTION_OUT_OF_RANGE, min);
    expect_read(id, "-4M", LR_OPTION_OUT_OF_RANGE, min);
    expect_read(id, "1025M", LR_OPTION_OUT_OF_RANGE, max);
    expect_read(id, "1.001G", LR_OPTION_OUT_OF_RANGE, max);
    // Numbers that do not fit into 64 bits, before and after the unit.
    expect_read(id, "18446744073709551615", LR_OPTION_OUT_OF_RANGE, max);
    expect_read(id, "18446744073709551616", LR_OPTION_OUT_OF_RANGE, max);
    expect_read(id, "18446744073709551616000000000000", LR_OPTION_OUT_OF_RANGE, max);
    expect_read(id, "18014398509481984K", LR_OPTION_OUT_OF_RANGE, max);
    expect_read(id, "16777216T", LR_OPTION_OUT_OF_RANGE, max);
    expect_read(id, "99999999999999999999999x", LR_OPTION_NOT_UNDERSTOOD, untouched);
    expect_read(LR_OPTION_heap_limit, "-0", LR_OPTION_GOOD, 0);
    expect_read(LR_OPTION_heap_limit, "-1", LR_OPTION_OUT_OF_RANGE, 0);
    expect_read(LR_OPTION_batch_max, "1", LR_OPTION_OUT_OF_RANGE, 2);
    expect_read(LR_OPTION_batch_max, "513", LR_OPTION_OUT_OF_RANGE, 512);
    expect_read(LR_OPTION_batch_max, "64K", LR_OPTION_NOT_UNDERSTOOD, untouched);
}
END_TEST

START_TEST(test_option_table__milliseconds) {
    const enum lr_option_id id = LR_OPTION_scavenge_delay_ms;
    expect_read(id, "250", LR_OPTION_GOOD, 250);
    expect_read(id, "250ms", LR_OPTION_GOOD, 250);
    expect_read(id, "3s", LR_OPTION_GOOD, 3000);
    expect_read(id, "0.25S", LR_OPTION_GOOD, 250);
    expect_read(id, "0.25", LR_OPTION_NOT_UNDERSTOOD, untouched);
    expect_read(id, "3m", LR_OPTION_NOT_UNDERSTOOD, untouched);
    expect_read(id, "3601s", LR_OPTION_OUT_OF_RANGE, 3600000);
}
END_TEST

START_TEST(test_option_table__huge_pages_are_rounded_up) {
    expect_read(LR_OPTION_pool_size, "3M", LR_OPTION_GOOD, 4 * LR_MIB);
    expect_read(LR_OPTION_pool_size, "4M", LR_OPTION_GOOD, 4 * LR_MIB);
    expect_read(LR_OPTION_pool_size, "2097153", LR_OPTION_GOOD, 4 * LR_MIB);
    expect_read(LR_OPTION_window_size, "1", LR_OPTION_GOOD, 2 * LR_MIB);
    expect_read(LR_OPTION_window_size, "0", LR_OPTION_GOOD, 0);
    expect_read(LR_OPTION_pool_size, "1M", LR_OPTION_OUT_OF_RANGE, 2 * LR_MIB);
}
END_TEST

START_TEST(test_option_table__ranges_as_text) {
    ck_assert_str_eq(range_text(LR_OPTION_thread_cache_max), "64 KiB to 1 GiB");
    ck_assert_str_eq(range_text(LR_OPTION_batch_max), "2 to 512 objects");
    ck_assert_str_eq(range_text(LR_OPTION_scavenge_delay_ms), "0 to 3600000 ms");
    ck_assert_str_eq(range_text(LR_OPTION_scavenge_rate), "1 MiB to 1 TiB/s");
    ck_assert_str_eq(range_text(LR_OPTION_scavenger), "thread, inline or off");
    ck_assert_str_eq(range_text(LR_OPTION_stats), "0 or 1");
}
END_TEST

START_TEST(test_option_table__nearest_name) {
    static const struct {
        const char *wrong;
        enum lr_option_id nearest;
    } rows[] = {
        {"STAT", LR_OPTION_stats},
        {"THREAD_CACH_MAX", LR_OPTION_thread_cache_max},
        {"THREAD_CACHE_TOTAL_BYTES", LR_OPTION_thread_cache_total},
        {"thread_cache_total", LR_OPTION_thread_cache_total},
        {"SCAVENGER_DELAY_MS", LR_OPTION_scavenge_delay_ms},
        {"SCAVANGER", LR_OPTION_scavenger},
        {"ONERROR", LR_OPTION_on_error},
        {"LIMIT", LR_OPTION_heap_limit},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const enum lr_option_id found = lr_option_nearest(rows[i].wrong, strlen(rows[i].wrong));
        ck_assert_str_eq(lr_option_name(found), lr_option_name(rows[i].nearest));
    }
    // Names that are near to none, and one longer than any buffer of ours.
    static const char *const far[] = {"", "X", "QUICKLY", "FAVOURITE_COLOUR", "jemalloc_conf"};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        EXPECT_UINT(lr_option_nearest(far[i], strlen(far[i])), ==, LR_OPTION_COUNT);
    }
    char monster[500];
    memset(monster, 'A', sizeof monster);
    EXPECT_UINT(lr_option_nearest(monster, sizeof monster), ==, LR_OPTION_COUNT);
}
END_TEST

static void expect_alias(const char *variable, const char *text, enum lr_option_verdict verdict,
                         enum lr_option_id option, uint64_t value) {
    const enum lr_option_alias alias = lr_alias_by_variable(variable, strlen(variable));
    EXPECT_UINT(alias, <, LR_ALIAS_COUNT);
    enum lr_option_id id = LR_OPTION_COUNT;
    uint64_t found = 0;
    const enum lr_option_verdict said = lr_alias_read(alias, text, &id, &found);
    if (said != verdict || (said != LR_OPTION_NOT_UNDERSTOOD && (id != option || found != value))) {
        test_fail(__FILE__, __LINE__, "%s=\"%s\": verdict %d, %s=%ju; expected %d, %s=%ju",
                  variable, text, (int)said, lr_option_name(id), (uintmax_t)found, (int)verdict,
                  lr_option_name(option), (uintmax_t)value);
    }
}

START_TEST(test_option_table__aliases) {
    for (enum lr_option_alias alias = 0; alias < LR_ALIAS_COUNT; alias++) {
        const char *variable = lr_alias_variable(alias);
        EXPECT_UINT(lr_alias_by_variable(variable, strlen(variable)), ==, alias);
        EXPECT_UINT(lr_alias_option(alias), <, LR_OPTION_COUNT);
    }
    EXPECT_UINT(lr_alias_by_variable("MALLOCSTAT", 10), ==, LR_ALIAS_COUNT);
    EXPECT_UINT(lr_alias_by_variable("MALLOCSTATSX", 12), ==, LR_ALIAS_COUNT);

    const char *total = "TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES";
    expect_alias(total, "33554432", LR_OPTION_GOOD, LR_OPTION_thread_cache_total, 32 * LR_MIB);
    expect_alias(total, "32M", LR_OPTION_GOOD, LR_OPTION_thread_cache_total, 32 * LR_MIB);
    expect_alias(total, "1", LR_OPTION_OUT_OF_RANGE, LR_OPTION_thread_cache_total, LR_MIB);

    const char *limit = "TCMALLOC_HEAP_LIMIT_MB";
    expect_alias(limit, "512", LR_OPTION_GOOD, LR_OPTION_heap_limit, 512 * LR_MIB);
    expect_alias(limit, "0", LR_OPTION_GOOD, LR_OPTION_heap_limit, 0);
    expect_alias(limit, "99999999999999", LR_OPTION_OUT_OF_RANGE, LR_OPTION_heap_limit,
                 65536 * LR_GIB);
    expect_alias(limit, "512M", LR_OPTION_NOT_UNDERSTOOD, 0, 0);

    expect_alias("MALLOCSTATS", "0", LR_OPTION_GOOD, LR_OPTION_stats, 0);
    expect_alias("MALLOCSTATS", "1", LR_OPTION_GOOD, LR_OPTION_stats, 1);
    expect_alias("MALLOCSTATS", "2", LR_OPTION_GOOD, LR_OPTION_stats, 1);
    expect_alias("MALLOCSTATS", "t", LR_OPTION_GOOD, LR_OPTION_stats, 1);
    expect_alias("MALLOCSTATS", "-1", LR_OPTION_OUT_OF_RANGE, LR_OPTION_stats, 0);
    expect_alias("MALLOCSTATS", "0.5", LR_OPTION_NOT_UNDERSTOOD, 0, 0);
    expect_alias("MALLOCSTATS", "", LR_OPTION_NOT_UNDERSTOOD, 0, 0);

    const char *rate = "TCMALLOC_RELEASE_RATE";
    expect_alias(rate, "1.0", LR_OPTION_GOOD, LR_OPTION_scavenge_rate, LR_GIB);
    expect_alias(rate, "0.5", LR_OPTION_GOOD, LR_OPTION_scavenge_rate, LR_GIB / 2);
    expect_alias(rate, "10", LR_OPTION_GOOD, LR_OPTION_scavenge_rate, 10 * LR_GIB);
    expect_alias(rate, "0", LR_OPTION_GOOD, LR_OPTION_scavenger, LR_SCAVENGER_OFF);
    expect_alias(rate, "0.0", LR_OPTION_GOOD, LR_OPTION_scavenger, LR_SCAVENGER_OFF);
    expect_alias(rate, "11", LR_OPTION_OUT_OF_RANGE, LR_OPTION_scavenge_rate, 10 * LR_GIB);
    expect_alias(rate, "fast", LR_OPTION_NOT_UNDERSTOOD, 0, 0);
    // The smallest rate that can be written is in the option's own range.
    expect_alias(rate, "0.001", LR_OPTION_GOOD, LR_OPTION_scavenge_rate, LR_GIB / 1000);
    EXPECT(lr_option_in_range(LR_OPTION_scavenge_rate, LR_GIB / 1000));
    EXPECT(lr_option_in_range(LR_OPTION_scavenge_rate, 10 * LR_GIB));
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("option_table");
    test_add(suite, test_option_table__every_default_lies_in_its_range);
    test_add(suite, test_option_table__every_name_finds_its_row);
    test_add(suite, test_option_table__what_is_shown_can_be_read_again);
    test_add(suite, test_option_table__paths);
    test_add(suite, test_option_table__names_are_numbered_without_a_gap);
    test_add(suite, test_option_table__flags);
    test_add(suite, test_option_table__bytes);
    test_add(suite, test_option_table__out_of_range_is_the_nearest_bound);
    test_add(suite, test_option_table__milliseconds);
    test_add(suite, test_option_table__huge_pages_are_rounded_up);
    test_add(suite, test_option_table__ranges_as_text);
    test_add(suite, test_option_table__nearest_name);
    test_add(suite, test_option_table__aliases);
    return suite;
}
