// SPDX-License-Identifier: Apache-2.0
//
// Statistics for programs: each figure of the table is in both forms with its value, kind and unit,
// texts cannot break out of their quotes, and the forms are what larder_stats_print_as() writes.
// (Whole parsers read them in tests/tool/metrics.sh.)
#include "diag/report.h"

#include <errno.h>
#include <larder/larder.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../support/support.h"

static char page[65536];

static struct lr_print start_page(void) {
    struct lr_print p;
    lr_print_init(&p, page, sizeof page, -1);
    return p;
}

static bool example_fills(const struct lr_report *report, unsigned i,
                          struct larder_span_fills *out) {
    (void)report;
    memset(out, 0, sizeof *out);
    out->spans[3] = i;
    out->spans[9] = 2 * i;
    return true;
}

// Of the second kind: 3 of up to 128 ns, 4 of up to 512, 1 of more than a second.
static bool example_latency(const struct lr_report *report, unsigned i,
                            struct larder_latency_stats *out) {
    (void)report;
    memset(out, 0, sizeof *out);
    out->name = i == 0 ? "none" : "some";
    if (i == 1) {
        out->sum_ns = 8000000700;
        out->buckets[0] = 3;
        out->buckets[2] = 4;
        out->buckets[24] = 1;
    }
    return i < 3;
}

static struct lr_report example(void) {
    static struct lr_report report;
    uint64_t next = 1000;
    memset(&report, 0, sizeof report);
#define LARDER_STAT(name, kind, unit, help) report.stats.name = next++;
#include <larder/stats.def>
    report.stats.fragmentation = 42;
    report.version = "1.2.3";
    report.process_id = 77;
    report.class_count = 2;
    report.classes[0] = (struct larder_class_stats){.size = 16};
    report.classes[1] = (struct larder_class_stats){
        .size = 48, .objects_per_span = 170, .span_bytes = 8192, .spans = 3, .live_objects = 9};
    report.fills = example_fills;
    report.latency = example_latency;
    report.lock_count = 1;
    report.locks[0] = (struct larder_lock_stats){.name = "a \"b\"\\\n", .takes = 5, .contended = 2};
    return report;
}

static void expect_once(const char *text) {
    const char *found = strstr(page, text);
    if (found == NULL || strstr(found + 1, text) != NULL) {
        test_fail(__FILE__, __LINE__, "not once '%s' in:\n%s", text, page);
    }
}

static void expect_line(const char *format, const char *name, const char *suffix, uint64_t value) {
    char line[256];
    snprintf(line, sizeof line, format, name, suffix, value);
    expect_once(line);
}

START_TEST(test_report__json_has_every_figure) {
    struct lr_report report = example();
    struct lr_print p = start_page();
    lr_report_json(&p, &report);
    EXPECT(!p.truncated);
    for (enum lr_stat_id id = 0; id < LR_STAT_COUNT; id++) {
        if (id != LR_STAT_fragmentation) {
            expect_line("    \"%s%s\": %ju", lr_stat_name(id), "",
                        lr_stat_value(&report.stats, id));
        }
    }
    expect_once("\"fragmentation\": 0.042,\n");
    expect_once("{\n  \"larder\": \"1.2.3\",\n  \"pid\": 77,\n  \"stats\": {\n");
    expect_once(
        "\"classes\": [\n    {\"size\": 48, \"objects_per_span\": 170, \"span_bytes\": 8192, "
        "\"spans\": 3, \"live_objects\": 9, ");
    expect_once(
        "\"locks\": [\n    {\"name\": \"a \\\"b\\\"\\\\?\", \"takes\": 5, \"contended\": 2}\n");
    expect_once(", \"spans_by_fill\": [0, 0, 0, 1, 0, 0, 0, 0, 0, 2]}\n");
    expect_once(
        "\"latencies\": [\n    {\"name\": \"some\", \"count\": 8, \"sum_ns\": 8000000700, "
        "\"buckets\": [3, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "
        "0, 1]}\n  ]");
    EXPECT(strstr(page, "threads\": [") == NULL);
    EXPECT(strstr(page, "\"size\": 16,") == NULL); // a class without spans
    ck_assert_str_eq(page + strlen(page) - 3, "\n}\n");
}
END_TEST

