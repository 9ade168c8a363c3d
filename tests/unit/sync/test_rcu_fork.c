// SPDX-License-Identifier: Apache-2.0
//
// The gate that keeps threads out of liburcu while the process forks.
#include "sync/rcu.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../support/child.h"
#include "../../support/support.h"
#include "os/os.h"

// A thread that does one thing and says how far it is.
struct actor {
    void (*deed)(struct actor *);
    pthread_t thread;
    atomic_uint id;
    atomic_uint stage; // 1: inside, 2: done
    atomic_bool go_on;
};

static void *act(void *arg) {
    struct actor *const actor = arg;
    atomic_store(&actor->id, lr_os_thread_id());
    actor->deed(actor);
    atomic_store(&actor->stage, 2);
    return NULL;
}

static void begin(struct actor *actor, void (*deed)(struct actor *)) {
    actor->deed = deed;
    EXPECT_INT(pthread_create(&actor->thread, NULL, act, actor), ==, 0);
}

static bool is_inside(void *arg) { return atomic_load(&((struct actor *)arg)->stage) >= 1; }

static bool is_done(void *arg) { return atomic_load(&((struct actor *)arg)->stage) == 2; }

static bool may_go_on(void *arg) { return atomic_load(&((struct actor *)arg)->go_on); }

static bool sleeps(void *arg) {
    struct actor *const actor = arg;
    return actor->id != 0 && lr_os_thread_activity(actor->id, 0) == LR_OS_THREAD_BLOCKED;
}

static void finish(struct actor *actor) {
    atomic_store(&actor->go_on, true);
    EXPECT(test_wait_until(is_done, actor, 10000));
    pthread_join(actor->thread, NULL);
}

static void read_once(struct actor *actor) {
    lr_rcu_read_lock();
    atomic_store(&actor->stage, 1);
    EXPECT(test_wait_until(may_go_on, actor, 60000));
    lr_rcu_read_lock(); // a nested section may begin although the gate closes
    lr_rcu_read_unlock();
    lr_rcu_read_unlock();
}

static void synchronize_once(struct actor *actor) {
    lr_rcu_synchronize();
    atomic_store(&actor->stage, 1);
}

static void synchronize_on_and_on(struct actor *actor) {
    do {
        lr_rcu_synchronize();
        atomic_store(&actor->stage, 1);
    } while (!atomic_load(&actor->go_on));
}

static void close_gate(struct actor *actor) {
    lr_rcu_before_fork();
    atomic_store(&actor->stage, 1);
    EXPECT(test_wait_until(may_go_on, actor, 60000));
    lr_rcu_after_fork();
}

START_TEST(test_rcu_fork__waits_until_nobody_is_inside) {
    struct actor reader = {0}, forker = {0};
    begin(&reader, read_once);
    EXPECT(test_wait_until(is_inside, &reader, 10000));
    begin(&forker, close_gate);
    test_sleep_ms(50);
    EXPECT(!is_inside(&forker));
    finish(&reader);
    EXPECT(test_wait_until(is_inside, &forker, 10000));
    finish(&forker);
}
END_TEST

START_TEST(test_rcu_fork__keeps_others_out) {
    struct actor forker = {0}, reader = {0}, writer = {0};
    begin(&forker, close_gate);
    EXPECT(test_wait_until(is_inside, &forker, 10000));
    begin(&reader, read_once);
    begin(&writer, synchronize_once);
    test_sleep_ms(50);
    EXPECT(!is_inside(&reader));
    EXPECT(!is_inside(&writer));
    finish(&forker);
    EXPECT(test_wait_until(is_inside, &reader, 10000));
    finish(&reader);
    finish(&writer);
}
END_TEST

static void on_signal(int number) { (void)number; }

// The last one to leave has to wake the forking thread, though others sleep at the same gate; a
// signal makes the forking thread the last of them in the kernel's queue.
START_TEST(test_rcu_fork__wakes_the_forking_thread) {
    lr_os_init();
    if (access("/proc/thread-self/syscall", R_OK) != 0) {
        TEST_SKIP("no /proc/self/task/TID/syscall");
    }
    struct actor inside = {0}, forker = {0}, outside = {0};
    const struct sigaction action = {.sa_handler = on_signal};
    EXPECT_INT(sigaction(SIGUSR1, &action, NULL), ==, 0);
    begin(&inside, read_once);
    EXPECT(test_wait_until(is_inside, &inside, 10000));
    begin(&forker, close_gate);
    EXPECT(test_wait_until(sleeps, &forker, 10000));
    begin(&outside, read_once);
    EXPECT(test_wait_until(sleeps, &outside, 10000));
    EXPECT_INT(pthread_kill(forker.thread, SIGUSR1), ==, 0);
    test_sleep_ms(20);
    EXPECT(test_wait_until(sleeps, &forker, 10000));
    finish(&inside);
    EXPECT(test_wait_until(is_inside, &forker, 3000));
    finish(&forker);
    finish(&outside);
}
END_TEST

static void expect_child_works(void) {
    lr_rcu_read_lock();
    lr_rcu_read_unlock();
    lr_rcu_synchronize();
    if (TEST_UNDER_TSAN)
        return; // it takes a new thread for one of the parent's
    struct actor thread = {0};
    begin(&thread, read_once);
    finish(&thread);
}

// Threads that were known to liburcu do not exist in the child; nobody waits for them there.
static void fork_and_synchronize(void *arg) {
    (void)arg;
    struct actor reader = {0};
    begin(&reader, read_once);
    EXPECT(test_wait_until(is_inside, &reader, 10000));
    finish(&reader);
    for (unsigned round = 0; round < 20; round++) {
        struct actor busy = {0};
        begin(&busy, synchronize_on_and_on);
        // A thread that starts or ends holds locks of AddressSanitizer, which older ones do not
        // free in the child.
        EXPECT(test_wait_until(is_inside, &busy, 10000));
        lr_rcu_before_fork();
        const pid_t pid = fork();
        lr_rcu_after_fork();
        EXPECT_INT(pid, >=, 0);
        if (pid == 0) {
            test_child_mark_current();
            expect_child_works();
            syscall(SYS_exit_group, 0); // a sanitizer would ask for the other thread to be joined
        }
        int status = 1;
        EXPECT_INT(waitpid(pid, &status, 0), ==, pid);
        EXPECT_INT(status, ==, 0);
        finish(&busy);
    }
}

START_TEST(test_rcu_fork__child_has_working_grace_periods) {
    struct test_child child;
    test_child_run(&child, 30, fork_and_synchronize, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("rcu_fork");
    test_add(suite, test_rcu_fork__waits_until_nobody_is_inside);
    test_add(suite, test_rcu_fork__keeps_others_out);
    test_add(suite, test_rcu_fork__wakes_the_forking_thread);
    test_add(suite, test_rcu_fork__child_has_working_grace_periods);
    return suite;
}
