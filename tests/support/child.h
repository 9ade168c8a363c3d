// SPDX-License-Identifier: Apache-2.0
//
// Runs a function in a forked child: its end and its stderr are what a test of a crash, an exit or
// a resource limit looks at.
#ifndef LARDER_TESTS_CHILD_H
#define LARDER_TESTS_CHILD_H

#include <stdbool.h>

struct test_child {
    int status;     // as from waitpid
    bool timed_out; // killed by us at the deadline
    char err[4096]; // what it wrote to stderr, cut and terminated
};

// Forks; the child runs body(arg) and leaves by _exit(0) unless body ends it otherwise. Returns
// when the child has ended; kills its process group after `seconds` (four times as many under a
// sanitizer).
void test_child_run(struct test_child *out, unsigned seconds, void (*body)(void *), void *arg);

// True inside a child started by test_child_run (or one forked from it).
bool test_child_is_current(void);

// A child of a test that forks by itself calls this first, so that a failed EXPECT ends it by
// SIGABRT instead of speaking for the test.
void test_child_mark_current(void);

// Exit code that body may use when it finds that the machine does not permit the test.
enum { TEST_CHILD_SKIP = 77 };

void test_child_check_exit(const char *file, int line, const struct test_child *child, int code);
void test_child_check_signal(const char *file, int line, const struct test_child *child, int sig);
bool test_child_skipped(const struct test_child *child);

#define EXPECT_CHILD_EXIT(child, code) test_child_check_exit(__FILE__, __LINE__, (child), (code))
#define EXPECT_CHILD_SIGNAL(child, sig) test_child_check_signal(__FILE__, __LINE__, (child), (sig))

#endif
