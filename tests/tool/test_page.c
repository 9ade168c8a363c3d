// SPDX-License-Identifier: Apache-2.0
//
// What another process shows is not trusted: a good page is read rightly, and no damaged, cut off
// or hostile one leads the reader out of its bytes (which the sanitizers watch) or brings a control
// character to the terminal.
#include "tool/page.h"

#include <stdlib.h>
#include <string.h>

#include "../support/support.h"

enum {
    STATS_AT = 4096,
    CLASSES_AT = 12288,
    LOCKS_AT = 16384,
    THREADS_AT = 20480,
    OPTIONS_AT = 24576,
    FILLS_AT = 28672,
    LATENCIES_AT = 32768,
};

static struct page_view view;

static struct larder_page_table table(uint32_t offset, size_t row_bytes, uint32_t rows) {
    return (struct larder_page_table){
        .offset = offset, .row_bytes = (uint32_t)row_bytes, .rows = rows};
}

// Of the exact size, so that a sanitizer sees each byte too far.
static char *good_page(void) {
    char *page = calloc(1, LARDER_PAGE_BYTES);
    EXPECT(page != NULL);
    struct larder_page_header header = {
        .magic = LARDER_PAGE_MAGIC,
        .version = LARDER_PAGE_VERSION,
        .header_bytes = sizeof header,
        .page_bytes = LARDER_PAGE_BYTES,
        .process_id = 4711,
        .larder_version = "9.8.7",
        .window_begin = 0x10000,
        .pools_end = 0x90000,
        .sequence = 2,
        .threads_total = 3,
        .updated_ns = 5,
        .stats = table(STATS_AT, sizeof(struct larder_page_stat), 2),
        .classes = table(CLASSES_AT, sizeof(struct larder_class_stats), 1),
        .locks = table(LOCKS_AT, sizeof(struct larder_page_lock), 1),
        .threads = table(THREADS_AT, sizeof(struct larder_page_thread), 1),
        .options = table(OPTIONS_AT, sizeof(struct larder_page_option), 1),
        .fills = table(FILLS_AT, sizeof(struct larder_span_fills), 1),
        .latencies = table(LATENCIES_AT, sizeof(struct larder_page_latency), 2),
    };
    struct larder_page_stat stats[] = {{.name = "held_bytes", .value = 77},
                                       {.name = "figure_of_a_later_version", .value = 88}};
    struct larder_class_stats class_stats = {.size = 48, .spans = 2, .live_objects = 9};
    struct larder_page_lock lock = {.name = "span heap", .takes = 5, .contended = 1};
    struct larder_page_thread thread = {.thread_id = 12, .state = 1, .cache_bytes = 4096};
    struct larder_page_option option = {
        .name = "thp", .value = "always", .range = "never or always", .origin = 1, .any_time = 1};
    struct larder_span_fills fills = {.spans = {[2] = 7}};
    struct larder_page_latency latencies[] = {
        {.name = "idle"}, {.name = "busy", .sum_ns = 900, .buckets = {[5] = 3, [24] = 1}}};
    memcpy(page, &header, sizeof header);
    memcpy(page + LATENCIES_AT, latencies, sizeof latencies);
    memcpy(page + FILLS_AT, &fills, sizeof fills);
    memcpy(page + STATS_AT, stats, sizeof stats);
    memcpy(page + CLASSES_AT, &class_stats, sizeof class_stats);
    memcpy(page + LOCKS_AT, &lock, sizeof lock);
    memcpy(page + THREADS_AT, &thread, sizeof thread);
    memcpy(page + OPTIONS_AT, &option, sizeof option);
    return page;
}

static struct larder_page_header *header_of(char *page) {
    return (struct larder_page_header *)(void *)page;
}

START_TEST(test_page__a_good_one_is_read) {
    char *page = good_page();
    const char *wrong = lr_page_decode(page, LARDER_PAGE_BYTES, &view);
    EXPECT(wrong == NULL);
    ck_assert_str_eq(view.report.version, "9.8.7");
    EXPECT_UINT(view.report.process_id, ==, 4711);
    EXPECT_UINT(view.report.stats.held_bytes, ==, 77);
    EXPECT_UINT(view.report.stats.live_bytes, ==, 0);
    EXPECT_UINT(view.report.class_count, ==, 1);
    EXPECT_UINT(view.report.classes[0].live_objects, ==, 9);
    EXPECT_UINT(view.report.lock_count, ==, 1);
    ck_assert_str_eq(view.report.locks[0].name, "span heap");
    EXPECT_UINT(view.report.thread_count, ==, 1);
    EXPECT_UINT(view.report.threads[0].cache_bytes, ==, 4096);
    EXPECT_UINT(view.report.option_count, ==, 1);
    ck_assert_str_eq(view.report.options[0].value, "always");
    EXPECT_UINT(view.report.options[0].runtime, ==, 1);
    struct larder_span_fills fills;
    EXPECT(lr_report_fills(&view.report, 0, &fills) && fills.spans[2] == 7);
    EXPECT(!lr_report_fills(&view.report, 1, &fills));
    struct larder_latency_stats latency;
    unsigned at = 0;
    EXPECT_UINT(lr_report_latency(&view.report, &at, &latency), ==, 4);
    ck_assert_str_eq(latency.name, "busy");
    EXPECT_UINT(latency.sum_ns, ==, 900);
    EXPECT_UINT(latency.buckets[24], ==, 1);
    EXPECT_UINT(lr_report_latency(&view.report, &at, &latency), ==, 0);
    EXPECT_UINT(view.window_begin, ==, 0x10000);
    EXPECT_UINT(view.pools_end, ==, 0x90000);
    free(page);
}
END_TEST

