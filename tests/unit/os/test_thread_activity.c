// SPDX-License-Identifier: Apache-2.0
//
// What a thread does, as the hand-over of idle caches asks it: "blocked" and "gone" must never be
// said of a thread that runs, whatever /proc shows.
#include "os/os.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../support/child.h"
#include "../../support/support.h"

enum deed { SPIN, READ_PIPE, VFORK };

struct subject {
    enum deed deed;
    uint64_t blocked; // signals, bit n-1 for signal n
    int pipe[2];
    pthread_t thread;
    atomic_uint id;
    atomic_bool stop;
    enum lr_os_thread_activity expected;
};

static void do_vfork(const struct subject *subject) {
    char c;
    const pid_t pid = vfork();
    if (pid == 0)
        _exit(read(subject->pipe[0], &c, 1) == 1 ? 0 : 1);
    EXPECT_INT(waitpid(pid, NULL, 0), ==, pid);
}

static void *be_subject(void *arg) {
    struct subject *const subject = arg;
    char c;
    sigset_t set;
    sigemptyset(&set);
    for (int n = 1; n < 32; n++)
        if ((subject->blocked >> (n - 1) & 1) != 0)
            sigaddset(&set, n);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    atomic_store(&subject->id, (unsigned)syscall(SYS_gettid));
    if (subject->deed == SPIN) {
        while (!atomic_load(&subject->stop))
            continue;
    } else if (subject->deed == READ_PIPE) {
        EXPECT_INT(read(subject->pipe[0], &c, 1), ==, 1);
    } else {
        do_vfork(subject);
    }
    return NULL;
}

static bool has_id(void *arg) { return atomic_load(&((struct subject *)arg)->id) != 0; }

static void start(struct subject *subject) {
    lr_os_init();
    EXPECT_INT(pipe(subject->pipe), ==, 0);
    EXPECT_INT(pthread_create(&subject->thread, NULL, be_subject, subject), ==, 0);
    EXPECT(test_wait_until(has_id, subject, 10000));
}

static void stop(struct subject *subject) {
    atomic_store(&subject->stop, true);
    EXPECT_INT(write(subject->pipe[1], "", 1), ==, 1);
    pthread_join(subject->thread, NULL);
    close(subject->pipe[0]);
    close(subject->pipe[1]);
}

static bool does_as_expected(void *arg) {
    struct subject *const subject = arg;
    return lr_os_thread_activity(atomic_load(&subject->id), 0) == subject->expected;
}

// True if this kernel shows what its threads do.
static bool proc_shows_system_calls(void) {
    return access("/proc/self/task", X_OK) == 0 && access("/proc/thread-self/syscall", R_OK) == 0;
}

START_TEST(test_thread_activity__running) {
    struct subject subject = {.deed = SPIN};
    start(&subject);
    EXPECT_INT(lr_os_proc_is_ours(), ==, access("/proc/self/stat", R_OK) == 0);
    for (unsigned i = 0; i < 2000; i++)
        EXPECT_INT(lr_os_thread_activity(subject.id, 0), ==, LR_OS_THREAD_RUNNING);
    stop(&subject);
}
END_TEST

START_TEST(test_thread_activity__blocked) {
    if (!proc_shows_system_calls()) {
        TEST_SKIP("no /proc/self/task/TID/syscall");
    }
    struct subject subject = {.deed = READ_PIPE, .expected = LR_OS_THREAD_BLOCKED};
    start(&subject);
    EXPECT(test_wait_until(does_as_expected, &subject, 10000));
    stop(&subject);
}
END_TEST

static bool is_gone(void *id) {
    return lr_os_thread_activity(*(uint32_t *)id, 0) == LR_OS_THREAD_GONE;
}

START_TEST(test_thread_activity__gone) {
    struct subject subject = {.deed = SPIN};
    start(&subject);
    uint32_t id = subject.id;
    EXPECT(!is_gone(&id));
    stop(&subject);
    EXPECT(test_wait_until(is_gone, &id, 10000)); // the kernel may lag behind the join
    id = (uint32_t)getppid();                     // lives, but in another process
    EXPECT(is_gone(&id));
}
END_TEST

