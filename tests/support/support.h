// SPDX-License-Identifier: Apache-2.0
//
// What every Check-based test program uses: typed expectations, seeded random numbers and block
// contents, readers of /proc and waits with a deadline. Nothing here allocates from Larder.
//
// EXPECT* rather than ck_assert*: Check writes a record for each assertion that passes and is not
// thread-safe, which loops over millions of blocks and worker threads cannot use. EXPECT* costs a
// compare when it holds, may be used on any thread and in forked children, and ends the test when
// it does not hold.
#ifndef LARDER_TESTS_SUPPORT_H
#define LARDER_TESTS_SUPPORT_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The build defines both as 0 or 1; -Wundef turns a missing definition into an error.
#if LARDER_ASAN
#define TEST_UNDER_ASAN true
#else
#define TEST_UNDER_ASAN false
#endif
#if LARDER_TSAN
#define TEST_UNDER_TSAN true
#else
#define TEST_UNDER_TSAN false
#endif

// A test file defines this one function; check_main.c runs the suite.
Suite *lr_suite(void);

// Adds `test` as a test case of its own name, so that `<program> <test name>` runs it alone.
// Seconds is the limit on an idle machine; sanitizer builds get four times as long.
void test_add_limit(Suite *suite, const TTest *test, unsigned seconds);
void test_add(Suite *suite, const TTest *test); // 60 s

// Ends the test as skipped: the program exits with 77 when every test of it was skipped.
void test_skip_note(const char *why);
#define TEST_SKIP(why)                                                                             \
    do {                                                                                           \
        test_skip_note(why);                                                                       \
        return;                                                                                    \
    } while (0)

// Prints "file:line: message" with the seed, then ends the test (any thread, any child).
_Noreturn void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define EXPECT(cond) ((cond) ? (void)0 : test_fail(__FILE__, __LINE__, "expected %s", #cond))

#define EXPECT_UINT(a, op, b)                                                                      \
    do {                                                                                           \
        const uintmax_t left_ = (uintmax_t)(a), right_ = (uintmax_t)(b);                           \
        if (!(left_ op right_))                                                                    \
            test_fail(__FILE__, __LINE__, "expected %s %s %s; they are %ju and %ju", #a, #op, #b,  \
                      left_, right_);                                                              \
    } while (0)

#define EXPECT_INT(a, op, b)                                                                       \
    do {                                                                                           \
        const intmax_t left_ = (a), right_ = (b);                                                  \
        if (!(left_ op right_))                                                                    \
            test_fail(__FILE__, __LINE__, "expected %s %s %s; they are %jd and %jd", #a, #op, #b,  \
                      left_, right_);                                                              \
    } while (0)

#define EXPECT_PTR(a, op, b)                                                                       \
    do {                                                                                           \
        const void *left_ = (a), *right_ = (b);                                                    \
        if (!(left_ op right_))                                                                    \
            test_fail(__FILE__, __LINE__, "expected %s %s %s; they are %p and %p", #a, #op, #b,    \
                      left_, right_);                                                              \
    } while (0)

// The bytes at p are those that test_fill(p, bytes, seed) wrote.
#define EXPECT_FILLED(p, bytes, seed)                                                              \
    do {                                                                                           \
        const size_t bad_ = test_first_bad((p), (bytes), (seed));                                  \
        if (bad_ != SIZE_MAX)                                                                      \
            test_fail(__FILE__, __LINE__, "block %p of %zu bytes changed at offset %zu",           \
                      (const void *)(p), (size_t)(bytes), bad_);                                   \
    } while (0)

// All bytes at p are zero.
#define EXPECT_ZERO(p, bytes)                                                                      \
    do {                                                                                           \
        const size_t bad_ = test_first_nonzero((p), (bytes));                                      \
        if (bad_ != SIZE_MAX)                                                                      \
            test_fail(__FILE__, __LINE__, "block %p of %zu bytes is not zero at offset %zu",       \
                      (const void *)(p), (size_t)(bytes), bad_);                                   \
    } while (0)

#define EXPECT_ALIGNED(p, alignment)                                                               \
    do {                                                                                           \
        const void *block_ = (p);                                                                  \
        if (((uintptr_t)block_ & ((uintptr_t)(alignment)-1)) != 0)                                 \
            test_fail(__FILE__, __LINE__, "block %p is not aligned to %zu", block_,                \
                      (size_t)(alignment));                                                        \
    } while (0)

// Value of an environment variable, or `otherwise` when it is unset; a bad number ends the run.
uint64_t test_env_u64(const char *name, uint64_t otherwise);

// LARDER_TEST_SEED, or a fresh one; the same for the whole run and printed at its start.
uint64_t test_seed(void);

// splitmix64: small state, every seed good; not shared between threads.
struct test_rng {
    uint64_t state;
};
uint64_t test_rng_next(struct test_rng *rng);
uint64_t test_rng_below(struct test_rng *rng, uint64_t limit);    // 0 .. limit-1
size_t test_rng_size(struct test_rng *rng, size_t largest_bytes); // 0 .. largest, log-uniform

// Block contents that depend on the seed and the offset, so that a swap of blocks, a shifted copy
// and a foreign write all show. The offset returned is the first wrong one, SIZE_MAX if none is.
void test_fill(void *p, size_t bytes, uint64_t seed);
size_t test_first_bad(const void *p, size_t bytes, uint64_t seed);
size_t test_first_nonzero(const void *p, size_t bytes);

// The value, unknown to the compiler: keeps its checks of sizes and lifetimes, which warn of what a
// test does on purpose, and its knowledge of malloc out of the way.
static inline size_t test_opaque(size_t value) {
    __asm__ volatile("" : "+r"(value));
    return value;
}
static inline void *test_opaque_ptr(void *p) {
    __asm__ volatile("" : "+r"(p)::"memory");
    return p;
}

// Of this process; read without stdio.
size_t test_rss_bytes(void);
size_t test_virtual_bytes(void);
unsigned test_thread_count(void);

uint64_t test_now_ms(void);
void test_sleep_ms(unsigned ms);

// Polls until condition(arg) or the deadline; says whether it became true. Four times as long
// under a sanitizer.
bool test_wait_until(bool (*condition)(void *), void *arg, unsigned deadline_ms);

#endif
