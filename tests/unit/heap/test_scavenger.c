// SPDX-License-Identifier: Apache-2.0
//
// The background thread: when it starts, sleeps, wakes and ends, and what it runs. How much memory
// it returns, and how fast, is test_scavenger_pace.c's.
#include "heap/scavenger.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../support/child.h"
#include "base/bits.h"
#include "heap_test.h"
#include "os/os.h"

static atomic_uint runs[2];
static atomic_bool work_left; // what the tasks answer
static atomic_bool failed;

static bool first_task(uint64_t now_ns) {
    static uint64_t last;
    if (now_ns < last || runs[0] != runs[1] || lr_lock_any_held())
        failed = true;
    last = now_ns;
    runs[0]++;
    return work_left;
}

static atomic_bool saw_asleep; // in the latest tick

static bool second_task(uint64_t now_ns) {
    (void)now_ns;
    saw_asleep = lr_load_relaxed(&lr_scavenger_asleep) != 0;
    if (runs[0] != runs[1] + 1) // in the order of their registration
        failed = true;
    runs[1]++;
    return false;
}

static void start_with_tasks(void) {
    start_heap(LR_GIB);
    lr_scavenger_add_task(first_task);
    lr_scavenger_add_task(second_task);
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_THREAD), ==, 0);
    EXPECT_INT(lr_option_set("scavenge_delay_ms", 80), ==, 0); // a tick every 10 ms
}

static void start_thread(void) {
    lr_scavenger_note_used(SIZE_MAX / LR_PAGE_BYTES);
    EXPECT(lr_scavenger_is_wanted());
    lr_scavenger_start();
    EXPECT(lr_scavenger_counts().running);
    EXPECT(!lr_scavenger_is_wanted());
}

static bool sleeps(void *arg) {
    (void)arg;
    return lr_load_relaxed(&lr_scavenger_asleep) != 0;
}

static bool ticks_above(void *count) {
    return lr_scavenger_counts().ticks > *(const uint64_t *)count;
}

static bool is_not_running(void *arg) {
    (void)arg;
    return !lr_scavenger_counts().running;
}

static void expect_more_ticks(unsigned count) {
    uint64_t ticks = lr_scavenger_counts().ticks + count - 1;
    EXPECT(test_wait_until(ticks_above, &ticks, 10000));
}

START_TEST(test_scavenger__is_wanted_from_its_start_size_on) {
    uint64_t start_bytes = 0;
    start_with_tasks();
    EXPECT_INT(lr_option_get("scavenge_start", &start_bytes), ==, 0);
    const size_t start_pages = start_bytes >> LR_PAGE_SHIFT;
    EXPECT_UINT(start_pages, >, 0);
    lr_scavenger_note_used(start_pages - 1);
    EXPECT(!lr_scavenger_is_wanted());
    lr_scavenger_start(); // not wanted: nothing
    EXPECT(!lr_scavenger_counts().running);
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_OFF), ==, 0);
    lr_scavenger_note_used(start_pages);
    EXPECT(!lr_scavenger_is_wanted());
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_THREAD), ==, 0);
    lr_scavenger_note_used(start_pages);
    EXPECT(lr_scavenger_is_wanted());
}
END_TEST

// Threads of this process that are called "larder".
static unsigned named_threads(void) {
    unsigned count = 0;
    DIR *const tasks = opendir("/proc/self/task");
    EXPECT(tasks != NULL);
    for (const struct dirent *task; (task = readdir(tasks)) != NULL;) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *const file = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file != NULL && fgets(name, sizeof name, file) != NULL)
            count += strcmp(name, "larder\n") == 0;
        if (file != NULL)
            fclose(file);
    }
    closedir(tasks);
    return count;
}

static bool has_no_thread(void *arg) {
    (void)arg;
    return named_threads() == 0;
}

START_TEST(test_scavenger__one_thread_of_a_known_name) {
    start_with_tasks();
    work_left = true;
    EXPECT_UINT(named_threads(), ==, 0);
    start_thread();
    expect_more_ticks(3);
    EXPECT_UINT(named_threads(), ==, 1);
    lr_scavenger_note_used(SIZE_MAX / LR_PAGE_BYTES);
    EXPECT(!lr_scavenger_is_wanted());
    lr_store_relaxed(&lr_scavenger_wanted, 1); // another thread wanted it at the same time
    lr_scavenger_start();
    expect_more_ticks(3);
    EXPECT_UINT(named_threads(), ==, 1);
}
END_TEST