// Rows of a later version are longer; what is known of them stands first.
START_TEST(test_page__longer_rows_and_headers_are_accepted) {
    char *page = good_page();
    struct larder_page_lock lock = {.name = "second", .takes = 6};
    header_of(page)->header_bytes += 100;
    header_of(page)->locks = table(LOCKS_AT, sizeof lock + 24, 2);
    memcpy(page + LOCKS_AT + sizeof lock + 24, &lock, sizeof lock);
    EXPECT(lr_page_decode(page, LARDER_PAGE_BYTES, &view) == NULL);
    EXPECT_UINT(view.report.lock_count, ==, 2);
    ck_assert_str_eq(view.report.locks[1].name, "second");
    free(page);
}
END_TEST

// A page of a library that did not know of the tables that were appended.
START_TEST(test_page__a_shorter_header_is_accepted) {
    char *page = good_page();
    struct larder_span_fills fills;
    header_of(page)->header_bytes = offsetof(struct larder_page_header, fills);
    EXPECT(lr_page_decode(page, LARDER_PAGE_BYTES, &view) == NULL);
    EXPECT_UINT(view.report.classes[0].live_objects, ==, 9);
    EXPECT(!lr_report_fills(&view.report, 0, &fills));
    free(page);
}
END_TEST

// Options that are known need not be in the copy; those of another time or process are read.
START_TEST(test_page__options_are_read_when_they_changed) {
    char *page = good_page();
    struct larder_page_header *header = header_of(page);
    struct larder_page_option *option = (struct larder_page_option *)(void *)(page + OPTIONS_AT);
    header->options_ns = 70;
    EXPECT(!lr_page_knows_options(&view, header));
    EXPECT(lr_page_decode(page, LARDER_PAGE_BYTES, &view) == NULL);
    EXPECT(lr_page_knows_options(&view, header));
    memset(option, 0, sizeof *option);
    EXPECT(lr_page_decode(page, LARDER_PAGE_BYTES, &view) == NULL);
    EXPECT_UINT(view.report.option_count, ==, 1);
    ck_assert_str_eq(view.report.options[0].value, "always");
    strcpy(option->value, "never");
    header->options_ns = 71;
    EXPECT(!lr_page_knows_options(&view, header));
    EXPECT(lr_page_decode(page, LARDER_PAGE_BYTES, &view) == NULL);
    ck_assert_str_eq(view.report.options[0].value, "never");
    header->process_id++;
    EXPECT(!lr_page_knows_options(&view, header));
    header->options_ns = 0;
    EXPECT(lr_page_decode(page, LARDER_PAGE_BYTES, &view) == NULL);
    EXPECT(!lr_page_knows_options(&view, header));
    free(page);
}
END_TEST

START_TEST(test_page__what_does_not_fit_is_refused) {
    char *page = good_page();
    struct larder_page_header *header = header_of(page);
    const struct larder_page_header good = *header;
#define EXPECT_REFUSED(change)                                                                     \
    do {                                                                                           \
        *header = good;                                                                            \
        change;                                                                                    \
        EXPECT(lr_page_decode(page, LARDER_PAGE_BYTES, &view) != NULL);                            \
    } while (0)
    EXPECT_REFUSED(header->magic++);
    EXPECT_REFUSED(header->version++);
    EXPECT_REFUSED(header->header_bytes = 8);
    EXPECT_REFUSED(header->page_bytes = LARDER_PAGE_BYTES + 1);
    EXPECT_REFUSED(header->updated_ns = 0);
    EXPECT_REFUSED(header->stats.offset = UINT32_MAX);
    EXPECT_REFUSED(header->stats.offset = LARDER_PAGE_BYTES - 10);
    EXPECT_REFUSED(header->classes.rows = UINT32_MAX);
    EXPECT_REFUSED((header->classes.rows = UINT32_MAX, header->classes.row_bytes = UINT32_MAX));
    EXPECT_REFUSED(header->header_bytes = offsetof(struct larder_page_header, fills) - 1);
    EXPECT_REFUSED(header->fills.rows = LARDER_PAGE_BYTES);
    EXPECT_REFUSED(header->latencies.offset = LARDER_PAGE_BYTES);
    EXPECT_REFUSED(header->locks.row_bytes = 0);
    EXPECT_REFUSED(header->locks.row_bytes = sizeof(struct larder_page_lock) - 1);
    EXPECT_REFUSED(header->threads.rows = LARDER_PAGE_BYTES / sizeof(struct larder_page_thread));
    EXPECT_REFUSED(header->options.row_bytes = LARDER_PAGE_BYTES);
    *header = good;
    for (size_t size = 0; size < LARDER_PAGE_BYTES; size += 97) {
        char *part = malloc(size + 1);
        memcpy(part, page, size);
        part = realloc(part, size == 0 ? 1 : size);
        EXPECT(lr_page_decode(part, size, &view) != NULL);
        free(part);
    }
    free(page);
}
END_TEST

