// SPDX-License-Identifier: Apache-2.0
//
// Objects that a central list must not take: each is reported, and the list stays as it was.
#include "cache/central.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../support/child.h"
#include "cache_test.h"

enum { BYTES = 512 };

struct misuse {
    const char *name;
    void *(*bad)(void **good); // a pointer that is no object of the class that is handed out
    const char *where;         // what the report says of it
};

static void *freed_twice(void **good) {
    lr_central_insert(lr_class_of(BYTES), good, 1);
    return good[0];
}

static void *middle_of_object(void **good) { return (char *)good[0] + 16; }

static void *odd_address(void **good) { return (char *)good[0] + 1; }

static void *never_handed_out(void **good) {
    const struct span *const span = lr_span_of_page(lr_page_of(good[0]));
    return lr_span_start(span) + (size_t)span->fresh * BYTES;
}

// Behind the last object, in what is left of the span.
static void *tail_of_span(void **good) {
    const struct span *const span = lr_span_of_page(lr_page_of(good[0]));
    return lr_span_start(span) + lr_span_bytes(span) - 16;
}

static void *of_another_class(void **good) {
    static void *other;
    (void)good;
    EXPECT_UINT(lr_central_remove(lr_class_of(2 * BYTES), &other, 1), ==, 1);
    return other;
}

static void *outside(void **good) { return good; }

static void *of_a_free_page(void **good) {
    const struct span *const span = lr_span_alloc_large(1, 1);
    char *const start = lr_span_start(span);
    (void)good;
    lr_span_free(lr_span_of_page(lr_page_of(start)));
    return start;
}

static const struct misuse misuses[] = {
    {"freed twice", freed_twice, "in a span of 512 byte blocks"},
    {"middle of an object", middle_of_object, "in a span of 512 byte blocks"},
    {"odd address", odd_address, "in a span of 512 byte blocks"},
    {"never handed out", never_handed_out, "in a span of 512 byte blocks"},
    {"behind the last object", tail_of_span, "in a span of 512 byte blocks"},
    {"of another class", of_another_class, "in a span of 1024 byte blocks"},
    {"outside the heap", outside, "outside the heap"},
    {"in a free page", of_a_free_page, "in a free page"},
};
enum { MISUSES = sizeof misuses / sizeof *misuses };

struct scenario {
    const struct misuse *misuse;
    uint64_t on_error;
};

// The bad pointer stands between good ones, which must all arrive.
static void insert_bad_among_good(void *arg) {
    const struct scenario *const scenario = arg;
    enum { GOOD = 20, AT = 7 };
    void *good[GOOD], *batch[GOOD];
    const unsigned c = lr_class_of(BYTES);
    start_tiers(LR_GIB);
    EXPECT_INT(lr_option_set("on_error", scenario->on_error), ==, 0);
    EXPECT_UINT(lr_central_remove(c, good, GOOD), ==, GOOD);
    void *const bad = scenario->misuse->bad(good);
    const size_t free_before = central_free_objects(c);
    memcpy(batch, good, sizeof batch);
    batch[AT] = bad;
    lr_central_insert(c, batch + 1, GOOD - 1); // the first one may be free already
    EXPECT_UINT(central_free_objects(c), ==, free_before + GOOD - 2);
    dprintf(STDERR_FILENO, "survived %p\n", bad);
    lr_central_insert(c, good + AT, 1);
    EXPECT_UINT(central_free_objects(c), ==, free_before + GOOD - 1);
}

static void expect_line(const char *text, const struct misuse *misuse) {
    const bool begins = strncmp(text, "larder: invalid free of 0x", 26) == 0;
    if (!begins || strstr(text, misuse->where) == NULL || strstr(text, ", thread ") == NULL)
        test_fail(__FILE__, __LINE__, "%s: unexpected report: %s", misuse->name, text);
}

START_TEST(test_central_misuse__report_and_go_on) {
    for (unsigned i = 0; i < MISUSES; i++) {
        struct scenario scenario = {&misuses[i], LR_ON_ERROR_REPORT};
        struct test_child child;
        test_child_run(&child, 20, insert_bad_among_good, &scenario);
        EXPECT_CHILD_EXIT(&child, 0);
        expect_line(child.err, &misuses[i]);
        // One line of report, of the pointer that was bad.
        char *const second = strchr(child.err, '\n') + 1;
        EXPECT(strncmp(second, "survived 0x", 11) == 0);
        const size_t digits = strcspn(second + 11, "\n");
        EXPECT(strncmp(child.err + 26, second + 11, digits) == 0);
        EXPECT_INT(child.err[26 + digits], ==, ':');
        EXPECT_UINT(strlen(second), ==, 11 + digits + 1);
    }
}
END_TEST

START_TEST(test_central_misuse__abort) {
    for (unsigned i = 0; i < MISUSES; i++) {
        struct scenario scenario = {&misuses[i], LR_ON_ERROR_ABORT};
        struct test_child child;
        test_child_run(&child, 20, insert_bad_among_good, &scenario);
        EXPECT_CHILD_SIGNAL(&child, SIGABRT);
        expect_line(child.err, &misuses[i]);
        EXPECT(strstr(child.err, "survived") == NULL);
    }
}
END_TEST

START_TEST(test_central_misuse__ignore) {
    for (unsigned i = 0; i < MISUSES; i++) {
        struct scenario scenario = {&misuses[i], LR_ON_ERROR_IGNORE};
        struct test_child child;
        test_child_run(&child, 20, insert_bad_among_good, &scenario);
        EXPECT_CHILD_EXIT(&child, 0);
        EXPECT(strncmp(child.err, "survived 0x", 11) == 0);
    }
}
END_TEST

// Twice in one batch, and of spans that are entirely free and kept as the spare.
static void free_spare_again(void *arg) {
    (void)arg;
    enum { MOST = 64 };
    const unsigned c = lr_class_of(BYTES), per_span = lr_classes[c].objects;
    void *objects[MOST];
    start_tiers(LR_GIB);
    EXPECT_UINT(per_span, <=, MOST);
    EXPECT_INT(lr_option_set("on_error", LR_ON_ERROR_IGNORE), ==, 0);
    EXPECT_UINT(lr_central_remove(c, objects, per_span), ==, per_span);
    void *const twice[] = {objects[3], objects[3], objects[4], objects[3]};
    lr_central_insert(c, twice, 4);
    EXPECT_UINT(central_free_objects(c), ==, 2);
    lr_central_insert(c, objects, per_span);
    EXPECT_UINT(central_free_objects(c), ==, per_span);
    for (unsigned i = 0; i < per_span; i++)
        lr_central_insert(c, objects + i, 1);
    EXPECT_UINT(central_free_objects(c), ==, per_span);
    EXPECT_UINT(lr_central_counts(c).spans, ==, 1);
    lr_central_release_spares();
    lr_central_insert(c, objects, per_span); // of a span that has gone back
    EXPECT_UINT(central_free_objects(c), ==, 0);
    expect_all_returned();
}

START_TEST(test_central_misuse__again_and_again) {
    struct test_child child;
    test_child_run(&child, 20, free_spare_again, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
    ck_assert_str_eq(child.err, "");
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("central_misuse");
    test_add(suite, test_central_misuse__report_and_go_on);
    test_add(suite, test_central_misuse__abort);
    test_add(suite, test_central_misuse__ignore);
    test_add(suite, test_central_misuse__again_and_again);
    return suite;
}
