// SPDX-License-Identifier: Apache-2.0
//
// The list of processes of larder top: order by any column, the chosen one stays chosen wherever it
// moves to, and rows show what is known.
#include "tool/top_list.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../support/support.h"
#include "tool/proc.h"

static struct top_list list;
static char title[TOP_LINE];
static char rows[TOP_PROCESSES][TOP_LINE];

static void example(void) {
    static const struct top_process processes[] = {
        {.pid = 30,
         .page = true,
         .user = "a",
         .name = "redis",
         .rss = 300,
         .held = 10,
         .threads = 4},
        {.pid = 10, .page = false, .user = "b", .name = "nginx", .rss = 100},
        {.pid = 20,
         .page = true,
         .user = "a",
         .name = "perl",
         .rss = 900,
         .held = 2048,
         .live = 1024,
         .fragmentation = 500,
         .threads = 7},
    };
    lr_top_list_init(&list);
    memcpy(list.processes, processes, sizeof processes);
    list.count = 3;
    lr_top_list_sort(&list);
}

static void expect_order(pid_t first, pid_t second, pid_t third) {
    EXPECT_INT(list.processes[0].pid, ==, first);
    EXPECT_INT(list.processes[1].pid, ==, second);
    EXPECT_INT(list.processes[2].pid, ==, third);
}

START_TEST(test_top_list__any_column_is_an_order) {
    example();
    expect_order(20, 30, 10); // resident memory
    EXPECT_INT(list.chosen, ==, 20);
    list.sort = 0;
    lr_top_list_sort(&list);
    EXPECT_INT(list.chosen, ==, 20);
    list.ascending = true;
    list.sort = 7;
    lr_top_list_sort(&list);
    expect_order(10, 20, 30); // by name
    list.sort = 6;
    list.ascending = false;
    lr_top_list_sort(&list);
    expect_order(20, 30, 10); // threads
    list.sort = 1;
    lr_top_list_sort(&list);
    expect_order(10, 20, 30); // user; the same one by process id
}
END_TEST

START_TEST(test_top_list__rows_show_what_is_known) {
    example();
    EXPECT_INT(lr_top_list_rows(&list, title, rows, TOP_PROCESSES), ==, 3);
    ck_assert_str_eq(rows[0], "      20 a                  900 B     2.0 KiB     1.0 KiB  50.0 % "
                              "      7  perl");
    EXPECT(strstr(rows[2], " -           -       -       -  nginx") != NULL);
    EXPECT_UINT(strcspn(title, "U"), ==, 9);
    list.first = 2;
    EXPECT_INT(lr_top_list_rows(&list, title, rows, 1), ==, 3);
    EXPECT(strstr(rows[0], "nginx") != NULL);
}
END_TEST

START_TEST(test_top_list__moving_scrolls) {
    example();
    lr_top_list_move(&list, 1, 2);
    EXPECT_INT(list.chosen, ==, 30);
    EXPECT_INT(list.first, ==, 0);
    lr_top_list_move(&list, 5, 2);
    EXPECT_INT(list.chosen, ==, 10);
    EXPECT_INT(list.first, ==, 1);
    lr_top_list_move(&list, -5, 2);
    EXPECT_INT(list.chosen, ==, 20);
    EXPECT_INT(list.first, ==, 0);
    list.chosen = 4711; // has ended
    lr_top_list_sort(&list);
    EXPECT_INT(list.chosen, ==, 20);
    list.count = 0;
    lr_top_list_sort(&list);
    lr_top_list_move(&list, 1, 2);
    EXPECT_INT(list.chosen, ==, 0);
}
END_TEST

START_TEST(test_top_list__a_process_by_its_user_and_state) {
    char user[33];
    lr_proc_user(getpid(), user, sizeof user);
    EXPECT_UINT(strlen(user), >, 0);
    EXPECT(!lr_proc_is_stopped(getpid()));
    lr_proc_user(0x7ffffff0, user, sizeof user);
    ck_assert_str_eq(user, "?");
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("top_list");
    test_add(suite, test_top_list__any_column_is_an_order);
    test_add(suite, test_top_list__rows_show_what_is_known);
    test_add(suite, test_top_list__moving_scrolls);
    test_add(suite, test_top_list__a_process_by_its_user_and_state);
    return suite;
}
