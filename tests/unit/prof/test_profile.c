// SPDX-License-Identifier: Apache-2.0
//
// What a profile says of planted sites: each kind names its own first, near the truth.
#include "prof/profile.h"

#include <larder/ctl.h>
#include <larder/larder.h>
#include <larder/profile.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "prof/dump.h"
#include "prof/stack_table.h"
#include "support.h"

enum { LEAKED = 20000, CHURNED = 300000, KEPT = 4000 };

static void *leaked[LEAKED];

// Each in a section of its own, so that its addresses are known.
extern const char __start_text_leak[], __stop_text_leak[], __start_text_churn[],
    __stop_text_churn[];

__attribute__((noinline, noclone, section("text_leak"))) static void *leak(void) {
    return test_opaque_ptr(larder_malloc(1000));
}

__attribute__((noinline, noclone, section("text_churn"))) static void *churn(void) {
    return test_opaque_ptr(larder_malloc(200));
}

static void profile_at(uint64_t interval) {
    larder_free(test_opaque_ptr(larder_malloc(1)));
    EXPECT_INT(larder_option_set("profile_interval", interval), ==, 0);
    EXPECT_INT(larder_option_set("profile", 1), ==, 0);
}

// The sums of all stacks with a frame of the function.
static struct lr_stack_sums sums_of(void *(*function)(void)) {
    size_t from_pc = (size_t)(function == leak ? __start_text_leak : __start_text_churn);
    size_t to_pc = (size_t)(function == leak ? __stop_text_leak : __stop_text_churn);
    struct lr_stack_sums all = {0};
    for (struct lr_stack *s = lr_stack_first(); s != NULL; s = lr_stack_after(s)) {
        lr_lock(&lr_sample_lock);
        lr_profile_note_peak_locked(s);
        bool found = false;
        for (unsigned i = 0; i < s->depth; i++)
            found |= s->pcs[i] >= from_pc && s->pcs[i] <= to_pc;
        double *to = &all.objects;
        const double *from = &s->sums.objects;
        for (unsigned i = 0; found && i < sizeof all / sizeof *to; i++)
            to[i] += from[i];
        lr_unlock(&lr_sample_lock);
    }
    return all;
}

static bool near(double value, double truth) { return value > 0.9 * truth && value < 1.1 * truth; }

static void write_profile(void) {
    FILE *const file = tmpfile();
    EXPECT(file != NULL);
    EXPECT_INT(larder_profile_write(fileno(file)), ==, 0);
    fclose(file);
}

// 5 % is four standard deviations with 6,000 samples; the test allows 10 %.
START_TEST(test_profile__leak_and_churn) {
    profile_at(4096);
    for (unsigned i = 0; i < LEAKED; i++)
        leaked[i] = leak();
    for (unsigned i = 0; i < CHURNED; i++)
        larder_free(churn());
    struct lr_stack_sums leak_sums = sums_of(leak);
    struct lr_stack_sums churn_sums = sums_of(churn);
    EXPECT(near(leak_sums.live_bytes, LEAKED * 1000.0));
    EXPECT(near(leak_sums.live_objects, LEAKED));
    EXPECT(near(churn_sums.bytes, CHURNED * 200.0));
    EXPECT(near(churn_sums.freed_objects, CHURNED));
    EXPECT(churn_sums.live_bytes < 1);
    EXPECT(churn_sums.bytes > leak_sums.bytes);
    EXPECT(leak_sums.freed_objects < 1);
}
END_TEST

// The peak is of the moment when all together held most, not the sum of peaks.
START_TEST(test_profile__peak) {
    profile_at(4096);
    for (unsigned i = 0; i < LEAKED; i++)
        leaked[i] = leak();
    for (unsigned i = 0; i < LEAKED; i++)
        larder_free(leaked[i]);
    for (unsigned i = 0; i < LEAKED; i++)
        leaked[i] = churn();
    struct lr_stack_sums leak_sums = sums_of(leak);
    EXPECT(near(leak_sums.peak_bytes, LEAKED * 1000.0));
    EXPECT(leak_sums.live_bytes < 1);
    EXPECT(sums_of(churn).peak_bytes < 1);
    EXPECT(near(sums_of(churn).live_bytes, LEAKED * 200.0));
}
END_TEST

START_TEST(test_profile__lifetimes) {
    profile_at(1);
    for (unsigned i = 0; i < 10; i++)
        leaked[i] = leak();
    test_sleep_ms(20);
    for (unsigned i = 0; i < 10; i++)
        larder_free(leaked[i]);
    struct lr_stack_sums sums = sums_of(leak);
    EXPECT(near(sums.freed_objects, 10));
    EXPECT(sums.lifetime_ns >= 10 * 20e6);
    EXPECT(sums.lifetimes[0] == 0 && sums.lifetimes[1] == 0);
}
END_TEST

