// SPDX-License-Identifier: Apache-2.0
//
// The reports of misuse: one line each, what it says, and what follows.
#include "cache/misuse.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../support/child.h"
#include "cache_test.h"

struct report {
    enum lr_misuse misuse;
    bool sized;
    uint64_t on_error;
    const char *expected; // behind "larder: ", %p the pointer, %u the thread
};

static char not_a_block;

static void misuse(void *arg) {
    const struct report *const report = arg;
    char expected[256];
    start_tiers(LR_GIB);
    EXPECT_INT(lr_option_set("on_error", report->on_error), ==, 0);
    // What is expected goes first, for the parent to compare.
    const int length = snprintf(expected, sizeof expected, report->expected, (void *)&not_a_block,
                                lr_os_thread_id());
    EXPECT_INT(write(STDERR_FILENO, expected, (size_t)length), ==, length);
    if (report->sized)
        lr_misuse_report_size(&not_a_block, 100, 64);
    else
        lr_misuse_report(report->misuse, &not_a_block);
}

static const char free_text[] =
    "larder: invalid free of %p: double free, or not a block, outside the heap, thread %u\n";
static const char realloc_text[] =
    "larder: invalid realloc of %p: double free, or not a block, outside the heap, thread %u\n";
static const char size_text[] =
    "larder: sized free of %p with size 100, but the block has 64 bytes, thread %u\n";

static const struct report reports[] = {
    {LR_MISUSE_FREE, false, LR_ON_ERROR_REPORT, free_text},
    {LR_MISUSE_REALLOC, false, LR_ON_ERROR_REPORT, realloc_text},
    {LR_MISUSE_FREE, true, LR_ON_ERROR_REPORT, size_text},
    {LR_MISUSE_FREE, false, LR_ON_ERROR_ABORT, free_text},
    {LR_MISUSE_REALLOC, false, LR_ON_ERROR_ABORT, realloc_text},
    {LR_MISUSE_FREE, true, LR_ON_ERROR_ABORT, size_text},
    {LR_MISUSE_FREE, false, LR_ON_ERROR_IGNORE, ""},
    {LR_MISUSE_FREE, true, LR_ON_ERROR_IGNORE, ""},
};

START_TEST(test_misuse__one_line_and_what_follows) {
    for (size_t i = 0; i < sizeof reports / sizeof *reports; i++) {
        struct report report = reports[i];
        struct test_child child;
        test_child_run(&child, 20, misuse, &report);
        if (report.on_error == LR_ON_ERROR_ABORT)
            EXPECT_CHILD_SIGNAL(&child, SIGABRT);
        else
            EXPECT_CHILD_EXIT(&child, 0);
        const size_t length = strlen(child.err) / 2;
        if (strncmp(child.err, child.err + length, length) != 0 || strlen(child.err) % 2 != 0)
            test_fail(__FILE__, __LINE__, "expected the same line twice: %s", child.err);
    }
}
END_TEST

// What the page is used for is said as far as it is known.
static void report_places(void *arg) {
    void *object;
    (void)arg;
    start_tiers(LR_GIB);
    EXPECT_INT(lr_option_set("on_error", LR_ON_ERROR_REPORT), ==, 0);
    EXPECT_UINT(lr_central_remove(lr_class_of(48), &object, 1), ==, 1);
    struct span *const large = lr_span_alloc_large(20, 1);
    char *const start = lr_span_start(large);
    lr_misuse_report(LR_MISUSE_FREE, (char *)object + 8);
    lr_misuse_report(LR_MISUSE_FREE, start + 8);
    lr_misuse_report(LR_MISUSE_FREE, start + 10 * LR_PAGE_BYTES);
    lr_misuse_report(LR_MISUSE_FREE, lr_window.base);
}

START_TEST(test_misuse__says_where_the_pointer_leads) {
    static const char *const places[] = {"in a span of 48 byte blocks", "at a large block",
                                         "in a free page or inside a large block",
                                         "in a free page or inside a large block"};
    struct test_child child;
    test_child_run(&child, 20, report_places, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
    char *line = child.err;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char *const end = strchr(line, '\n');
        EXPECT(end != NULL);
        *end = '\0';
        if (strstr(line, places[i]) == NULL)
            test_fail(__FILE__, __LINE__, "expected \"%s\" in: %s", places[i], line);
        line = end + 1;
    }
    EXPECT_UINT(strlen(line), ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("misuse");
    test_add(suite, test_misuse__one_line_and_what_follows);
    test_add(suite, test_misuse__says_where_the_pointer_leads);
    return suite;
}
