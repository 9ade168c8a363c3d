// SPDX-License-Identifier: Apache-2.0
//
// What larder top shows: rows sorted by the chosen column, rates from two looks, and lines that
// stay whole with any figures.
#include <stdio.h>
#include <string.h>

#include "../support/support.h"
#include "tool/top.h"

static struct page_view now, before;
static char title[TOP_LINE];
static char rows[600][TOP_LINE];

static void fill(void) {
    static struct larder_class_stats classes[] = {
        {.size = 16, .span_bytes = 8192, .spans = 9, .live_objects = 5},
        {.size = 32, .span_bytes = 8192, .spans = 0, .live_objects = 0},
        {.size = 48, .span_bytes = 8192, .spans = 20, .live_objects = 1},
        {.size = 64, .span_bytes = 8192, .spans = 1, .live_objects = 70},
    };
    memset(&now, 0, sizeof now);
    now.report.version = "1.2.3";
    now.report.class_count = 4;
    memcpy(now.report.classes, classes, sizeof classes);
    now.report.thread_count = 2;
    now.report.threads = now.threads;
    now.threads[0] =
        (struct lr_report_thread){.thread_id = 5, .cache_bytes = 10, .slow_calls = 100};
    now.threads[1] = (struct lr_report_thread){.thread_id = 6, .cache_bytes = 20, .slow_calls = 50};
    now.report.lock_count = 2;
    now.report.locks[0] = (struct larder_lock_stats){.name = "a", .takes = 100};
    now.report.locks[1] = (struct larder_lock_stats){.name = "b", .takes = 100};
    now.report.option_count = 3;
    now.report.options = now.options;
    strcpy(now.options[0].name, "zeta");
    strcpy(now.options[1].name, "alpha");
    strcpy(now.options[2].name, "heap_limit");
    strcpy(now.options[2].value, "2 GiB");
    now.report.stats.heap_limit_hits = 7;
    now.report.stats.malloc_slow = 300;
    now.report.stats.held_bytes = 1000;
    now.report.stats.live_bytes = 500;
    now.report.stats.span_heap_free_bytes = 500;
    before = now;
    before.report.threads = before.threads;
    before.threads[0].slow_calls = 90;
    before.threads[1].slow_calls = 10;
    before.report.locks[1].takes = 20;
    before.report.stats.malloc_slow = 100;
}

static void expect_row(int row, const char *begin) {
    const char *text = rows[row] + strspn(rows[row], " ");
    if (strncmp(text, begin, strlen(begin)) != 0)
        test_fail(__FILE__, __LINE__, "row %d is '%s', not '%s...'", row, rows[row], begin);
}

START_TEST(test_top_screen__classes_by_memory_then_any_column) {
    struct top_state state;
    fill();
    lr_top_init(&state);
    EXPECT_INT(lr_top_table(&state, &now, NULL, 0, title, rows, 10), ==, 3); // without empty ones
    expect_row(0, "48 ");
    expect_row(1, "16 ");
    expect_row(2, "64 ");
    EXPECT(strstr(title, "BYTES") != NULL);
    state.sort[TOP_CLASSES] = 2; // live
    lr_top_table(&state, &now, NULL, 0, title, rows, 10);
    expect_row(0, "64 ");
    state.ascending[TOP_CLASSES] = true;
    lr_top_table(&state, &now, NULL, 0, title, rows, 10);
    expect_row(0, "48 ");
    state.first = 2; // scrolled
    EXPECT_INT(lr_top_table(&state, &now, NULL, 0, title, rows, 1), ==, 3);
    expect_row(0, "64 ");
}
END_TEST

START_TEST(test_top_screen__rates_are_of_the_time_between) {
    struct top_state state;
    fill();
    lr_top_init(&state);
    state.view = TOP_THREADS;
    state.sort[TOP_THREADS] = 2;
    EXPECT_INT(lr_top_table(&state, &now, &before, 2.0, title, rows, 10), ==, 2);
    expect_row(0, "6 ");
    EXPECT(strstr(rows[0], "  20 ") != NULL);
    EXPECT(strstr(rows[1], "  5 ") != NULL);
    state.view = TOP_LOCKS;
    state.sort[TOP_LOCKS] = 1;
    EXPECT_INT(lr_top_table(&state, &now, &before, 2.0, title, rows, 10), ==, 2);
    expect_row(0, "b ");
    EXPECT(strstr(rows[0], "  40 ") != NULL);
    state.view = TOP_OPTIONS;
    state.sort[TOP_OPTIONS] = 0;
    EXPECT_INT(lr_top_table(&state, &now, &before, 2.0, title, rows, 10), ==, 3);
    expect_row(0, "alpha");
    char head[TOP_HEAD_LINES][TOP_LINE];
    lr_top_head(head, &now, &before, 2.0, "name");
    EXPECT(strstr(head[5], "100 requests/s") != NULL);
    EXPECT(strstr(head[8], "soft none, 0 times above it   heap 2 GiB, 7 refused") != NULL);
    EXPECT(strstr(head[1], "[||||||||||||||||||||....................]") != NULL);
}
END_TEST

START_TEST(test_top_screen__any_figures_fit) {
    struct top_state state;
    char head[TOP_HEAD_LINES][TOP_LINE];
    memset(&now, 0xff, sizeof now);
    now.report.version = "x";
    now.report.class_count = LR_CLASS_COUNT;
    now.report.thread_count = PAGE_THREADS_MOST;
    now.report.lock_count = 0;
    now.report.option_count = 0;
    now.report.threads = now.threads;
    for (unsigned i = 0; i < PAGE_THREADS_MOST; i++)
        now.threads[i].name[15] = '\0';
    lr_top_init(&state);
    lr_top_head(head, &now, NULL, 0, "name");
    EXPECT_INT(lr_top_table(&state, &now, NULL, 0, title, rows, 600), ==, LR_CLASS_COUNT);
    state.view = TOP_THREADS;
    EXPECT_INT(lr_top_table(&state, &now, &now, 1e-9, title, rows, 600), ==, PAGE_THREADS_MOST);
    state.first = 5000;
    EXPECT_INT(lr_top_table(&state, &now, &now, 1e-9, title, rows, 600), ==, PAGE_THREADS_MOST);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("top_screen");
    test_add(suite, test_top_screen__classes_by_memory_then_any_column);
    test_add(suite, test_top_screen__rates_are_of_the_time_between);
    test_add(suite, test_top_screen__any_figures_fit);
    return suite;
}
