// SPDX-License-Identifier: Apache-2.0
//
// Options are read, set and printed by name; a change publishes another snapshot.
#include "conf/options.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "../../support/support.h"
#include "sync/rcu.h"

static void expect_value(enum lr_option_id id, uint64_t expected) {
    uint64_t value = 0;
    EXPECT_INT(lr_option_get(lr_option_name(id), &value), ==, 0);
    EXPECT_UINT(value, ==, expected);
}

START_TEST(test_options__set_and_get) {
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        const struct lr_option_row *row = lr_option_row(id);
        const char *name = lr_option_name(id);
        uint64_t before = 0;
        EXPECT_INT(lr_option_get(name, &before), ==, 0);
        if (row->when == LR_WHEN_STARTUP) {
            EXPECT_INT(lr_option_set(name, row->max), ==, -EPERM);
            expect_value(id, before);
            continue;
        }
        EXPECT_INT(lr_option_set(name, row->max), ==, 0);
        expect_value(id, row->max);
        EXPECT_INT(lr_option_set(name, row->max + 1), ==, -ERANGE);
        expect_value(id, row->max);
        EXPECT_INT(lr_option_set(name, row->min), ==, 0);
        expect_value(id, row->min);
        if (row->min > 0) {
            EXPECT_INT(lr_option_set(name, row->min - 1), ==, -ERANGE);
        }
        EXPECT_INT(lr_option_set(name, before), ==, 0);
        expect_value(id, before);
    }
    uint64_t value = 77;
    EXPECT_INT(lr_option_get("no_such_option", &value), ==, -ENOENT);
    EXPECT_UINT(value, ==, 77);
    EXPECT_INT(lr_option_set("no_such_option", 1), ==, -ENOENT);
    EXPECT_INT(lr_option_set("LARDER_STATS", 1), ==, -ENOENT);
}
END_TEST

START_TEST(test_options__setting_one_keeps_the_others) {
    EXPECT_INT(lr_option_set("batch_max", 5), ==, 0);
    EXPECT_INT(lr_option_set("idle_thread_ms", 6), ==, 0);
    EXPECT_INT(lr_option_set("heap_limit", 7), ==, 0);
    EXPECT_UINT(lr_opt_batch_max(), ==, 5);
    EXPECT_UINT(lr_opt_idle_thread_ms(), ==, 6);
    EXPECT_UINT(lr_opt_heap_limit(), ==, 7);
    EXPECT_UINT(lr_opt_thread_cache_max(), ==, lr_option_row(LR_OPTION_thread_cache_max)->fallback);
}
END_TEST

START_TEST(test_options__print_shows_every_row_with_origin_and_help) {
    EXPECT_INT(lr_option_set("batch_max", 5), ==, 0);
    int ends[2];
    EXPECT_INT(pipe(ends), ==, 0);
    EXPECT_INT(lr_options_print(ends[1]), ==, 0);
    close(ends[1]);
    char output[8192];
    const ssize_t got = read(ends[0], output, sizeof output - 1);
    EXPECT_INT(got, >, 0);
    output[got] = '\0';
    close(ends[0]);
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        char variable[64];
        struct lr_print p;
        lr_print_init(&p, variable, sizeof variable, -1);
        lr_option_print_variable(&p, id);
        const char *row = strstr(output, variable);
        EXPECT(row != NULL);
        EXPECT(strstr(row, lr_option_help(id)) != NULL);
    }
    EXPECT(strstr(output, "LARDER_BATCH_MAX            5 objects     program     ") != NULL);

    const int full = open("/dev/full", O_WRONLY);
    if (full >= 0) {
        EXPECT_INT(lr_options_print(full), ==, -ENOSPC);
        close(full);
    }
}
END_TEST

static struct {
    _Atomic(bool) stop;
    _Atomic(uint64_t) sections;
} race;

static void *set_until_stopped(void *arg) {
    for (uint64_t i = (uintptr_t)arg; !race.stop; i += 2) {
        EXPECT_INT(lr_option_set("batch_max", 2 + i % 500), ==, 0);
        EXPECT_INT(lr_option_set("idle_thread_ms", i % 1000), ==, 0);
    }
    return NULL;
}

static void *read_until_stopped(void *arg) {
    (void)arg;
    while (!race.stop) {
        lr_rcu_read_lock();
        struct lr_options *options = lr_options_deref();
        const uint64_t batch = lr_options_value(options, LR_OPTION_batch_max);
        const uint64_t idle = lr_options_value(options, LR_OPTION_idle_thread_ms);
        for (int i = 0; i < 1000; i++) {
            EXPECT_UINT(lr_options_value(options, LR_OPTION_batch_max), ==, batch);
            EXPECT_UINT(lr_options_value(options, LR_OPTION_idle_thread_ms), ==, idle);
        }
        lr_rcu_read_unlock();
        race.sections++;
        EXPECT(lr_option_in_range(LR_OPTION_batch_max, lr_opt_batch_max()));
    }
    return NULL;
}

START_TEST(test_options__a_snapshot_never_changes_under_its_reader) {
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++) {
        EXPECT_INT(pthread_create(&threads[i], NULL, i < 2 ? set_until_stopped : read_until_stopped,
                                  (void *)i),
                   ==, 0);
    }
    test_sleep_ms(300);
    race.stop = true;
    for (size_t i = 0; i < 4; i++) {
        EXPECT_INT(pthread_join(threads[i], NULL), ==, 0);
    }
    EXPECT_UINT(race.sections, >, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("options");
    test_add(suite, test_options__set_and_get);
    test_add(suite, test_options__setting_one_keeps_the_others);
    test_add(suite, test_options__print_shows_every_row_with_origin_and_help);
    test_add(suite, test_options__a_snapshot_never_changes_under_its_reader);
    return suite;
}
