// SPDX-License-Identifier: Apache-2.0
//
// Facts about the process: limits, memory, environment, writing.
#include "os/os.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
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

static void *read_slowly(void *arg) {
    static char read_bytes[100000];
    const int fd = *(const int *)arg;
    size_t length = 0;
    for (ssize_t got = 1; got > 0; length += (size_t)(got > 0 ? got : 0)) {
        test_sleep_ms(3);
        const size_t left = sizeof read_bytes - length;
        got = read(fd, read_bytes + length, left < 4096 ? left : 4096);
    }
    EXPECT_UINT(length, ==, sizeof read_bytes);
    EXPECT_FILLED(read_bytes, sizeof read_bytes, 9);
    return NULL;
}

static void on_signal(int signal_number) { (void)signal_number; }

static atomic_bool writing;

static void *interrupt_often(void *arg) {
    const pthread_t writer = *(pthread_t *)arg;
    while (writing) {
        pthread_kill(writer, SIGUSR1);
        test_sleep_ms(1);
    }
    return NULL;
}

// A pipe takes 64 KiB at once; signals without SA_RESTART end the writes early, or undone.
START_TEST(test_proc__write_goes_on_until_all_is_written) {
    static char bytes[100000];
    int ends[2];
    pthread_t reader, interrupter, self = pthread_self();
    struct sigaction action = {.sa_handler = on_signal};
    EXPECT_INT(sigaction(SIGUSR1, &action, NULL), ==, 0);
    EXPECT_INT(pipe(ends), ==, 0);
    test_fill(bytes, sizeof bytes, 9);
    writing = true;
    EXPECT_INT(pthread_create(&interrupter, NULL, interrupt_often, &self), ==, 0);
    EXPECT_INT(pthread_create(&reader, NULL, read_slowly, &ends[0]), ==, 0);
    EXPECT_INT(lr_os_write(ends[1], bytes, sizeof bytes), ==, 0);
    writing = false;
    pthread_join(interrupter, NULL);
    close(ends[1]);
    pthread_join(reader, NULL);
    close(ends[0]);
}
END_TEST

START_TEST(test_proc__write_says_what_is_wrong) {
    EXPECT_INT(lr_os_write(-1, "x", 1), ==, -EBADF);
    EXPECT_INT(lr_os_write(-1, "x", 0), ==, 0);
    signal(SIGPIPE, SIG_IGN);
    int ends[2];
    EXPECT_INT(pipe(ends), ==, 0);
    close(ends[0]);
    EXPECT_INT(lr_os_write(ends[1], "x", 1), ==, -EPIPE);
    close(ends[1]);
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
    test_add(suite, test_proc__write_goes_on_until_all_is_written);
    test_add(suite, test_proc__write_says_what_is_wrong);
    test_add(suite, test_proc__address_limit);
    test_add(suite, test_proc__only_thread_left);
    test_add(suite, test_proc__main_thread_that_has_ended_does_not_count);
    return suite;
}