static void expect_clean(const char *text, size_t most) {
    EXPECT_UINT(strlen(text), <, most);
    for (; *text != '\0'; text++) {
        EXPECT(*text >= ' ' && *text <= '~');
    }
}

static void expect_clean_texts(void) {
    struct larder_latency_stats latency;
    for (unsigned at = 0; lr_report_latency(&view.report, &at, &latency) != 0;) {
        expect_clean(latency.name, sizeof view.latency_names[0]);
    }
    expect_clean(view.report.version, sizeof view.version);
    for (unsigned i = 0; i < view.report.lock_count; i++) {
        expect_clean(view.report.locks[i].name, sizeof view.lock_names[i]);
    }
    for (unsigned i = 0; i < view.report.option_count; i++) {
        expect_clean(view.options[i].name, sizeof view.options[i].name);
        expect_clean(view.options[i].value, sizeof view.options[i].value);
        expect_clean(view.options[i].range, sizeof view.options[i].range);
    }
}

START_TEST(test_page__texts_are_ended_and_printable) {
    char *page = good_page();
    memset(page + LOCKS_AT, 0x1b, sizeof(struct larder_page_lock));
    memset(page + OPTIONS_AT, 0xff, sizeof(struct larder_page_option));
    memset(header_of(page)->larder_version, 7, sizeof header_of(page)->larder_version);
    EXPECT(lr_page_decode(page, LARDER_PAGE_BYTES, &view) == NULL);
    expect_clean_texts();
    EXPECT_UINT(strlen(view.report.locks[0].name), ==, sizeof view.lock_names[0] - 1);
    free(page);
}
END_TEST

// Random bytes written over the header mostly, whose sizes are what could lead astray.
START_TEST(test_page__random_damage_is_survived) {
    struct test_rng rng = {.state = test_seed()};
    unsigned accepted = 0;
    enum { ROUNDS = 3000 };
    for (int round = 0; round < ROUNDS; round++) {
        char *page = good_page();
        const uint64_t changes = 1 + test_rng_below(&rng, 6);
        for (uint64_t i = 0; i < changes; i++) {
            const bool in_header = test_rng_below(&rng, 4) != 0;
            const size_t at = test_rng_below(&rng, in_header ? sizeof(struct larder_page_header)
                                                             : LARDER_PAGE_BYTES);
            const uint64_t value = test_rng_next(&rng);
            page[at] = (char)(value & 1 ? value >> 8 : (value >> 8 & 1 ? 0xff : 0));
        }
        size_t size = LARDER_PAGE_BYTES;
        if (test_rng_below(&rng, 4) == 0) {
            size = test_rng_below(&rng, LARDER_PAGE_BYTES) + 1;
            page = realloc(page, size);
        }
        if (lr_page_decode(page, size, &view) == NULL) {
            accepted++;
            expect_clean_texts();
            EXPECT_UINT(view.report.class_count, <=, LR_CLASS_COUNT);
            EXPECT_UINT(view.report.lock_count, <=, LR_REPORT_LOCKS);
            EXPECT_UINT(view.report.thread_count, <=, PAGE_THREADS_MOST);
            EXPECT_UINT(view.report.option_count, <=, PAGE_OPTIONS_MOST);
        }
        free(page);
    }
    EXPECT_UINT(accepted, >, 0);
    EXPECT_UINT(accepted, <, ROUNDS);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("page");
    test_add(suite, test_page__a_good_one_is_read);
    test_add(suite, test_page__longer_rows_and_headers_are_accepted);
    test_add(suite, test_page__a_shorter_header_is_accepted);
    test_add(suite, test_page__options_are_read_when_they_changed);
    test_add(suite, test_page__what_does_not_fit_is_refused);
    test_add(suite, test_page__texts_are_ended_and_printable);
    test_add(suite, test_page__random_damage_is_survived);
    return suite;
}
