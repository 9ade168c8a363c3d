// SPDX-License-Identifier: Apache-2.0
//
// The formatter agrees with printf on what it supports, never writes past its buffer, and loses
// nothing on the way to a file descriptor.
#include "base/print.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../support/child.h"
#include "../../support/support.h"

// Formats with ours and with libc's and compares.
__attribute__((format(printf, 1, 2))) static void same_as_printf(const char *format, ...) {
    char expected[256], found[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(expected, sizeof expected, format, arguments);
    va_end(arguments);

    struct lr_print p;
    lr_print_init(&p, found, sizeof found, -1);
    va_start(arguments, format);
    lr_print_v(&p, format, arguments);
    va_end(arguments);
    ck_assert_str_eq(found, expected);
    EXPECT_UINT(p.len, ==, strlen(expected));
    EXPECT(!p.truncated);
}

START_TEST(test_print__numbers_agree_with_printf) {
    static const uint64_t values[] = {0,
                                      1,
                                      9,
                                      10,
                                      99,
                                      4095,
                                      0x7fffffff,
                                      0x80000000,
                                      UINT32_MAX,
                                      INT64_MAX,
                                      (uint64_t)INT64_MIN,
                                      UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const uint64_t v = values[i];
        same_as_printf("%d %i %u %x", (int)v, (int)v, (unsigned)v, (unsigned)v);
        same_as_printf("%ld %lu %lx", (long)v, (unsigned long)v, (unsigned long)v);
        same_as_printf("%lld %llu %zu %zx %ju", (long long)v, (unsigned long long)v, (size_t)v,
                       (size_t)v, (uintmax_t)v);
        same_as_printf("[%12d|%-12d|%012d]", (int)v, (int)v, (int)v);
        same_as_printf("[%25lu|%-25lx|%025ld|%1lu]", v, v, (long)v, v);
        same_as_printf("[%*u|%-*u]", 9, (unsigned)v, 9, (unsigned)v);
    }
}
END_TEST

START_TEST(test_print__text_agrees_with_printf) {
    same_as_printf("plain");
    same_as_printf("%%");
    same_as_printf("%c%c|%3c|%-3c|", 'a', 'b', 'c', 'd');
    same_as_printf("[%s] [%10s] [%-10s] [%2s]", "text", "text", "text", "text");
    same_as_printf("[%.2s] [%.0s] [%.9s] [%8.3s] [%-8.3s]", "text", "text", "text", "text", "text");
    same_as_printf("[%.*s] [%*.*s]", 3, "text", 6, 2, "text");
    same_as_printf("%p %20p %-20p|", (void *)0x1234, (void *)0x7fffdeadbeef, (void *)0x10);
    const char unterminated[3] = {'a', 'b', 'c'};
    same_as_printf("%.3s", unterminated);
}
END_TEST

static const char *formatted(const char *format, ...) {
    static char text[128];
    struct lr_print p;
    va_list arguments;
    lr_print_init(&p, text, sizeof text, -1);
    va_start(arguments, format);
    lr_print_v(&p, format, arguments);
    va_end(arguments);
    return text;
}

START_TEST(test_print__what_it_does_not_know_is_printed_as_it_stands) {
    ck_assert_str_eq(formatted("%q %5.2f.", 1.0), "%q %5.2f.");
    ck_assert_str_eq(formatted("end%"), "end%");
    ck_assert_str_eq(formatted("end%-5"), "end%-5");
    ck_assert_str_eq(formatted("%s", (const char *)NULL), "(null)");
}
END_TEST

static void expect_bytes(uint64_t bytes, const char *rounded, const char *exact) {
    char text[32];
    struct lr_print p;
    lr_print_init(&p, text, sizeof text, -1);
    lr_print_bytes(&p, bytes);
    ck_assert_str_eq(text, rounded);
    lr_print_init(&p, text, sizeof text, -1);
    lr_print_bytes_exact(&p, bytes);
    ck_assert_str_eq(text, exact);
}

START_TEST(test_print__bytes_in_binary_units) {
    const uint64_t kib = 1024, mib = kib * kib, gib = mib * kib;
    expect_bytes(0, "0 B", "0 B");
    expect_bytes(1023, "1023 B", "1023 B");
    expect_bytes(1024, "1.0 KiB", "1 KiB");
    expect_bytes(1536, "1.5 KiB", "1536 B");
    expect_bytes(1000000, "976.6 KiB", "1000000 B");
    expect_bytes(64 * mib, "64.0 MiB", "64 MiB");
    expect_bytes(mib + mib / 2, "1.5 MiB", "1536 KiB");
    expect_bytes(mib - 1, "1.0 MiB", "1048575 B"); // 1024.0 KiB, rounded
    expect_bytes(gib - 1, "1.0 GiB", "1073741823 B");
    expect_bytes(1024 * gib, "1.0 TiB", "1 TiB");
    expect_bytes(UINT64_MAX, "16.0 EiB", "18446744073709551615 B");
    expect_bytes(UINT64_C(1) << 63, "8.0 EiB", "8 EiB");
}
END_TEST

START_TEST(test_print__full_buffer_keeps_what_fits) {
    char text[12];
    memset(text, '#', sizeof text);
    struct lr_print p;
    lr_print_init(&p, text, 8, -1);
    lr_print_str(&p, "1234567");
    EXPECT(!p.truncated);
    lr_print_char(&p, '8');
    EXPECT(p.truncated);
    ck_assert_str_eq(text, "1234567");
    lr_print_f(&p, "%20d", 5);
    ck_assert_str_eq(text, "1234567");
    EXPECT(memcmp(text + 8, "####", 4) == 0);
    EXPECT_INT(lr_print_flush(&p), ==, 0);
    ck_assert_str_eq(text, "1234567"); // stays: there is nowhere to flush to
}
END_TEST

START_TEST(test_print__smallest_buffer_holds_only_the_terminator) {
    char text[1] = {'#'};
    struct lr_print p;
    lr_print_init(&p, text, 1, -1);
    EXPECT_INT(text[0], ==, 0);
    lr_print_u64(&p, 7);
    EXPECT_INT(text[0], ==, 0);
    EXPECT(p.truncated);
    // With a descriptor it must not loop for ever either.
    lr_print_init(&p, text, 1, STDERR_FILENO);
    lr_print_str(&p, "lost");
    EXPECT(p.truncated);
    EXPECT_INT(lr_print_flush(&p), ==, 0);
}
END_TEST

START_TEST(test_print__descriptor_gets_everything_in_order) {
    int ends[2];
    EXPECT_INT(pipe(ends), ==, 0);
    // Buffers of every small size, so that each piece is cut at each place.
    for (size_t cap = 2; cap <= 40; cap++) {
        char buffer[40], expected[256], found[256];
        struct lr_print p;
        lr_print_init(&p, buffer, cap, ends[1]);
        for (int i = 0; i < 5; i++) {
            lr_print_f(&p, "line %d of %s, %6lu;", i, "five", (unsigned long)i * 1000);
        }
        EXPECT_INT(lr_print_flush(&p), ==, 0);
        EXPECT(!p.truncated);
        EXPECT_UINT(p.len, ==, 0);

        size_t length = 0;
        for (int i = 0; i < 5; i++) {
            length += (size_t)snprintf(expected + length, sizeof expected - length,
                                       "line %d of %s, %6lu;", i, "five", (unsigned long)i * 1000);
        }
        const ssize_t got = read(ends[0], found, sizeof found);
        EXPECT_INT(got, ==, (ssize_t)length);
        EXPECT(memcmp(found, expected, length) == 0);
    }
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(test_print__first_write_error_is_kept_and_errno_is_not_touched) {
    const int full = open("/dev/full", O_WRONLY);
    if (full < 0) {
        TEST_SKIP("no /dev/full");
    }
    char buffer[16];
    struct lr_print p;
    lr_print_init(&p, buffer, sizeof buffer, full);
    errno = 12345;
    lr_print_str(&p, "more than the buffer has room for");
    EXPECT(p.truncated);
    EXPECT_INT(lr_print_flush(&p), ==, -ENOSPC);
    p.fd = 1 << 20; // not open: another error than the first
    lr_print_str(&p, "x");
    EXPECT_INT(lr_print_flush(&p), ==, -ENOSPC);
    EXPECT_INT(errno, ==, 12345);
    close(full);

    lr_print_init(&p, buffer, sizeof buffer, 1 << 20);
    lr_print_str(&p, "x");
    EXPECT_INT(lr_print_flush(&p), ==, -EBADF);
    EXPECT_INT(errno, ==, 12345);
}
END_TEST

static void print_a_line(void *arg) {
    (void)arg;
    lr_print_line("larder: %s %u\n", "seen", 42U);
}

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
START_TEST(test_print__goes_on_until_all_is_written) {
    static char bytes[100000], buffer[sizeof bytes + 1];
    struct lr_print p;
    int ends[2];
    pthread_t reader, interrupter, self = pthread_self();
    struct sigaction action = {.sa_handler = on_signal};
    EXPECT_INT(sigaction(SIGUSR1, &action, NULL), ==, 0);
    EXPECT_INT(pipe(ends), ==, 0);
    test_fill(bytes, sizeof bytes, 9);
    lr_print_init(&p, buffer, sizeof buffer, ends[1]);
    for (size_t i = 0; i < sizeof bytes; i++)
        lr_print_char(&p, bytes[i]);
    writing = true;
    EXPECT_INT(pthread_create(&interrupter, NULL, interrupt_often, &self), ==, 0);
    EXPECT_INT(pthread_create(&reader, NULL, read_slowly, &ends[0]), ==, 0);
    EXPECT_INT(lr_print_flush(&p), ==, 0);
    writing = false;
    pthread_join(interrupter, NULL);
    close(ends[1]);
    pthread_join(reader, NULL);
    close(ends[0]);
}
END_TEST

START_TEST(test_print__line_goes_to_stderr) {
    struct test_child child;
    test_child_run(&child, 10, print_a_line, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
    ck_assert_str_eq(child.err, "larder: seen 42\n");
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("print");
    test_add(suite, test_print__numbers_agree_with_printf);
    test_add(suite, test_print__text_agrees_with_printf);
    test_add(suite, test_print__what_it_does_not_know_is_printed_as_it_stands);
    test_add(suite, test_print__bytes_in_binary_units);
    test_add(suite, test_print__full_buffer_keeps_what_fits);
    test_add(suite, test_print__smallest_buffer_holds_only_the_terminator);
    test_add(suite, test_print__descriptor_gets_everything_in_order);
    test_add(suite, test_print__first_write_error_is_kept_and_errno_is_not_touched);
    test_add(suite, test_print__goes_on_until_all_is_written);
    test_add(suite, test_print__line_goes_to_stderr);
    return suite;
}
