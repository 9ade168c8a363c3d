// SPDX-License-Identifier: Apache-2.0
//
// Threads of the library itself, futexes, barriers and clocks.
#include "os/os.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../support/support.h"

static const uint64_t ms_ns = 1000000;

struct report {
    uint32_t id;
    uint64_t mask;
    size_t stack_bytes;
    char name[16];
    atomic_bool done;
};

static void *fill_report(void *arg) {
    struct report *const report = arg;
    pthread_attr_t attr;
    void *stack;
    report->id = lr_os_thread_id();
    report->mask = lr_os_signal_mask();
    EXPECT_INT(pthread_getattr_np(pthread_self(), &attr), ==, 0);
    EXPECT_INT(pthread_attr_getstack(&attr, &stack, &report->stack_bytes), ==, 0);
    pthread_attr_destroy(&attr);
    lr_os_thread_name("a longer name than fits");
    EXPECT_INT(pthread_getname_np(pthread_self(), report->name, sizeof report->name), ==, 0);
    atomic_store(&report->done, true);
    return NULL;
}

static bool is_done(void *arg) { return atomic_load(&((struct report *)arg)->done); }

START_TEST(test_thread__ids_are_the_kernels) {
    EXPECT_UINT(lr_os_thread_id(), ==, (uint32_t)syscall(SYS_gettid));
    EXPECT_UINT(lr_os_thread_id(), ==, (uint32_t)getpid());
}
END_TEST

START_TEST(test_thread__own_threads_block_all_signals) {
    static struct report report;
    lr_os_init();
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    EXPECT_INT(pthread_sigmask(SIG_SETMASK, &usr1, NULL), ==, 0);
    EXPECT_INT(lr_os_thread_start(fill_report, &report, 256 << 10), ==, 0);
    EXPECT_UINT(lr_os_signal_mask(), ==, (uint64_t)1 << (SIGUSR1 - 1)); // as it was
    EXPECT(test_wait_until(is_done, &report, 10000));
    EXPECT_UINT(report.id, !=, lr_os_thread_id());
    ck_assert_str_eq(report.name, "a longer name t");
    for (int n = 1; n <= 64; n++) {
        // KILL and STOP cannot be blocked; 32 and 33 are glibc's own.
        const bool blocked = (report.mask >> (n - 1) & 1) != 0;
        EXPECT_INT(blocked, ==, n != SIGKILL && n != SIGSTOP && n != 32 && n != 33);
    }
    EXPECT_UINT(report.stack_bytes, >=, 256 << 10);
    EXPECT_UINT(report.stack_bytes, <, 8 << 20);
}
END_TEST

// A stack that libc finds too small, as with much thread-local memory, becomes a larger one.
START_TEST(test_thread__small_stack_becomes_large_enough) {
    static struct report report;
    lr_os_init();
    EXPECT_INT(lr_os_thread_start(fill_report, &report, 1024), ==, 0);
    EXPECT(test_wait_until(is_done, &report, 10000));
    EXPECT_UINT(report.stack_bytes, >=, 4 << 20);
}
END_TEST

START_TEST(test_thread__refused_start_is_an_error) {
    static struct report report;
    const uint64_t mask = lr_os_signal_mask();
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN) {
        TEST_SKIP("the sanitizer ends the process when a thread cannot start");
    }
    lr_os_init();
    const int error = lr_os_thread_start(fill_report, &report, (size_t)1 << 60);
    EXPECT(error == -EAGAIN || error == -ENOMEM);
    EXPECT_UINT(lr_os_signal_mask(), ==, mask);
    EXPECT(!report.done);
}
END_TEST

static bool only_this_thread(void *arg) {
    (void)arg;
    return test_thread_count() == 1;
}

START_TEST(test_thread__own_threads_leave_nothing_to_join) {
    static struct report report;
    if (TEST_UNDER_TSAN) {
        TEST_SKIP("ThreadSanitizer has a thread of its own");
    }
    lr_os_init();
    EXPECT_INT(lr_os_thread_start(fill_report, &report, 256 << 10), ==, 0);
    EXPECT(test_wait_until(is_done, &report, 10000));
    EXPECT(test_wait_until(only_this_thread, NULL, 10000));
}
END_TEST

START_TEST(test_thread__signal_mask_has_a_bit_for_each_signal) {
    const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR2, SIGRTMIN, SIGRTMAX};
    sigset_t set;
    sigemptyset(&set);
    uint64_t expected = 0;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        sigaddset(&set, signals[i]);
        expected |= (uint64_t)1 << (signals[i] - 1);
    }
    EXPECT_INT(pthread_sigmask(SIG_SETMASK, &set, NULL), ==, 0);
    EXPECT_UINT(lr_os_signal_mask(), ==, expected);
    EXPECT_UINT(lr_os_signal_mask(), ==, expected); // asking changes nothing
}
END_TEST

