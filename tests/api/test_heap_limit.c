// SPDX-License-Identifier: Apache-2.0
//
// The option heap_limit, set while the program runs: requests above it get NULL with ENOMEM, the
// heap goes on, and a higher limit lets them pass again.
#include <larder/ctl.h>
#include <larder/larder.h>

#include <errno.h>
#include <larder/stats.h>
#include <sys/resource.h>

#include "../support/child.h"
#include "../support/support.h"

static const size_t mib = 1024 * 1024;

enum { LIMIT_MIB = 64 };

struct block {
    struct block *next;
};

static size_t allocate_until_null(struct block **chain, size_t bytes) {
    size_t total = 0;
    while (total < 4 * LIMIT_MIB * mib) {
        errno = 0;
        struct block *const block = larder_malloc(bytes);
        if (block == NULL) {
            EXPECT_INT(errno, ==, ENOMEM);
            break;
        }
        block->next = *chain;
        *chain = block;
        total += bytes;
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

START_TEST(test_heap_limit__is_kept_by_blocks_of_all_sizes) {
    EXPECT_INT(larder_option_set("heap_limit", LIMIT_MIB * mib), ==, 0);
    static const size_t sizes[] = {100, 5000, 200000, 1000000, 5000000, 100};
    struct block *chain = NULL;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t got = allocate_until_null(&chain, sizes[i]);
        EXPECT_UINT(got, >=, LIMIT_MIB * mib / 2);
        EXPECT_UINT(got, <=, LIMIT_MIB * mib);
        free_chain(&chain);
    }
}
END_TEST

START_TEST(test_heap_limit__failure_changes_nothing) {
    EXPECT_INT(larder_option_set("heap_limit", LIMIT_MIB * mib), ==, 0);
    char *const block = larder_malloc(30 * mib);
    EXPECT(block != NULL);
    test_fill(block, 30 * mib, 1);
    errno = 0;
    EXPECT_PTR(larder_realloc(block, 100 * mib), ==, NULL);
    EXPECT_INT(errno, ==, ENOMEM);
    EXPECT_PTR(larder_calloc(100, mib), ==, NULL);
    EXPECT_PTR(larder_aligned_alloc(mib, 100 * mib), ==, NULL);
    EXPECT_FILLED(block, 30 * mib, 1);
    larder_free(block);
}
END_TEST

START_TEST(test_heap_limit__can_be_raised) {
    EXPECT_INT(larder_option_set("heap_limit", LIMIT_MIB * mib), ==, 0);
    EXPECT_PTR(larder_malloc(2 * LIMIT_MIB * mib), ==, NULL);
    EXPECT_INT(larder_option_set("heap_limit", 0), ==, 0); // none
    void *const block = larder_malloc(2 * LIMIT_MIB * mib);
    EXPECT(block != NULL);
    larder_free(block);
}
END_TEST

START_TEST(test_heap_limit__options_answer) {
    uint64_t value = 1;
    EXPECT_INT(larder_option_get("heap_limit", &value), ==, 0);
    EXPECT_UINT(value, ==, 0);
    EXPECT_INT(larder_option_set("heap_limit", 100 * mib), ==, 0);
    EXPECT_INT(larder_option_get("heap_limit", &value), ==, 0);
    EXPECT_UINT(value, ==, 100 * mib);
    EXPECT_INT(larder_option_set("heap_limit", UINT64_MAX), ==, -ERANGE);
    EXPECT_INT(larder_option_set("pool_size", 64 * mib), ==, -EPERM);
    EXPECT_INT(larder_option_set("no_such_option", 1), ==, -ENOENT);
    EXPECT_INT(larder_option_get("heap_limit", NULL), ==, -EINVAL);
}
END_TEST

static void expect_limit(void *arg) {
    (void)arg;
    struct block *chain = NULL;
    const size_t got = allocate_until_null(&chain, 100000);
    EXPECT_UINT(got, >=, LIMIT_MIB * mib / 2);
    EXPECT_UINT(got, <=, LIMIT_MIB * mib);
    free_chain(&chain);
}

// What the parent holds counts in the child, which frees its copy of it.
START_TEST(test_heap_limit__in_a_forked_child) {
    EXPECT_INT(larder_option_set("scavenger", 2), ==,
               0); // a child of threads may start none under TSan
    EXPECT_INT(larder_option_set("heap_limit", LIMIT_MIB * mib), ==, 0);
    void *const block = larder_malloc(30 * mib);
    EXPECT(block != NULL);
    struct test_child child;
    test_child_run(&child, 30, larder_free, block);
    EXPECT_CHILD_EXIT(&child, 0);
    larder_free(block);
    test_child_run(&child, 30, expect_limit, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

static uint64_t refused(void) {
    struct larder_stats stats;
    EXPECT_INT(larder_stats_get(&stats, sizeof stats), ==, 0);
    return stats.heap_limit_hits;
}

static void expect_the_lower_one(void *arg) {
    // What is mapped already, the window that is reserved among it, and a little.
    const size_t room = *(const size_t *)arg * mib;
    struct rlimit limit = {test_virtual_bytes() + room, RLIM_INFINITY};
    EXPECT_INT(setrlimit(RLIMIT_AS, &limit), ==, 0);
    struct block *chain = NULL;
    const uint64_t before = refused();
    EXPECT_UINT(allocate_until_null(&chain, 300 * 1024), <=, LIMIT_MIB * mib);
    EXPECT_UINT(refused(), >, before);
    free_chain(&chain);
    EXPECT_INT(larder_option_set("heap_limit", 0), ==, 0);
    const uint64_t at_limit = refused();
    (void)allocate_until_null(&chain, 300 * 1024);
    EXPECT_UINT(refused(), ==, at_limit); // whatever failed, failed for RLIMIT_AS
    free_chain(&chain);
}

// Both limits at once: either may be the lower one, and the heap goes on after both.
START_TEST(test_heap_limit__beside_a_limit_of_address_space) {
    EXPECT_INT(larder_option_set("heap_limit", LIMIT_MIB * mib), ==, 0);
    larder_free(larder_malloc(mib));
    struct test_child child;
    size_t room = 2 * LIMIT_MIB;
    test_child_run(&child, 30, expect_the_lower_one, &room);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("heap_limit");
    test_add(suite, test_heap_limit__is_kept_by_blocks_of_all_sizes);
    test_add(suite, test_heap_limit__failure_changes_nothing);
    test_add(suite, test_heap_limit__can_be_raised);
    test_add(suite, test_heap_limit__options_answer);
    test_add(suite, test_heap_limit__in_a_forked_child);
    if (!TEST_UNDER_ASAN && !TEST_UNDER_TSAN) // which map memory of their own
        test_add(suite, test_heap_limit__beside_a_limit_of_address_space);
    return suite;
}
