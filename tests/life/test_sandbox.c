// SPDX-License-Identifier: Apache-2.0
//
// A program that has worked for a while puts a filter of system calls on itself, as sandboxes do:
// calls that Larder makes are refused from then on. It goes on, with the contents of its blocks.
#define _GNU_SOURCE 1

#include <larder/ctl.h>
#include <larder/larder.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../support/child.h"
#include "../support/support.h"
#include "api/start.h"
#include "hard/hard.h"
#include "hard/pages.h"

static const size_t mib = 1024 * 1024;

static void forbid(long call) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
        _exit(TEST_CHILD_SKIP);
}

static void *use_small(void *arg) {
    enum { LIVE = 500 };
    char *blocks[LIVE];
    for (unsigned round = 0; round < 4; round++) {
        for (size_t i = 0; i < LIVE; i++) {
            blocks[i] = larder_malloc(1 + i * 61 % 9000);
            EXPECT(blocks[i] != NULL);
            test_fill(blocks[i], 1 + i * 61 % 9000, i);
        }
        for (size_t i = 0; i < LIVE; i++) {
            EXPECT_FILLED(blocks[i], 1 + i * 61 % 9000, i);
            larder_free(blocks[i]);
        }
    }
    return arg;
}

static void use_large(void) {
    for (size_t bytes = mib; bytes <= 8 * mib; bytes *= 2) {
        char *block = larder_malloc(bytes);
        EXPECT(block != NULL);
        test_fill(block, bytes, bytes);
        block = larder_realloc(block, bytes * 2);
        EXPECT(block != NULL);
        EXPECT_FILLED(block, bytes, bytes);
        larder_free(block);
        char *const zeroed = larder_calloc(1, bytes);
        EXPECT(zeroed != NULL);
        EXPECT_ZERO(zeroed, bytes);
        larder_free(zeroed);
        (void)larder_release(bytes / 2);
    }
}

// Enough that huge pages are asked for, and that it is looked at whether blocks like these fill
// them.
static void use_buffers(void) {
    enum { BUFFERS = 1024 };
    static char *blocks[BUFFERS];
    for (size_t i = 0; i < BUFFERS; i++) {
        const size_t bytes = 10000 + i * 61 % 50000;
        errno = 0;
        blocks[i] = larder_malloc(bytes);
        EXPECT(blocks[i] != NULL);
        EXPECT_INT(errno, ==, 0);
        test_fill(blocks[i], bytes, i);
    }
    for (size_t i = 0; i < BUFFERS; i++) {
        EXPECT_FILLED(blocks[i], 10000 + i * 61 % 50000, i);
        larder_free(blocks[i]);
    }
}

static void use_all(void) {
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++)
        EXPECT_INT(pthread_create(&threads[i], NULL, use_small, NULL), ==, 0);
    use_large();
    use_buffers();
    for (unsigned i = 0; i < 3; i++)
        EXPECT_INT(pthread_join(threads[i], NULL), ==, 0);
    (void)larder_idle();
    // The options' readers and writers wait for each other.
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    EXPECT_INT(larder_options_print(null), ==, 0);
    close(null);
    EXPECT_INT(larder_option_set("batch_max", 32), ==, 0);
    EXPECT_INT(larder_option_set("batch_max", 64), ==, 0);
}

static void live_without(void *call) {
    char *const kept = larder_malloc(5000);
    EXPECT(kept != NULL);
    test_fill(kept, 5000, 1);
    use_all();
    forbid(*(const long *)call);
    use_all();
    EXPECT_FILLED(kept, 5000, 1);
    larder_free(kept);
}

// Where it is called no more once it has answered.
static void live_never_with(void *call) {
    forbid(*(const long *)call);
    use_all();
}

// Guards that were made by what is forbidden now have to go when the quarantine is emptied.
static void live_hardened_without(void *call) {
    EXPECT(lr_start());
    lr_hard_enable();
    use_all();
    forbid(*(const long *)call);
    use_large();
    lr_pages_reclaim();
    use_all();
}

// Not mmap, futex, clone: without these no program goes on.
static void expect_life_without(void (*live)(void *), long call) {
    if (TEST_UNDER_TSAN || TEST_UNDER_ASAN)
        TEST_SKIP("the sanitizer makes system calls of its own");
    struct test_child child;
    test_child_run(&child, 60, live, &call);
    if (test_child_skipped(&child))
        TEST_SKIP("filters of system calls are not permitted here");
    EXPECT_CHILD_EXIT(&child, 0);
}

START_TEST(test_sandbox__membarrier) { expect_life_without(live_without, SYS_membarrier); }
END_TEST
START_TEST(test_sandbox__madvise) { expect_life_without(live_without, SYS_madvise); }
END_TEST
START_TEST(test_sandbox__process_madvise) {
    expect_life_without(live_without, SYS_process_madvise);
}
END_TEST
START_TEST(test_sandbox__mincore) { expect_life_without(live_never_with, SYS_mincore); }
END_TEST
START_TEST(test_sandbox__mremap) { expect_life_without(live_without, SYS_mremap); }
END_TEST
START_TEST(test_sandbox__munmap) { expect_life_without(live_without, SYS_munmap); }
END_TEST
START_TEST(test_sandbox__prctl) { expect_life_without(live_without, SYS_prctl); }
END_TEST
START_TEST(test_sandbox__gettid) { expect_life_without(live_without, SYS_gettid); }
END_TEST
START_TEST(test_sandbox__hardened_madvise) {
    expect_life_without(live_hardened_without, SYS_madvise);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("sandbox");
    test_add(suite, test_sandbox__membarrier);
    test_add(suite, test_sandbox__madvise);
    test_add(suite, test_sandbox__process_madvise);
    test_add(suite, test_sandbox__mincore);
    test_add(suite, test_sandbox__mremap);
    test_add(suite, test_sandbox__munmap);
    test_add(suite, test_sandbox__prctl);
    test_add(suite, test_sandbox__gettid);
    test_add(suite, test_sandbox__hardened_madvise);
    return suite;
}
