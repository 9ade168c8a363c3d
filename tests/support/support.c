// SPDX-License-Identifier: Apache-2.0
//
// Expectations, random numbers, block contents, /proc readers and waits of support.h.
#define _GNU_SOURCE 1

#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "child.h"

void test_fail(const char *file, int line, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const bool test_thread = syscall(SYS_gettid) == getpid();
    dprintf(STDERR_FILENO, "%s:%d: %s (LARDER_TEST_SEED=%ju)\n", file, line, text,
            (uintmax_t)test_seed());
    // Check's channel belongs to the test's own thread: everyone else ends by a signal, which
    // Check or the waiting parent reports.
    if (test_thread && !test_child_is_current())
        ck_abort_msg("%s:%d: %s", file, line, text);
    abort();
}

uint64_t test_env_u64(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    if (text == NULL || *text == '\0')
        return otherwise;
    char *end = NULL;
    errno = 0;
    const uint64_t value = strtoull(text, &end, 0);
    if (errno != 0 || *end != '\0') {
        dprintf(STDERR_FILENO, "%s=%s is not a number\n", name, text);
        _exit(2);
    }
    return value;
}

uint64_t test_seed(void) {
    static uint64_t seed;
    if (seed == 0) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        struct test_rng rng = {(uint64_t)now.tv_nsec ^ ((uint64_t)now.tv_sec << 20)};
        seed = test_env_u64("LARDER_TEST_SEED", test_rng_next(&rng) >> 32);
        seed += seed == 0;
    }
    return seed;
}

uint64_t test_rng_next(struct test_rng *rng) {
    uint64_t x = rng->state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t test_rng_below(struct test_rng *rng, uint64_t limit) { return test_rng_next(rng) % limit; }

size_t test_rng_size(struct test_rng *rng, size_t largest_bytes) {
    const unsigned bits = 64u - (unsigned)__builtin_clzll(largest_bytes | 1);
    const unsigned shift = (unsigned)test_rng_below(rng, bits + 1);
    const size_t mask = shift >= 64 ? SIZE_MAX : ((size_t)1 << shift) - 1;
    const size_t bytes = test_rng_next(rng) & mask;
    return bytes > largest_bytes ? largest_bytes : bytes;
}

// Contents are 8-byte words start, start + step, ...; the last one is cut.
enum { WORD_BYTES = sizeof(uint64_t) };
static const uint64_t word_step = 0x9e3779b97f4a7c15u;

static uint64_t first_word(uint64_t seed) {
    struct test_rng rng = {seed};
    return test_rng_next(&rng);
}

void test_fill(void *p, size_t bytes, uint64_t seed) {
    char *at = p;
    uint64_t word = first_word(seed);
    for (; bytes >= WORD_BYTES; bytes -= WORD_BYTES, at += WORD_BYTES, word += word_step)
        memcpy(at, &word, WORD_BYTES);
    if (bytes != 0)
        memcpy(at, &word, bytes);
}

// First of `bytes` that differs, knowing that one does.
static size_t first_difference(const char *at, const void *want, size_t bytes) {
    const char *wanted = want;
    size_t i = 0;
    while (i + 1 < bytes && at[i] == wanted[i])
        i++;
    return i;
}

static size_t first_bad_from(const void *p, size_t bytes, uint64_t word, uint64_t step) {
    const char *at = p;
    const char *const end = at + bytes;
    for (; (size_t)(end - at) >= WORD_BYTES; at += WORD_BYTES, word += step) {
        if (memcmp(at, &word, WORD_BYTES) != 0)
            return (size_t)(at - (const char *)p) + first_difference(at, &word, WORD_BYTES);
    }
    const size_t rest = (size_t)(end - at);
    if (rest != 0 && memcmp(at, &word, rest) != 0)
        return (size_t)(at - (const char *)p) + first_difference(at, &word, rest);
    return SIZE_MAX;
}

size_t test_first_bad(const void *p, size_t bytes, uint64_t seed) {
    return first_bad_from(p, bytes, first_word(seed), word_step);
}

size_t test_first_nonzero(const void *p, size_t bytes) { return first_bad_from(p, bytes, 0, 0); }

// Field `index` of /proc/self/statm, in bytes.
static size_t statm_bytes(unsigned index) {
    char text[128];
    const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    EXPECT_INT(fd, >=, 0);
    const ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    EXPECT_INT(got, >, 0);
    text[got] = '\0';
    const char *at = text;
    for (; index > 0; index--)
        at = strchr(at, ' ') + 1;
    return strtoull(at, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

size_t test_virtual_bytes(void) { return statm_bytes(0); }

size_t test_rss_bytes(void) { return statm_bytes(1); }

unsigned test_thread_count(void) {
    DIR *dir = opendir("/proc/self/task");
    EXPECT(dir != NULL);
    unsigned count = 0;
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

uint64_t test_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void test_sleep_ms(unsigned ms) {
    struct timespec rest = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        continue;
}

bool test_wait_until(bool (*condition)(void *), void *arg, unsigned deadline_ms) {
    const uint64_t scale = TEST_UNDER_ASAN || TEST_UNDER_TSAN ? 4 : 1;
    const uint64_t end = test_now_ms() + deadline_ms * scale;
    while (!condition(arg)) {
        if (test_now_ms() >= end)
            return condition(arg);
        test_sleep_ms(5);
    }
    return true;
}
