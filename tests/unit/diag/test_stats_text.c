// SPDX-License-Identifier: Apache-2.0
//
// The statistics page: sums and shares are right, every row of the table is on it, and the page of
// a living heap comes out whole.
#include "diag/stats_text.h"

#include <errno.h>
#include <fcntl.h>
#include <larder/larder.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../support/support.h"

static char page[16384];

static struct lr_print start_page(void) {
    struct lr_print p;
    lr_print_init(&p, page, sizeof page, -1);
    return p;
}

static const uint64_t mib = 1024 * 1024;

static struct larder_stats example(void) {
    struct larder_stats stats = {.live_bytes = 12 * mib,
                                 .thread_cache_bytes = 1 * mib,
                                 .transfer_cache_bytes = mib / 2,
                                 .central_free_bytes = 2 * mib,
                                 .span_tail_bytes = mib / 4,
                                 .span_heap_free_bytes = 8 * mib,
                                 .metadata_bytes = mib / 4,
                                 .returned_bytes = 40 * mib,
                                 .mapped_bytes = 63 * mib + mib / 4,
                                 .resident_bytes = 27 * mib,
                                 .lock_takes = 12345678901};
    lr_stats_derive(&stats);
    return stats;
}

START_TEST(test_stats_text__sum_of_held_memory) {
    const struct larder_stats stats = example();
    struct lr_print p = start_page();
    lr_stats_text_totals(&p, &stats);
    static const char *const lines[] = {
        "memory held by the heap\n",
        "       12.0 MiB   50.0 %  live_bytes             ",
        "  +     1.0 MiB    4.1 %  thread_cache_bytes     ",
        "  +   512.0 KiB    2.0 %  transfer_cache_bytes   ",
        "  +     2.0 MiB    8.3 %  central_free_bytes     ",
        "  +   256.0 KiB    1.0 %  span_tail_bytes        ",
        "  +     8.0 MiB   33.3 %  span_heap_free_bytes   ",
        "  +   256.0 KiB    1.0 %  metadata_bytes         ",
        "  =    24.0 MiB  100.0 %  held_bytes             ",
        "         50.0 %           fragmentation          ",
        "       40.0 MiB           returned_bytes         ",
        "       27.0 MiB           resident_bytes         ",
        "        3.0 MiB           (resident - held)      ",
        "    12345678901           lock_takes             ",
    };
    const char *at = page;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        at = strstr(at, lines[i]);
        if (at == NULL) {
            test_fail(__FILE__, __LINE__, "no line '%s' in its place in:\n%s", lines[i], page);
        }
    }
}
END_TEST

START_TEST(test_stats_text__every_row_is_on_the_page_once) {
    struct larder_stats stats;
    uint64_t next = 900; // below 1024, so that bytes are shown as they are
    memset(&stats, 0, sizeof stats);
#define LARDER_STAT(name, kind, unit, help) stats.name = next++;
#include <larder/stats.def>
    EXPECT_UINT(next, <=, 1024 + 8);
    struct lr_print p = start_page();
    lr_stats_text_totals(&p, &stats);
    EXPECT(!p.truncated);
    for (enum lr_stat_id id = 0; id < LR_STAT_COUNT; id++) {
        char name[64];
        snprintf(name, sizeof name, "  %-22s ", lr_stat_name(id));
        const char *row = strstr(page, name);
        if (row == NULL || strstr(row + 1, name) != NULL) {
            test_fail(__FILE__, __LINE__, "row %s missing or twice in:\n%s", name, page);
        }
        EXPECT(strstr(row, lr_stat_help(id)) != NULL);
        if (lr_stat_unit(id) == LR_STAT_NUMBER) {
            char value[64];
            snprintf(value, sizeof value, " %ju           %s ",
                     (uintmax_t)lr_stat_value(&stats, id), lr_stat_name(id));
            EXPECT(strstr(page, value) != NULL);
        }
    }
}
END_TEST

START_TEST(test_stats_text__difference_to_the_kernels_figure) {
    struct larder_stats stats = example();
    struct lr_print p = start_page();
    stats.resident_bytes = 20 * mib;
    lr_stats_text_totals(&p, &stats);
    EXPECT(strstr(page, "        4.0 MiB           (held - resident)      ") != NULL);
    EXPECT(strstr(page, "(resident - held)") == NULL);
    p = start_page();
    stats.resident_bytes = 0;
    lr_stats_text_totals(&p, &stats);
    EXPECT(strstr(page, "cannot be read") != NULL);
    EXPECT(strstr(page, "- resident)") == NULL);
}
END_TEST