START_TEST(test_scavenger__runs_its_tasks_in_order_without_locks) {
    start_with_tasks();
    work_left = true;
    start_thread();
    expect_more_ticks(20);
    EXPECT(!failed);
    EXPECT_UINT(runs[0], >=, 20);
    EXPECT_UINT(lr_scavenger_counts().cpu_ns, >, 0);
}
END_TEST

// With nothing to do it sleeps without a timeout; activity wakes it.
START_TEST(test_scavenger__sleeps_until_there_is_something_to_do) {
    start_with_tasks();
    start_thread();
    for (unsigned round = 0; round < 3; round++) {
        EXPECT(test_wait_until(sleeps, NULL, 10000));
        test_sleep_ms(30);  // that it is really asleep
        EXPECT(saw_asleep); // it said so before it looked for the last time
        const uint64_t ticks = lr_scavenger_counts().ticks;
        test_sleep_ms(100);
        EXPECT_UINT(lr_scavenger_counts().ticks, ==, ticks);
        work_left = true;
        lr_scavenger_note_activity();
        expect_more_ticks(20); // and it stays awake as long as there is
        work_left = false;
    }
    EXPECT(!failed);
}
END_TEST

// Every wake-up arrives, however it races with falling asleep: each round leaves work behind
// before it says so, and waits for a tick that began afterwards.
START_TEST(test_scavenger__no_wake_up_is_lost) {
    start_with_tasks();
    start_thread();
    struct test_rng rng = {test_seed()};
    const uint64_t end = test_now_ms() + 1000;
    while (test_now_ms() < end) {
        if (test_rng_below(&rng, 2) == 0)
            EXPECT(test_wait_until(sleeps, NULL, 10000));
        for (uint64_t spin = test_rng_below(&rng, 20000); spin > 0; spin--)
            lr_cpu_relax();
        const unsigned before = runs[0];
        lr_scavenger_note_activity();
        const uint64_t deadline = test_now_ms() + 10000;
        while (runs[0] == before)
            EXPECT_UINT(test_now_ms(), <, deadline);
    }
    EXPECT(!failed);
}
END_TEST

START_TEST(test_scavenger__ends_when_it_is_switched_off) {
    start_with_tasks();
    work_left = true;
    start_thread();
    expect_more_ticks(2);
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_OFF), ==, 0);
    EXPECT(test_wait_until(is_not_running, NULL, 10000));
    EXPECT(test_wait_until(has_no_thread, NULL, 10000));
    const unsigned before = runs[0];
    test_sleep_ms(100);
    EXPECT_UINT(runs[0], ==, before);
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_THREAD), ==, 0);
    start_thread(); // it may come back
    expect_more_ticks(2);
}
END_TEST

START_TEST(test_scavenger__inline_runs_on_the_thread_that_frees) {
    start_with_tasks();
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_INLINE), ==, 0);
    lr_scavenger_note_used(SIZE_MAX / LR_PAGE_BYTES);
    EXPECT(!lr_scavenger_is_wanted());
    for (unsigned i = 0; runs[0] < 5; i++) {
        EXPECT_UINT(i, <, 10000);
        lr_scavenger_note_free(1000);
        test_sleep_ms(1);
    }
    // At most one tick for each of its periods.
    const uint64_t start = test_now_ms();
    const unsigned before = runs[0];
    while (runs[0] - before < 20 && test_now_ms() < start + 20000)
        lr_scavenger_note_free(1000);
    EXPECT_UINT(runs[0] - before, ==, 20);
    EXPECT_UINT(test_now_ms() - start, >=, 19 * 10 - 1);
    EXPECT_UINT(named_threads(), ==, 0);
    EXPECT(!failed);
}
END_TEST

// Without a thread the threads that free do its work; it is tried again when the heap has doubled.
static void start_without_room_for_a_stack(void *arg) {
    (void)arg;
    start_with_tasks();
    struct span *const span = lr_span_alloc_large(3000, 1);
    EXPECT(span != NULL);
    const struct rlimit limit = {test_virtual_bytes(), test_virtual_bytes()};
    EXPECT_INT(setrlimit(RLIMIT_AS, &limit), ==, 0);
    lr_scavenger_note_used(3000);
    EXPECT(lr_scavenger_is_wanted());
    lr_scavenger_start();
    EXPECT(!lr_scavenger_counts().running);
    lr_scavenger_note_used(5999);
    EXPECT(!lr_scavenger_is_wanted());
    for (unsigned i = 0; runs[0] < 5; i++) {
        EXPECT_UINT(i, <, 10000);
        lr_scavenger_note_free(1);
        test_sleep_ms(1);
    }
    lr_scavenger_note_used(6000);
    EXPECT(lr_scavenger_is_wanted());
}

