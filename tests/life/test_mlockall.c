// SPDX-License-Identifier: Apache-2.0
//
// mlockall(): what Larder reserves is not faulted in, before or after its first call.
#include <larder/larder.h>

#include <sys/mman.h>
#include <unistd.h>

#include "../support/child.h"
#include "../support/crew.h"
#include "../support/support.h"

static const size_t mib = 1024 * 1024;

// A pool may be faulted in as a whole when it is taken into use; the window must not be.
enum { SURPLUS_MIB = 256 };

static void lock_or_skip(void) {
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        _exit(TEST_CHILD_SKIP);
}

static void use_heap(struct test_worker *worker) {
    (void)worker;
    enum { COUNT = 16 };
    char *blocks[COUNT];
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            const size_t bytes = i % 4 == 0 ? mib : (size_t)1000 * (i + 1);
            blocks[i] = larder_malloc(bytes);
            EXPECT(blocks[i] != NULL);
            test_fill(blocks[i], bytes, i);
            EXPECT_FILLED(blocks[i], bytes, i);
        }
        for (unsigned i = 0; i < COUNT; i++)
            larder_free(blocks[i]);
    }
}

static void lock_before_first_call(void *arg) {
    (void)arg;
    lock_or_skip();
    const size_t before = test_rss_bytes();
    use_heap(NULL);
    test_crew_run(4, use_heap, NULL);
    EXPECT_UINT(test_rss_bytes(), <, before + SURPLUS_MIB * mib);
    larder_release(SIZE_MAX); // locked pages refuse to go; nothing breaks
    use_heap(NULL);
}

static void lock_after_first_call(void *arg) {
    (void)arg;
    use_heap(NULL);
    const size_t before = test_rss_bytes();
    lock_or_skip();
    use_heap(NULL);
    test_crew_run(4, use_heap, NULL);
    EXPECT_UINT(test_rss_bytes(), <, before + SURPLUS_MIB * mib);
    larder_release(SIZE_MAX);
    use_heap(NULL);
}

static void expect_in_child(void (*body)(void *)) {
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN)
        TEST_SKIP("the sanitizer ignores mlockall");
    struct test_child child;
    test_child_run(&child, 30, body, NULL);
    if (test_child_skipped(&child))
        TEST_SKIP("mlockall is not permitted");
    EXPECT_CHILD_EXIT(&child, 0);
}

START_TEST(test_mlockall__before_the_first_call) { expect_in_child(lock_before_first_call); }
END_TEST

START_TEST(test_mlockall__after_the_first_call) { expect_in_child(lock_after_first_call); }
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("mlockall");
    test_add(suite, test_mlockall__before_the_first_call);
    test_add(suite, test_mlockall__after_the_first_call);
    return suite;
}