START_TEST(test_report__json_of_threads_and_options) {
    struct lr_report report = example();
    const struct lr_report_thread threads[] = {
        {.thread_id = 5, .cache_bytes = 4096, .slow_calls = 3, .name = "a\"\xff"},
        {.thread_id = 6}};
    const struct lr_report_option options[] = {
        {.name = "thp", .value = "always", .range = "default, always or never", .runtime = 1}};
    report.threads = threads;
    report.thread_count = 2;
    report.options = options;
    report.option_count = 1;
    report.lock_count = 0;
    struct lr_print p = start_page();
    lr_report_json(&p, &report);
    expect_once("\"locks\": [],\n");
    expect_once(
        "\"threads\": [\n    {\"id\": 5, \"name\": \"a\\\"?\", \"state\": 0, \"cache_bytes\": "
        "4096, \"slow_calls\": 3},\n    {\"id\": 6, ");
    expect_once("\"options\": [\n    {\"name\": \"thp\", \"value\": \"always\", \"accepted\": "
                "\"default, always or never\", \"origin\": 0, \"any_time\": true}\n  ]\n}\n");
}
END_TEST

static void check_metrics(bool open) {
    struct lr_report report = example();
    struct lr_print p = start_page();
    lr_report_metrics(&p, &report, open);
    EXPECT(!p.truncated);
    for (enum lr_stat_id id = 0; id < LR_STAT_COUNT; id++) {
        const bool counts = lr_stat_kind(id) == LR_STAT_COUNTER;
        const char *name = lr_stat_name(id);
        char line[256];
        if (id == LR_STAT_fragmentation) {
            expect_once("\nlarder_fragmentation_ratio 0.042\n");
            continue;
        }
        if (lr_stat_unit(id) == LR_STAT_TIME_US) {
            EXPECT_UINT(id, ==, LR_STAT_scavenge_cpu_us);
            expect_line("\nlarder_scavenge_cpu_seconds_total%s 0.%s%06ju\n", "", "",
                        lr_stat_value(&report.stats, id));
            snprintf(line, sizeof line, "\n# TYPE larder_scavenge_cpu_seconds%s counter\n",
                     open ? "" : "_total");
            expect_once(line);
            EXPECT_INT(strstr(page, "# UNIT larder_scavenge_cpu_seconds seconds\n") != NULL, ==,
                       open);
            continue;
        }
        expect_line("\nlarder_%s%s %ju\n", name, counts ? "_total" : "",
                    lr_stat_value(&report.stats, id));
        snprintf(line, sizeof line, "\n# TYPE larder_%s%s %s\n", name,
                 counts && !open ? "_total" : "", counts ? "counter" : "gauge");
        expect_once(line);
        snprintf(line, sizeof line, "# UNIT larder_%s bytes\n", name);
        EXPECT_INT(strstr(page, line) != NULL, ==, open && lr_stat_unit(id) == LR_STAT_BYTES);
    }
    expect_once("\nlarder_build_info{version=\"1.2.3\"} 1\n");
    expect_once("\nlarder_class_live_objects{size=\"48\"} 9\n");
    expect_once("\nlarder_lock_waits_total{lock=\"a \\\"b\\\"\\\\?\"} 2\n");
    expect_once("\nlarder_class_spans_filled{size=\"48\",share=\"<3/8\"} 1\n");
    expect_once("\nlarder_class_spans_filled{size=\"48\",share=\"all\"} 2\n");
    EXPECT(strstr(page, "share=\"<4/8\"") == NULL); // none
    expect_once("\n# TYPE larder_latency_seconds histogram\n");
    expect_once("_bucket{operation=\"some\",le=\"0.000000128\"} 3\n");
    expect_once("_bucket{operation=\"some\",le=\"0.000000256\"} 3\n");
    expect_once("_bucket{operation=\"some\",le=\"0.000000512\"} 7\n");
    expect_once("_bucket{operation=\"some\",le=\"1.073741824\"} 7\n");
    expect_once("_bucket{operation=\"some\",le=\"+Inf\"} 8\n");
    expect_once("\nlarder_latency_seconds_sum{operation=\"some\"} 8.000000700\n");
    expect_once("\nlarder_latency_seconds_count{operation=\"some\"} 8\n");
    EXPECT(strstr(page, "operation=\"none\"") == NULL);
    EXPECT(strstr(page, "{size=\"16\"}") == NULL);
    EXPECT_INT(strcmp(page + strlen(page) - 6, "# EOF\n") == 0, ==, open);
}

START_TEST(test_report__openmetrics_has_every_figure) { check_metrics(true); }
END_TEST

START_TEST(test_report__prometheus_has_every_figure) { check_metrics(false); }
END_TEST