// One block of each span stays: the site that keeps them pins nearly all of the spans.
START_TEST(test_profile__pinned_bytes) {
    enum { PER_SPAN = 32 }; // of 1024 byte blocks
    EXPECT_UINT(larder_good_size(1000, 16), ==, 1024);
    profile_at(512);
    for (unsigned i = 0; i < KEPT * 4; i++)
        leaked[i] = i % PER_SPAN == 0 ? leak() : test_opaque_ptr(larder_malloc(1000));
    for (unsigned i = 0; i < KEPT * 4; i++) {
        if (i % PER_SPAN != 0)
            larder_free(leaked[i]);
    }
    (void)larder_thread_flush();
    (void)larder_release(0); // the transfer caches
    write_profile();
    double kept = KEPT * 4 / PER_SPAN;
    double pinned = sums_of(leak).pinned_span_bytes;
    EXPECT(pinned > kept * 1024 * (PER_SPAN - 1) * 0.5);
    EXPECT(pinned < kept * 1024 * (PER_SPAN - 1) * 1.5);
    EXPECT(sums_of(leak).pinned_huge_bytes > 0);
    // Without gaps there is nothing to pin.
    for (unsigned i = 0; i < KEPT * 4; i += PER_SPAN)
        larder_free(leaked[i]);
    write_profile();
    EXPECT(sums_of(leak).pinned_span_bytes < 1);
}
END_TEST

START_TEST(test_profile__text) {
    profile_at(1);
    leaked[0] = leak();
    int pipe_fds[2];
    EXPECT_INT(pipe(pipe_fds), ==, 0);
    static char text[65536];
    EXPECT_INT(larder_profile_write(pipe_fds[1]), ==, 0);
    close(pipe_fds[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(pipe_fds[0], text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)got;
    EXPECT_PTR(strstr(text, "larder-profile 1\n"), ==, text);
    EXPECT(strstr(text, "\nstack 1 1000 1 1000 1 1000 0 0 0 ") != NULL);
    EXPECT(strstr(text, "\nmaps\n") != NULL);
    errno = 0;
    EXPECT_INT(larder_profile_write(-1), ==, -EBADF);
    EXPECT_INT(larder_profile_write(999), ==, -EBADF);
    EXPECT_INT(errno, ==, 0);
}
END_TEST

START_TEST(test_profile__leak_report) {
    profile_at(1);
    for (unsigned i = 0; i < 100; i++)
        leaked[i] = leak();
    for (unsigned i = 100; i < 110; i++)
        leaked[i] = churn();
    FILE *const file = tmpfile();
    EXPECT(file != NULL);
    EXPECT_INT(lr_profile_leaks(fileno(file)), ==, 0);
    rewind(file);
    char line[512];
    EXPECT(fgets(line, sizeof line, file) != NULL);
    char head[64];
    snprintf(head, sizeof head, "larder: process %d (", (int)getpid());
    EXPECT(strncmp(line, head, strlen(head)) == 0);
    EXPECT(strstr(line, "): not freed at exit: 99.6 KiB in 110 blocks") != NULL);
    EXPECT(fgets(line, sizeof line, file) != NULL);
    EXPECT(strstr(line, "97.7 KiB in 100 blocks, allocated by") != NULL);
    fclose(file);
}
END_TEST

static int full_pipe[2];

static void *write_into_pipe(void *unused) {
    while (larder_profile_write(full_pipe[1]) == -EBUSY) // is_being_written() was at it
        continue;
    return unused;
}

static bool is_being_written(void *file) {
    return larder_profile_write(*(const int *)file) == -EBUSY;
}

// The child has not the thread that was writing, and may write one itself.
static void fork_while_one_is_written(void *unused) {
    EXPECT_INT(pipe2(full_pipe, O_NONBLOCK), ==, 0);
    while (write(full_pipe[1], "", 1) == 1)
        continue;
    EXPECT_INT(fcntl(full_pipe[1], F_SETFL, 0), ==, 0);
    profile_at(1 << 20);
    int file = open("/dev/null", O_WRONLY);
    pthread_t thread;
    EXPECT_INT(pthread_create(&thread, NULL, write_into_pipe, unused), ==, 0);
    EXPECT(test_wait_until(is_being_written, &file, 10000));
    const pid_t child = fork();
    if (child == 0)
        _exit(larder_profile_write(file) != 0);
    int status = -1;
    EXPECT_INT(waitpid(child, &status, 0), ==, child);
    _exit(status != 0);
}

START_TEST(test_profile__fork_while_one_is_written) {
    struct test_child child;
    test_child_run(&child, 20, fork_while_one_is_written, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("prof/profile");
    test_add(suite, test_profile__leak_and_churn);
    test_add(suite, test_profile__peak);
    test_add(suite, test_profile__lifetimes);
    test_add(suite, test_profile__pinned_bytes);
    test_add(suite, test_profile__text);
    test_add(suite, test_profile__leak_report);
    test_add(suite, test_profile__fork_while_one_is_written);
    return suite;
}
