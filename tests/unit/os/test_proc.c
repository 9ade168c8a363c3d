// SPDX-License-Identifier: Apache-2.0
//
// Facts about the process: limits, memory, environment.
#include "os/os.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../support/child.h"
#include "../../support/support.h"

static const size_t mib = (size_t)1 << 20;

START_TEST(test_proc__physical_memory_is_the_kernels) {
    const size_t by_libc = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    EXPECT_UINT(lr_os_physical_bytes(), ==, by_libc);
}
END_TEST

START_TEST(test_proc__resident_bytes_follow_touched_memory) {
    lr_os_init();
    const size_t before = lr_os_resident_bytes();
    EXPECT_UINT(before, >, 0);
    char *const p = lr_os_map(16 * mib, mib);
    memset(p, 1, 16 * mib);
    // The kernel sums its counters up lazily, a few pages for each processor.
    EXPECT_UINT(lr_os_resident_bytes(), >=, before + 15 * mib);
    if (!TEST_UNDER_TSAN) // whose shadow memory comes on top
        EXPECT_UINT(lr_os_resident_bytes(), <=, before + 20 * mib);
    lr_os_unmap(p, 16 * mib);
    if (!TEST_UNDER_TSAN)
        EXPECT_UINT(lr_os_resident_bytes(), <=, before + 4 * mib);
}
END_TEST

START_TEST(test_proc__environment) {
    extern char **environ;
    EXPECT(lr_os_environ_ready());
    EXPECT_PTR(lr_os_environ(), ==, environ);
    setenv("LARDER_TEST_WORD", "tea", 1);
    ck_assert_str_eq(lr_os_getenv("LARDER_TEST_WORD"), "tea");
    unsetenv("LARDER_TEST_WORD");
    EXPECT_PTR(lr_os_getenv("LARDER_TEST_WORD"), ==, NULL);
}
END_TEST

// As in a call that comes before libc has its environment.
START_TEST(test_proc__environment_before_libc_has_one) {
    extern char **environ;
    char **const saved = environ;
    environ = NULL;
    EXPECT(!lr_os_environ_ready());
    EXPECT_PTR(lr_os_environ(), ==, NULL);
    EXPECT_PTR(lr_os_getenv("PATH"), ==, NULL);
    environ = saved;
}
END_TEST

static void limit_address_space(void *arg) {
    const size_t limit_bytes = *(const size_t *)arg;
    const struct rlimit limit = {limit_bytes, RLIM_INFINITY};
    EXPECT_INT(setrlimit(RLIMIT_AS, &limit), ==, 0);
    EXPECT_UINT(lr_os_address_limit(), ==, limit_bytes);
}

START_TEST(test_proc__address_limit) {
    struct test_child child;
    size_t limit = (size_t)1 << 46;
    EXPECT_UINT(lr_os_address_limit(), ==, SIZE_MAX);
    test_child_run(&child, 20, limit_address_space, &limit);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

// ---- lr_os_only_thread_left ----

static atomic_bool may_end;

static void *wait_to_end(void *arg) {
    (void)arg;
    while (!may_end)
        test_sleep_ms(1);
    return NULL;
}

static bool is_only_thread(void *arg) {
    (void)arg;
    return lr_os_only_thread_left();
}

static void count_threads(void *arg) {
    (void)arg;
    pthread_t threads[3];
    EXPECT(lr_os_only_thread_left());
    for (unsigned i = 0; i < 3; i++)
        EXPECT_INT(pthread_create(&threads[i], NULL, wait_to_end, NULL), ==, 0);
    EXPECT(!lr_os_only_thread_left());
    may_end = true;
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    EXPECT(test_wait_until(is_only_thread, NULL, 5000)); // the kernel may lag behind the join
}

START_TEST(test_proc__only_thread_left) {
    struct test_child child;
    if (TEST_UNDER_TSAN) {
        TEST_SKIP("ThreadSanitizer has a thread of its own");
    }
    test_child_run(&child, 20, count_threads, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

static void *outlive_main(void *arg) {
    pthread_t second;
    EXPECT_INT(pthread_join(*(pthread_t *)arg, NULL), ==, 0);
    EXPECT(test_wait_until(is_only_thread, NULL, 5000));
    EXPECT_INT(pthread_create(&second, NULL, wait_to_end, NULL), ==, 0);
    EXPECT(!lr_os_only_thread_left());
    _exit(23);
}

static void end_main_thread(void *arg) {
    static pthread_t self;
    pthread_t thread;
    (void)arg;
    self = pthread_self();
    EXPECT_INT(pthread_create(&thread, NULL, outlive_main, &self), ==, 0);
    pthread_exit(NULL);
}

START_TEST(test_proc__main_thread_that_has_ended_does_not_count) {
    struct test_child child;
    if (TEST_UNDER_TSAN) {
        TEST_SKIP("ThreadSanitizer has a thread of its own");
    }
    test_child_run(&child, 20, end_main_thread, NULL);
    EXPECT_CHILD_EXIT(&child, 23);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("proc");
    test_add(suite, test_proc__physical_memory_is_the_kernels);
    test_add(suite, test_proc__resident_bytes_follow_touched_memory);
    test_add(suite, test_proc__environment);
    test_add(suite, test_proc__environment_before_libc_has_one);
    test_add(suite, test_proc__address_limit);
    test_add(suite, test_proc__only_thread_left);
    test_add(suite, test_proc__main_thread_that_has_ended_does_not_count);
    return suite;
}