START_TEST(test_stats_text__racing_and_huge_figures_stay_sane) {
    struct larder_stats stats;
    struct lr_print p = start_page();
    memset(&stats, 0, sizeof stats);
    lr_stats_text_totals(&p, &stats);
    EXPECT(strstr(page, "            0 B    0.0 %  live_bytes ") != NULL);
    // A part that was read after its sum had shrunk.
    p = start_page();
    stats.live_bytes = 200 * mib;
    stats.held_bytes = 100 * mib;
    lr_stats_text_totals(&p, &stats);
    EXPECT(strstr(page, "  100.0 %  live_bytes ") != NULL);
    p = start_page();
    memset(&stats, 0xff, sizeof stats);
    lr_stats_text_totals(&p, &stats);
    EXPECT(strstr(page, "       16.0 EiB  100.0 %  live_bytes ") != NULL);
    EXPECT(!p.truncated);
}
END_TEST

START_TEST(test_stats_text__class_and_lock_rows) {
    struct lr_print p = start_page();
    lr_stats_text_class(&p, &(struct larder_class_stats){.size = 48,
                                                         .objects_per_span = 170,
                                                         .span_bytes = 8192,
                                                         .spans = 3,
                                                         .live_objects = 256,
                                                         .thread_objects = 20,
                                                         .transfer_objects = 64,
                                                         .central_objects = 170});
    ck_assert_str_eq(page, "        48      170        3        256         20         64"
                           "        170    24.0 KiB   50.0 %\n");
    p = start_page();
    lr_stats_text_lock(
        &p, &(struct larder_lock_stats){.name = "span heap", .takes = 1000, .contended = 25});
    ck_assert_str_eq(page, "          1000           25    2.5 %  span heap\n");
    p = start_page();
    lr_stats_text_lock(&p, &(struct larder_lock_stats){.name = "idle"});
    ck_assert_str_eq(page, "             0            0    0.0 %  idle\n");
}
END_TEST

START_TEST(test_stats_text__page_of_this_process) {
    void *blocks[100];
    for (size_t i = 0; i < 100; i++) {
        blocks[i] = larder_malloc(1000);
        EXPECT(blocks[i] != NULL);
    }
    int ends[2];
    EXPECT_INT(pipe(ends), ==, 0);
    EXPECT_INT(lr_report_print(ends[1], LARDER_FORMAT_TEXT), ==, 0);
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], page + length, sizeof page - 1 - length)) > 0) {
        length += (size_t)got;
    }
    page[length] = '\0';
    close(ends[0]);
    for (size_t i = 0; i < 100; i++) {
        larder_free(blocks[i]);
    }
    char head[96];
    snprintf(head, sizeof head, "larder %s: statistics of process %d (%.15s), thread ",
             larder_version(), (int)getpid(), program_invocation_short_name);
    EXPECT(strncmp(page, head, strlen(head)) == 0);
    EXPECT(strstr(page, "  live_bytes ") != NULL);
    const char *classes = strstr(page, "\nsize classes in use, in blocks\n");
    EXPECT(classes != NULL);
    char row[64];
    snprintf(row, sizeof row, "\n  %8zu ", larder_good_size(1000, 0));
    EXPECT(strstr(classes, row) != NULL);
    EXPECT(strstr(classes, "\nlocks\n") != NULL);
    EXPECT_INT(page[length - 1], ==, '\n');

    const int full = open("/dev/full", O_WRONLY);
    if (full >= 0) {
        EXPECT_INT(lr_report_print(full, LARDER_FORMAT_TEXT), ==, -ENOSPC);
        close(full);
    }
}
END_TEST

static bool some_latency(const struct lr_report *report, unsigned i,
                         struct larder_latency_stats *out) {
    (void)report;
    *out = (struct larder_latency_stats){.name = "some", .sum_ns = 2000000};
    out->buckets[1] = 900;
    out->buckets[4] = 99;
    out->buckets[24] = 1;
    return i == 0;
}

START_TEST(test_stats_text__latencies) {
    static struct lr_report report;
    report.latency = some_latency;
    struct lr_print p = start_page();
    lr_stats_text(&p, &report);
    EXPECT(strstr(page,
                  "          1000     2.0 us     0.2 us     0.2 us     2.0 us     2.0 us       "
                  "more  some\n") != NULL);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("stats_text");
    test_add(suite, test_stats_text__sum_of_held_memory);
    test_add(suite, test_stats_text__every_row_is_on_the_page_once);
    test_add(suite, test_stats_text__difference_to_the_kernels_figure);
    test_add(suite, test_stats_text__racing_and_huge_figures_stay_sane);
    test_add(suite, test_stats_text__class_and_lock_rows);
    test_add(suite, test_stats_text__latencies);
    test_add(suite, test_stats_text__page_of_this_process);
    return suite;
}