START_TEST(test_thread__clocks) {
    const uint64_t start = lr_os_now_ns(), start_cpu = lr_os_thread_cpu_ns();
    test_sleep_ms(50);
    const uint64_t slept_cpu = lr_os_thread_cpu_ns() - start_cpu;
    EXPECT_UINT(lr_os_now_ns() - start, >=, 50 * ms_ns);
    EXPECT_UINT(slept_cpu, <, 50 * ms_ns);
    while (lr_os_thread_cpu_ns() - start_cpu < 20 * ms_ns)
        continue;
    EXPECT_UINT(lr_os_now_ns() - start, >=, (50 + 20) * ms_ns - slept_cpu);
    EXPECT_UINT(lr_os_now_ns() / 1000000000u, ==, test_now_ms() / 1000);
}
END_TEST

START_TEST(test_thread__futex_wait_ends_at_its_time) {
    uint32_t word = 3;
    errno = 12345;
    const uint64_t start = lr_os_now_ns();
    lr_os_futex_wait(&word, 3, 30 * ms_ns);
    EXPECT_UINT(lr_os_now_ns() - start, >=, 30 * ms_ns);
    lr_os_futex_wait(&word, 4, UINT64_MAX); // not what it is: no sleep at all
    lr_os_futex_wake(&word, 1);
    EXPECT_INT(errno, ==, 12345);
}
END_TEST

enum { SLEEPERS = 3 };

struct bed {
    uint32_t word;
    atomic_uint awake;
    atomic_uint ids[SLEEPERS];
    atomic_uint next;
};

static void *sleep_on_word(void *arg) {
    struct bed *const bed = arg;
    atomic_store(&bed->ids[atomic_fetch_add(&bed->next, 1)], lr_os_thread_id());
    lr_os_futex_wait(&bed->word, 0, UINT64_MAX);
    atomic_fetch_add(&bed->awake, 1);
    return NULL;
}

static bool all_blocked(void *arg) {
    struct bed *const bed = arg;
    for (unsigned i = 0; i < SLEEPERS; i++)
        if (bed->ids[i] == 0 || lr_os_thread_activity(bed->ids[i], 0) != LR_OS_THREAD_BLOCKED)
            return false;
    return true;
}

static bool one_awake(void *arg) { return atomic_load(&((struct bed *)arg)->awake) >= 1; }

static bool all_awake(void *arg) { return atomic_load(&((struct bed *)arg)->awake) == SLEEPERS; }

START_TEST(test_thread__futex_wake_wakes_as_many_as_it_says) {
    static struct bed bed;
    pthread_t threads[SLEEPERS];
    lr_os_init();
    if (access("/proc/thread-self/syscall", R_OK) != 0) {
        TEST_SKIP("no /proc/self/task/TID/syscall");
    }
    for (unsigned i = 0; i < SLEEPERS; i++)
        EXPECT_INT(pthread_create(&threads[i], NULL, sleep_on_word, &bed), ==, 0);
    EXPECT(test_wait_until(all_blocked, &bed, 10000));
    lr_os_futex_wake(&bed.word, 1);
    EXPECT(test_wait_until(one_awake, &bed, 10000));
    test_sleep_ms(20);
    EXPECT_UINT(bed.awake, ==, 1);
    lr_os_futex_wake(&bed.word, INT_MAX);
    EXPECT(test_wait_until(all_awake, &bed, 10000));
    for (unsigned i = 0; i < SLEEPERS; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

START_TEST(test_thread__membarrier) {
    enum { QUERY = 0, PRIVATE_EXPEDITED = 1 << 3 };
    const long commands = syscall(SYS_membarrier, QUERY, 0, 0);
    const bool has_it = commands > 0 && (commands & PRIVATE_EXPEDITED) != 0;
    if (TEST_UNDER_TSAN) { // which does not see the order that it makes
        EXPECT(!lr_os_membarrier_register());
        return;
    }
    EXPECT_INT(lr_os_membarrier_register(), ==, has_it);
    EXPECT_INT(lr_os_membarrier(), ==, has_it);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("thread");
    test_add(suite, test_thread__ids_are_the_kernels);
    test_add(suite, test_thread__own_threads_block_all_signals);
    test_add(suite, test_thread__small_stack_becomes_large_enough);
    test_add(suite, test_thread__refused_start_is_an_error);
    test_add(suite, test_thread__own_threads_leave_nothing_to_join);
    test_add(suite, test_thread__signal_mask_has_a_bit_for_each_signal);
    test_add(suite, test_thread__clocks);
    test_add(suite, test_thread__futex_wait_ends_at_its_time);
    test_add(suite, test_thread__futex_wake_wakes_as_many_as_it_says);
    test_add(suite, test_thread__membarrier);
    return suite;
}