START_TEST(test_report__printed_by_the_library) {
    static const char *const begins[] = {"larder ", "{\n  \"larder\": ", "# HELP larder_build ",
                                         "# HELP larder_build_info "};
    for (int format = LARDER_FORMAT_TEXT; format <= LARDER_FORMAT_PROMETHEUS; format++) {
        int ends[2];
        void *block = larder_malloc(1000);
        EXPECT_INT(pipe(ends), ==, 0);
        errno = 99;
        EXPECT_INT(larder_stats_print_as(ends[1], (enum larder_format)format), ==, 0);
        EXPECT_INT(errno, ==, 99);
        larder_free(block);
        const ssize_t got = read(ends[0], page, sizeof page - 1);
        EXPECT_INT(got, >, 0);
        page[got] = '\0';
        EXPECT(strncmp(page, begins[format], strlen(begins[format])) == 0);
        close(ends[0]);
        close(ends[1]);
    }
    EXPECT_INT(larder_stats_print_as(1, (enum larder_format)4), ==, -EINVAL);
    EXPECT_INT(larder_stats_print_as(-1, LARDER_FORMAT_JSON), ==, -EBADF);
}
END_TEST

// The classes are those that the totals were made from.
START_TEST(test_report__classes_add_up_to_the_totals) {
    struct lr_report report;
    void *blocks[50];
    for (size_t i = 0; i < 50; i++) {
        blocks[i] = larder_malloc(i * 97 + 1);
    }
    lr_report_gather(&report);
    uint64_t live = 0, spans = 0;
    for (unsigned i = 0; i < report.class_count; i++) {
        struct larder_class_stats again;
        EXPECT_INT(larder_stats_class(i, &again), ==, 0);
        EXPECT_INT(memcmp(&again, &report.classes[i], sizeof again), ==, 0);
        live += again.live_objects * again.size;
        spans += again.spans;
    }
    EXPECT_INT(larder_stats_class(report.class_count, &report.classes[0]), ==, -ENOENT);
    EXPECT_UINT(live + report.stats.large_bytes, ==, report.stats.live_bytes);
    EXPECT_UINT(spans, ==, report.stats.spans);
    struct larder_lock_stats lock;
    EXPECT_INT(larder_stats_lock(report.lock_count - 1, &lock), ==, 0);
    EXPECT_INT(larder_stats_lock(report.lock_count, &lock), ==, -ENOENT);
    for (size_t i = 0; i < 50; i++) {
        larder_free(blocks[i]);
    }
}
END_TEST

static unsigned count_of(const char *text) {
    unsigned count = 0;
    for (const char *at = page; (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    return count;
}

START_TEST(test_report__labels_are_on_every_sample) {
    struct lr_report report = example();
    struct lr_print p = start_page();
    report.labels = "pid=\"7\",command=\"x\"";
    lr_report_metrics(&p, &report, false);
    EXPECT(!p.truncated);
    const unsigned lines = count_of("\n"), comments = count_of("# HELP") + count_of("# TYPE");
    EXPECT_UINT(count_of("{pid=\"7\",command=\"x\""), ==, lines - comments);
    expect_once("\nlarder_live_bytes{pid=\"7\",command=\"x\"} 1000\n");
    expect_once("\nlarder_class_live_objects{pid=\"7\",command=\"x\",size=\"48\"} 9\n");
    expect_once("_sum{pid=\"7\",command=\"x\",operation=\"some\"} 8.000000700\n");
}
END_TEST

START_TEST(test_report__shares_of_latencies) {
    struct larder_latency_stats latency;
    struct lr_report report = example();
    unsigned at = 0;
    EXPECT_UINT(lr_report_latency(&report, &at, &latency), ==, 8);
    EXPECT_UINT(at, ==, 2);
    EXPECT_UINT(lr_report_latency_below(&latency, 1), ==, 128);
    EXPECT_UINT(lr_report_latency_below(&latency, 3), ==, 128);
    EXPECT_UINT(lr_report_latency_below(&latency, 4), ==, 512);
    EXPECT_UINT(lr_report_latency_below(&latency, 7), ==, 512);
    EXPECT_UINT(lr_report_latency_below(&latency, 8), ==, UINT64_MAX);
    EXPECT_UINT(lr_report_latency(&report, &at, &latency), ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("report");
    test_add(suite, test_report__json_has_every_figure);
    test_add(suite, test_report__json_of_threads_and_options);
    test_add(suite, test_report__openmetrics_has_every_figure);
    test_add(suite, test_report__prometheus_has_every_figure);
    test_add(suite, test_report__labels_are_on_every_sample);
    test_add(suite, test_report__shares_of_latencies);
    test_add(suite, test_report__printed_by_the_library);
    test_add(suite, test_report__classes_add_up_to_the_totals);
    return suite;
}
