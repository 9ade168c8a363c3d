// SPDX-License-Identifier: Apache-2.0
//
// The order of locks: a checked build ends the process at the first step out of it.
#include "sync/lock.h"

#include <signal.h>
#include <string.h>

#include "../../support/child.h"
#include "../../support/support.h"

static struct lr_lock locks[LR_RANK_COUNT + 1];

static void make_locks(void) {
    for (uint32_t rank = 0; rank <= LR_RANK_COUNT; rank++)
        locks[rank].rank = rank;
}

// Two ranks in the order in which they are taken.
struct pair {
    uint32_t first, second;
    bool try_second;
};

static void take_both(void *arg) {
    const struct pair *const pair = arg;
    static struct lr_lock same_rank;
    same_rank.rank = pair->second;
    lr_lock(&locks[pair->first]);
    struct lr_lock *const second = pair->first == pair->second ? &same_rank : &locks[pair->second];
    if (pair->try_second)
        EXPECT(lr_trylock(second));
    else
        lr_lock(second);
    lr_unlock(second);
    lr_unlock(&locks[pair->first]);
}

static void expect_abort(void (*body)(void *), void *arg, const char *text) {
    struct test_child child;
    test_child_run(&child, 20, body, arg);
    EXPECT_CHILD_SIGNAL(&child, SIGABRT);
    if (strncmp(child.err, "larder: ", 8) != 0 || strstr(child.err, text) == NULL)
        test_fail(__FILE__, __LINE__, "expected \"%s\" in: %s", text, child.err);
    EXPECT_UINT(strcspn(child.err, "\n"), ==, strlen(child.err) - 1); // one line
}

START_TEST(test_lock_rank__rising_order_is_allowed) {
    make_locks();
    for (uint32_t rank = 1; rank < LR_RANK_COUNT; rank++)
        lr_lock(&locks[rank]);
    // Released in any order; what is below may be taken again when what is above is free.
    for (uint32_t rank = LR_RANK_COUNT / 2; rank < LR_RANK_COUNT; rank++)
        lr_unlock(&locks[rank]);
    lr_lock(&locks[LR_RANK_META]);
    lr_unlock(&locks[LR_RANK_META]);
    for (uint32_t rank = 1; rank < LR_RANK_COUNT / 2; rank++)
        lr_unlock(&locks[rank]);
    EXPECT(!lr_lock_any_held());
}
END_TEST

START_TEST(test_lock_rank__falling_or_equal_order_ends_the_process) {
    if (!LARDER_CHECKED) {
        TEST_SKIP("the order is not checked in this build");
    }
    make_locks();
    for (uint32_t first = 1; first < LR_RANK_COUNT; first++) {
        struct pair pair = {first, first, first % 2 == 0};
        expect_abort(take_both, &pair, "lock order");
        pair.second = 1 + first / 2;
        if (pair.second < first)
            expect_abort(take_both, &pair, "lock order");
    }
}
END_TEST

START_TEST(test_lock_rank__inversion_is_seen_over_a_gap) {
    if (!LARDER_CHECKED) {
        TEST_SKIP("the order is not checked in this build");
    }
    make_locks();
    struct pair pair = {LR_RANK_META, LR_RANK_FORK, false};
    expect_abort(take_both, &pair, "lock order");
    struct test_child child;
    pair = (struct pair){LR_RANK_FORK, LR_RANK_META, false};
    test_child_run(&child, 20, take_both, &pair);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

static void release_free_lock(void *arg) {
    (void)arg;
    lr_unlock(&locks[LR_RANK_POOL]);
}

static void take_of_rank(void *rank) { lr_lock(&locks[*(uint32_t *)rank]); }

START_TEST(test_lock_rank__other_mistakes_end_the_process) {
    if (!LARDER_CHECKED) {
        TEST_SKIP("the order is not checked in this build");
    }
    make_locks();
    expect_abort(release_free_lock, NULL, "not held");
    uint32_t rank = LR_RANK_NONE;
    expect_abort(take_of_rank, &rank, "rank");
    rank = LR_RANK_COUNT;
    expect_abort(take_of_rank, &rank, "rank");
}
END_TEST

static void assert_held(void *arg) {
    (void)arg;
    lr_lock_assert_held(&locks[LR_RANK_POOL]);
}

START_TEST(test_lock_rank__assert_held) {
    if (!LARDER_CHECKED) {
        TEST_SKIP("assertions are not compiled into this build");
    }
    make_locks();
    lr_lock(&locks[LR_RANK_POOL]);
    lr_lock_assert_held(&locks[LR_RANK_POOL]);
    lr_unlock(&locks[LR_RANK_POOL]);
    expect_abort(assert_held, NULL, "check failed");
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("lock_rank");
    test_add(suite, test_lock_rank__rising_order_is_allowed);
    test_add(suite, test_lock_rank__falling_or_equal_order_ends_the_process);
    test_add(suite, test_lock_rank__inversion_is_seen_over_a_gap);
    test_add(suite, test_lock_rank__other_mistakes_end_the_process);
    test_add(suite, test_lock_rank__assert_held);
    return suite;
}
