// SPDX-License-Identifier: Apache-2.0
//
// Little address space: RLIMIT_AS from 32 MiB, and a space whose largest hole is that of a 39-bit
// machine or far below. Larder starts, leaves room for the program, ends in ENOMEM and goes on.
#define _GNU_SOURCE 1

#include <larder/larder.h>

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../support/child.h"
#include "../support/support.h"

static const size_t kib = 1024;
static const size_t mib = 1024 * 1024;
static const size_t gib = 1024 * 1024 * 1024;

// Blocks in a chain through their first word: no memory but their own.
struct block {
    struct block *next;
};

// Allocates until NULL and touches the blocks; `limit` bytes are enough. Returns the bytes.
static size_t allocate_until_null(struct block **chain, size_t block_bytes, size_t limit) {
    size_t total = 0;
    while (total < limit) {
        errno = 0;
        struct block *const block = larder_malloc(block_bytes);
        if (block == NULL) {
            EXPECT_INT(errno, ==, ENOMEM);
            break;
        }
        test_fill(block, block_bytes, 1);
        block->next = *chain;
        *chain = block;
        total += block_bytes;
    }
    return total;
}

static void free_chain(struct block **chain) {
    while (*chain != NULL) {
        struct block *const block = *chain;
        *chain = block->next;
        larder_free(block);
    }
}

// The program's own use of address space after Larder's first call: `bytes`, but not so many that
// the machine's memory would matter.
static void expect_room_for_the_program(size_t bytes) {
    bytes = bytes > 64 * mib ? 64 * mib : bytes;
    void *const p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(p != MAP_FAILED);
    EXPECT_INT(munmap(p, bytes), ==, 0);
}

static void run_with_limit(void *arg) {
    const size_t room = *(const size_t *)arg;
    const struct rlimit limit = {test_virtual_bytes() + room, test_virtual_bytes() + room};
    EXPECT_INT(setrlimit(RLIMIT_AS, &limit), ==, 0);
    larder_free(larder_malloc(100));
    expect_room_for_the_program(room / 4);

    static const size_t sizes[] = {64 * 1024, 3000, 200, 1024 * 1024, 64 * 1024};
    const size_t enough = room < gib ? SIZE_MAX : 256 * mib;
    struct block *chain = NULL;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t got = allocate_until_null(&chain, sizes[i], enough);
        EXPECT_UINT(got, >=, room < gib ? room / 4 : enough);
        EXPECT_UINT(got, <=, (room < gib ? room : enough) + mib);
        free_chain(&chain);
    }
    errno = 0;
    EXPECT_PTR(larder_malloc(test_opaque(2 * room)), ==, NULL);
    EXPECT_INT(errno, ==, ENOMEM);
    void *const last = larder_malloc(100 * kib);
    EXPECT(last != NULL);
    larder_free(last);
}

static const size_t limit_mib[] = {32, 48, 64, 100, 256, 512, 2048, 65536};
enum { LIMITS = sizeof limit_mib / sizeof limit_mib[0] };

START_TEST(test_address_space__rlimit_as) {
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN)
        TEST_SKIP("the sanitizer's shadow needs terabytes of address space");
    for (unsigned i = 0; i < LIMITS; i++) {
        size_t room = limit_mib[i] * mib;
        struct test_child child;
        test_child_run(&child, 30, run_with_limit, &room);
        EXPECT_CHILD_EXIT(&child, 0);
    }
}
END_TEST

// Takes all address space in pieces of at least `hole` bytes, then gives one such piece back.
static void leave_one_hole(size_t hole) {
    void *last = NULL;
    size_t last_bytes = 0;
    for (size_t bytes = (size_t)1 << 46; bytes >= hole; bytes /= 2) {
        for (;;) {
            void *const p =
                mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (p == MAP_FAILED)
                break;
            last = p;
            last_bytes = bytes;
        }
    }
    EXPECT(last != NULL);
    EXPECT_INT(munmap(last, last_bytes), ==, 0);
}

static void run_in_small_hole(void *arg) {
    const size_t hole = *(const size_t *)arg;
    leave_one_hole(hole);
    const size_t want = hole / 4 > 128 * mib ? 128 * mib : hole / 4;
    struct block *chain = NULL;
    static const size_t sizes[] = {64 * 1024, 1000, 5 * 1024 * 1024};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        EXPECT_UINT(allocate_until_null(&chain, sizes[i], want), >=, want);
        free_chain(&chain);
    }
    expect_room_for_the_program(hole / 8);
    errno = 0;
    EXPECT_PTR(larder_malloc(test_opaque(8 * hole)), ==, NULL);
    EXPECT_INT(errno, ==, ENOMEM);
    void *const block = larder_malloc(100 * kib);
    EXPECT(block != NULL);
    larder_free(block);
}

START_TEST(test_address_space__small_holes) {
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN)
        TEST_SKIP("the sanitizer's shadow lies where the test maps");
    static const size_t holes[] = {(size_t)256 << 30, (size_t)16 << 30, (size_t)1 << 30,
                                   (size_t)128 << 20};
    for (unsigned i = 0; i < sizeof holes / sizeof holes[0]; i++) {
        size_t hole = holes[i];
        struct test_child child;
        test_child_run(&child, 30, run_in_small_hole, &hole);
        EXPECT_CHILD_EXIT(&child, 0);
    }
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("address_space");
    test_add(suite, test_address_space__rlimit_as);
    test_add(suite, test_address_space__small_holes);
    return suite;
}
