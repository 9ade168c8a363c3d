// SPDX-License-Identifier: Apache-2.0
//
// A process that stays small and single-threaded stays so: unshare(CLONE_NEWUSER), which the kernel
// refuses to processes of several threads, still works.
#define _GNU_SOURCE 1

#include <larder/larder.h>

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "../support/child.h"
#include "../support/support.h"

// At most about 1 MiB at a time, for long enough to pass every periodic safe point.
static void use_little(void) {
    enum { LIVE = 256 };
    void *blocks[LIVE] = {NULL};
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < 1000000; i++) {
        const unsigned at = (unsigned)test_rng_below(&rng, LIVE);
        larder_free(blocks[at]);
        blocks[at] = larder_malloc(test_rng_size(&rng, 8000));
        EXPECT(blocks[at] != NULL);
    }
    for (unsigned i = 0; i < LIVE; i++)
        larder_free(blocks[i]);
    larder_thread_flush();
}

static void stay_single(void *arg) {
    (void)arg;
    use_little();
    EXPECT_UINT(test_thread_count(), ==, 1);
    errno = 0;
    if (unshare(CLONE_NEWUSER) != 0) {
        EXPECT_INT(errno, !=, EINVAL); // what several threads get
        _exit(TEST_CHILD_SKIP);
    }
    use_little();
}

START_TEST(test_single_thread__unshare_still_works) {
    if (TEST_UNDER_TSAN)
        TEST_SKIP("TSan has a thread of its own");
    struct test_child child;
    test_child_run(&child, 60, stay_single, NULL);
    if (test_child_skipped(&child))
        TEST_SKIP("user namespaces are not permitted here");
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("single_thread");
    test_add(suite, test_single_thread__unshare_still_works);
    return suite;
}