START_TEST(test_scavenger__refused_thread) {
    struct test_child child;
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN) {
        TEST_SKIP("the sanitizer ends the process when a thread cannot start");
    }
    test_child_run(&child, 20, start_without_room_for_a_stack, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

START_TEST(test_scavenger__comes_back_in_a_forked_child) {
    start_with_tasks();
    work_left = true;
    start_thread();
    expect_more_ticks(2);
    const pid_t pid = fork();
    EXPECT_INT(pid, >=, 0);
    if (pid == 0) {
        test_child_mark_current();
        lr_scavenger_after_fork_child();
        EXPECT(!lr_scavenger_counts().running);
        // The fork may have come in the middle of a tick.
        runs[0] = runs[1] = 0;
        start_thread();
        expect_more_ticks(3);
        _exit(0);
    }
    int status = 1;
    EXPECT_INT(waitpid(pid, &status, 0), ==, pid);
    EXPECT_INT(status, ==, 0);
    expect_more_ticks(2);
}
END_TEST

START_TEST(test_scavenger__stays_while_other_threads_do) {
    start_with_tasks();
    start_thread();
    EXPECT(test_wait_until(sleeps, NULL, 10000));
    lr_scavenger_note_last_thread(); // a wrong hint: this thread is still there
    expect_more_ticks(5);
    EXPECT(lr_scavenger_counts().running);
    lr_scavenger_note_first_thread();
    EXPECT(test_wait_until(sleeps, NULL, 10000));
    EXPECT(lr_scavenger_counts().running);
}
END_TEST

static atomic_u32 outside_word;
static atomic_uint published, served;

static void publish(void) {
    if (published++ == 0)
        lr_scavenger_sleep_on(&outside_word);
}

static void serve(void) { served++; }

static bool served_above(void *count) { return served > *(const unsigned *)count; }

// Others wake it by a word of their own: it serves them and goes on sleeping, also until a time.
START_TEST(test_scavenger__serves_without_a_tick) {
    start_with_tasks();
    lr_scavenger_set_service((struct lr_scavenger_service){.publish = publish, .serve = serve});
    start_thread();
    EXPECT(test_wait_until(sleeps, NULL, 10000));
    test_sleep_ms(30);
    EXPECT_UINT(published, ==, lr_scavenger_counts().ticks - 1); // the last one before it slept
    const uint64_t ticks = lr_scavenger_counts().ticks;
    for (unsigned round = 0; round < 20; round++) {
        unsigned count = served;
        lr_store_release(&outside_word, 1);
        lr_os_futex_wake_shared(&outside_word, 1);
        EXPECT(test_wait_until(served_above, &count, 10000));
    }
    EXPECT_UINT(lr_scavenger_counts().ticks, ==, ticks);
    EXPECT(lr_load_relaxed(&lr_scavenger_asleep) != 0);
    // The process's own wake-ups take the same word.
    work_left = true;
    lr_scavenger_note_activity();
    expect_more_ticks(3);
    EXPECT_INT(lr_option_set("scavenge_delay_ms", 3600000), ==, 0); // a tick every second
    expect_more_ticks(2);
    unsigned count = served;
    lr_store_release(&outside_word, 1);
    lr_os_futex_wake_shared(&outside_word, 1);
    EXPECT(test_wait_until(served_above, &count, 900));
    EXPECT(!failed);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("scavenger");
    test_add(suite, test_scavenger__is_wanted_from_its_start_size_on);
    test_add(suite, test_scavenger__one_thread_of_a_known_name);
    test_add(suite, test_scavenger__runs_its_tasks_in_order_without_locks);
    test_add(suite, test_scavenger__sleeps_until_there_is_something_to_do);
    test_add(suite, test_scavenger__serves_without_a_tick);
    test_add(suite, test_scavenger__no_wake_up_is_lost);
    test_add(suite, test_scavenger__ends_when_it_is_switched_off);
    test_add(suite, test_scavenger__inline_runs_on_the_thread_that_frees);
    test_add(suite, test_scavenger__refused_thread);
    test_add(suite, test_scavenger__comes_back_in_a_forked_child);
    test_add(suite, test_scavenger__stays_while_other_threads_do);
    return suite;
}