// Signals blocked beyond the mask that the thread had: a handler may have interrupted it anywhere.
START_TEST(test_thread_activity__more_blocked_signals_are_running) {
    if (!proc_shows_system_calls()) {
        TEST_SKIP("no /proc/self/task/TID/syscall");
    }
    const uint64_t usr1 = (uint64_t)1 << (SIGUSR1 - 1), usr2 = (uint64_t)1 << (SIGUSR2 - 1);
    struct subject subject = {.deed = READ_PIPE, .blocked = usr1 | usr2};
    start(&subject);
    // Given its whole mask it is blocked; wait for that, and it stays so.
    for (unsigned i = 0; lr_os_thread_activity(subject.id, usr1 | usr2) != LR_OS_THREAD_BLOCKED;
         i++) {
        EXPECT_UINT(i, <, 10000);
        test_sleep_ms(1);
    }
    EXPECT_INT(lr_os_thread_activity(subject.id, 0), ==, LR_OS_THREAD_RUNNING);
    EXPECT_INT(lr_os_thread_activity(subject.id, usr1), ==, LR_OS_THREAD_RUNNING);
    EXPECT_INT(lr_os_thread_activity(subject.id, usr2), ==, LR_OS_THREAD_RUNNING);
    EXPECT_INT(lr_os_thread_activity(subject.id, UINT64_MAX), ==, LR_OS_THREAD_BLOCKED);
    stop(&subject);
}
END_TEST

static bool state_is_asleep(void *arg) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%u/stat", ((struct subject *)arg)->id);
    FILE *const file = fopen(path, "r");
    const size_t got = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
    if (file != NULL)
        fclose(file);
    text[got] = '\0';
    const char *const after_name = strrchr(text, ')');
    return after_name != NULL && (after_name[2] == 'D' || after_name[2] == 'S');
}

// The child of vfork runs in the memory and on the thread pointer of its sleeping parent.
START_TEST(test_thread_activity__inside_vfork_is_running) {
    if (TEST_UNDER_TSAN || !proc_shows_system_calls()) {
        TEST_SKIP("ThreadSanitizer makes vfork a fork, or no /proc/self/task/TID/syscall");
    }
    struct subject subject = {.deed = VFORK};
    start(&subject);
    EXPECT(test_wait_until(state_is_asleep, &subject, 10000));
    for (unsigned i = 0; i < 100; i++)
        EXPECT_INT(lr_os_thread_activity(subject.id, 0), ==, LR_OS_THREAD_RUNNING);
    stop(&subject);
}
END_TEST

static void ask_without_proc(void *arg) {
    (void)arg;
    struct subject subject = {.deed = SPIN};
    start(&subject);
    char directory[] = "/tmp/larder-test-XXXXXX";
    EXPECT(mkdtemp(directory) != NULL);
    EXPECT_INT(chdir(directory), ==, 0);
    EXPECT_INT(rmdir(directory), ==, 0);
    if (chroot(".") != 0)
        _exit(TEST_CHILD_SKIP);
    EXPECT(access("/proc", F_OK) != 0);
    EXPECT(!lr_os_proc_is_ours());
    EXPECT_INT(lr_os_thread_activity(subject.id, 0), ==, LR_OS_THREAD_RUNNING);
    EXPECT_INT(lr_os_thread_activity(lr_os_thread_id(), 0), ==, LR_OS_THREAD_RUNNING);
    stop(&subject);
}

START_TEST(test_thread_activity__without_proc_nobody_is_gone) {
    struct test_child child;
    test_child_run(&child, 20, ask_without_proc, NULL);
    if (test_child_skipped(&child)) {
        TEST_SKIP("not allowed to chroot");
    }
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

// In a new namespace of process ids under the /proc of the old one, thread ids mean other threads.
static void ask_in_other_namespace(void *arg) {
    (void)arg;
    int status;
    if (unshare(CLONE_NEWPID) != 0)
        _exit(TEST_CHILD_SKIP);
    const pid_t pid = fork();
    EXPECT_INT(pid, >=, 0);
    if (pid != 0) {
        EXPECT_INT(waitpid(pid, &status, 0), ==, pid);
        if (!WIFEXITED(status))
            abort();
        _exit(WEXITSTATUS(status));
    }
    struct subject subject = {.deed = SPIN};
    start(&subject);
    EXPECT(!lr_os_proc_is_ours());
    EXPECT_INT(lr_os_thread_activity(subject.id, 0), ==, LR_OS_THREAD_RUNNING);
    stop(&subject);
    _exit(0);
}

START_TEST(test_thread_activity__foreign_proc_says_nothing) {
    struct test_child child;
    test_child_run(&child, 20, ask_in_other_namespace, NULL);
    if (test_child_skipped(&child)) {
        TEST_SKIP("not allowed to make a namespace of process ids");
    }
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("thread_activity");
    test_add(suite, test_thread_activity__running);
    test_add(suite, test_thread_activity__blocked);
    test_add(suite, test_thread_activity__gone);
    test_add(suite, test_thread_activity__more_blocked_signals_are_running);
    test_add(suite, test_thread_activity__inside_vfork_is_running);
    test_add(suite, test_thread_activity__without_proc_nobody_is_gone);
    test_add(suite, test_thread_activity__foreign_proc_says_nothing);
    return suite;
}
