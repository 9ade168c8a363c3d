// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE 1

#include "prof/guard.h"

#include <larder/larder.h>

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../support/child.h"
#include "../../support/support.h"
#include "conf/options.h"
#include "prof/sample.h"

enum { PLACES = 256 };

// From now on every small block is a sample.
static void guard_all(void) {
    EXPECT_INT(lr_option_set("guard_sample", 1), ==, 0);
    larder_free(larder_malloc(5000)); // the bins of before are used up
}

static bool is_guarded(const void *block) { return lr_sample_bytes(block) != 0; }

// A guarded block of 112 usable bytes at the end of its place (or at its start).
static char *guarded(bool at_start) {
    for (unsigned i = 0; i < 2000; i++) {
        char *const block = larder_malloc(112);
        if (is_guarded(block) && (((size_t)block & 4095) == 0) == at_start)
            return block;
    }
    EXPECT(!"a guarded block");
    return NULL;
}

static void *volatile subject; // volatile: the compiler is not to know how large the block is
static size_t offset;

static void write_at(void *unused) {
    (void)unused;
    ((volatile char *)subject)[offset] = 1;
}

static void read_freed(void *unused) {
    (void)unused;
    larder_free(subject);
    (void)((volatile char *)subject)[offset];
}

static void free_twice(void *unused) {
    (void)unused;
    larder_free(subject);
    larder_free(test_opaque_ptr(subject));
}

static void free_inside(void *unused) {
    (void)unused;
    larder_free((char *)test_opaque_ptr(subject) + 16);
}

static void write_and_free(void *unused) {
    write_at(unused);
    larder_free(subject);
}

static void resize_freed(void *unused) {
    (void)unused;
    larder_free(subject);
    (void)!larder_realloc(test_opaque_ptr(subject), 4000);
}

// The child ends by abort(), and says so in a report with these stacks.
static void expect_report(void (*run)(void *), const char *what, bool access, bool freed) {
    struct test_child child;
    test_child_run(&child, 20, run, NULL);
    EXPECT_CHILD_SIGNAL(&child, SIGABRT);
    if (strstr(child.err, what) == NULL)
        test_fail(__FILE__, __LINE__, "no \"%s\" in: %s", what, child.err);
    EXPECT((strstr(child.err, "\n  accessed by thread ") != NULL) == access);
    EXPECT(strstr(child.err, "\n  allocated by thread ") != NULL);
    EXPECT((strstr(child.err, "\n  freed by thread ") != NULL) == freed);
    EXPECT(strstr(child.err, "unit.prof.guard+0x") != NULL);
}

START_TEST(test_guard__overflow_faults_at_once) {
    guard_all();
    subject = guarded(false);
    offset = 112;
    expect_report(write_at, "larder: overflow to ", true, false);
}
END_TEST

START_TEST(test_guard__underflow_faults_at_once) {
    guard_all();
    subject = guarded(true);
    offset = (size_t)-1;
    expect_report(write_at, "larder: underflow to ", true, false);
}
END_TEST

START_TEST(test_guard__what_does_not_fault_is_seen_at_the_free) {
    guard_all();
    subject = guarded(false);
    offset = (size_t)-1;
    expect_report(write_and_free, "larder: underflow, seen at the free, to ", false, true);
    subject = guarded(true);
    offset = 112;
    expect_report(write_and_free, "larder: overflow, seen at the free, to ", false, true);
}
END_TEST

START_TEST(test_guard__use_after_free_faults) {
    guard_all();
    subject = guarded(false);
    offset = 50;
    expect_report(read_freed, "larder: use after free of ", true, true);
}
END_TEST

START_TEST(test_guard__wrong_frees_are_told_with_stacks) {
    guard_all();
    subject = guarded(false);
    expect_report(free_twice, "larder: double free of ", true, true);
    expect_report(resize_freed, "larder: double free of ", true, true);
    expect_report(free_inside, "larder: invalid free of ", true, false);
}
END_TEST

// What guards cost is bounded, however much is allocated: at one in 8 MiB eight milliseconds
// lie between two of them (without the background thread, which bundles them).
START_TEST(test_guard__a_hurry_gets_no_more_of_them) {
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_INLINE), ==, 0);
    EXPECT_INT(lr_option_set("guard_sample", 8 << 20), ==, 0);
    const uint64_t start_ms = test_now_ms();
    unsigned count = 0;
    for (unsigned i = 0; i < 200000; i++) { // a sample in a thousand
        char *const block = larder_malloc(8000);
        count += is_guarded(block);
        larder_free(block);
    }
    EXPECT_UINT(count, >, 0);
    EXPECT_UINT(count, <=, (test_now_ms() - start_ms) / 8 + 2);
}
END_TEST

static void go_on(void *unused) {
    (void)unused;
    EXPECT_INT(lr_option_set("on_error", LR_ON_ERROR_REPORT), ==, 0);
    for (offset = 112; offset < 116; offset++)
        write_at(NULL);
    larder_free(subject);
    offset = 7;
    write_at(NULL);
    for (unsigned i = 0; i < 1000; i++)
        larder_free(larder_malloc(112));
}

START_TEST(test_guard__reports_alone_let_the_program_go_on) {
    guard_all();
    subject = guarded(false);
    struct test_child child;
    test_child_run(&child, 20, go_on, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
    EXPECT(strstr(child.err, "larder: overflow to ") != NULL);
    EXPECT(strstr(child.err, "larder: use after free of ") != NULL);
}
END_TEST

START_TEST(test_guard__contents_sizes_and_alignments_are_ordinary) {
    guard_all();
    unsigned guards = 0;
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < 3000; i++) {
        const size_t size = 1 + test_rng_size(&rng, 40000);
        const size_t align = (size_t)16 << test_rng_below(&rng, 9);
        unsigned char *block = larder_memalign(align, size);
        EXPECT(block != NULL);
        EXPECT_ALIGNED(block, align);
        guards += is_guarded(block);
        const size_t usable = larder_malloc_usable_size(block);
        EXPECT_UINT(usable, >=, size);
        test_fill(block, usable, i);
        block = larder_realloc(block, 2 * size);
        EXPECT_FILLED(block, size, i);
        larder_free(block);
        block = larder_calloc(1, size);
        EXPECT_ZERO(block, size);
        larder_free(block);
    }
    EXPECT_UINT(guards, >, 1000);
}
END_TEST

START_TEST(test_guard__places_are_bounded_and_reused_late) {
    guard_all();
    static void *blocks[2 * PLACES];
    unsigned guards = 0;
    for (unsigned i = 0; i < 2 * PLACES; i++) {
        blocks[i] = larder_malloc(100);
        guards += is_guarded(blocks[i]);
    }
    EXPECT_UINT(guards, <=, PLACES);
    EXPECT_UINT(guards, >=, PLACES - 2);
    EXPECT_UINT(lr_sample_counts().dropped, >, 0);
    for (unsigned i = 0; i < 2 * PLACES; i++)
        larder_free(blocks[i]);
    void *const first = guarded(false);
    larder_free(first);
    unsigned others = 0;
    for (; others < 10 * PLACES; others++) {
        void *const block = larder_malloc(100);
        larder_free(block);
        if (block == first)
            break;
    }
    EXPECT_UINT(others, >=, PLACES - 2);
    EXPECT_UINT(others, <, 10 * PLACES);
}
END_TEST

START_TEST(test_guard__switched_off_there_are_no_more) {
    guard_all();
    larder_free(guarded(false));
    EXPECT_INT(lr_option_set("guard_sample", 0), ==, 0);
    larder_thread_flush();
    for (unsigned i = 0; i < 1000; i++) {
        void *const block = larder_malloc(100);
        EXPECT(i < 200 || !is_guarded(block));
        larder_free(block);
    }
}
END_TEST

static sigjmp_buf back;
static volatile sig_atomic_t handled;

static void own_handler(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    handled += info->si_addr == (void *)8;
    siglongjmp(back, 1);
}

static void fault_of_its_own(void) {
    volatile char *volatile nowhere = (char *)8;
    if (sigsetjmp(back, 1) == 0)
        *nowhere = 1;
}

static void install_own_handler(void) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER};
    action.sa_sigaction = own_handler;
    EXPECT_INT(sigaction(SIGSEGV, &action, NULL), ==, 0);
}

// The program's handler, installed before guards are on or after, sees the program's own faults.
static void handle_own_faults(void *before) {
    if (before != NULL)
        install_own_handler();
    guard_all();
    larder_free(guarded(false));
    if (before == NULL) {
        install_own_handler();
        fault_of_its_own();
        EXPECT_INT(handled, ==, 1);
        larder_free(guarded(false)); // looks at the handler again
        handled = 0;
    }
    for (int i = 1; i < 5; i++) {
        fault_of_its_own();
        EXPECT_INT(handled, ==, i);
    }
    subject = guarded(false);
    offset = 112;
    write_at(NULL); // a report, and abort()
}

START_TEST(test_guard__the_programs_handler_gets_its_faults) {
    struct test_child child;
    for (int before = 0; before <= 1; before++) {
        test_child_run(&child, 20, handle_own_faults, before ? &child : NULL);
        EXPECT_CHILD_SIGNAL(&child, SIGABRT);
        EXPECT(strstr(child.err, "larder: overflow to ") != NULL);
    }
}
END_TEST

static struct sigaction older;

static void passing_handler(int number, siginfo_t *info, void *context) {
    older.sa_sigaction(number, info, context);
}

static void fault(void) {
    volatile char *volatile nowhere = (char *)8;
    *nowhere = 1;
}

// A handler installed after ours that passes on to ours what it does not know, which is all.
static void fault_in_a_circle(void *unused) {
    (void)unused;
    signal(SIGSEGV, SIG_DFL);
    guard_all();
    larder_free(guarded(false));
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER};
    action.sa_sigaction = passing_handler;
    EXPECT_INT(sigaction(SIGSEGV, &action, &older), ==, 0);
    larder_free(guarded(false));
    fault();
}

// The same, but the program's first handler, which is older than ours, takes the fault in the end.
static void fault_along_the_chain(void *unused) {
    (void)unused;
    install_own_handler();
    guard_all();
    larder_free(guarded(false));
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER};
    action.sa_sigaction = passing_handler;
    EXPECT_INT(sigaction(SIGSEGV, &action, &older), ==, 0);
    for (int i = 1; i < 5; i++) {
        fault_of_its_own();
        EXPECT_INT(handled, ==, i);
        larder_free(guarded(false)); // looks at the handler again, the first time
    }
}

static void handle_once(int number) {
    (void)number;
    if (++handled > 1)
        _exit(1);
}

// A handler that the kernel calls once, and that expects its return to be the end.
static void fault_with_one_shot(void *unused) {
    (void)unused;
    struct sigaction action = {.sa_flags = (int)SA_RESETHAND};
    action.sa_handler = handle_once;
    EXPECT_INT(sigaction(SIGSEGV, &action, NULL), ==, 0);
    guard_all();
    larder_free(guarded(false));
    fault();
}

static void fault_in_handler(int number) {
    (void)number;
    if (++handled > 1)
        _exit(1);
    fault(); // with SIGSEGV blocked, as it is in its handler
}

static void fault_twice(void *unused) {
    (void)unused;
    signal(SIGSEGV, fault_in_handler);
    guard_all();
    larder_free(guarded(false));
    fault();
}

static void send_it(void *ignored) {
    signal(SIGSEGV, ignored != NULL ? SIG_IGN : SIG_DFL);
    guard_all();
    larder_free(guarded(false));
    kill(getpid(), SIGSEGV);
}

static void fault_without_handler(void *unused) {
    (void)unused;
    signal(SIGSEGV, SIG_DFL);
    guard_all();
    larder_free(guarded(false));
    fault();
}

START_TEST(test_guard__other_faults_end_the_process_as_ever) {
    struct test_child child;
    test_child_run(&child, 20, fault_without_handler, NULL);
    EXPECT_CHILD_SIGNAL(&child, SIGSEGV);
    EXPECT(strstr(child.err, "larder:") == NULL);
    test_child_run(&child, 20, fault_in_a_circle, NULL);
    EXPECT_CHILD_SIGNAL(&child, SIGSEGV);
    test_child_run(&child, 20, fault_with_one_shot, NULL);
    EXPECT_CHILD_SIGNAL(&child, SIGSEGV);
    test_child_run(&child, 20, fault_twice, NULL);
    EXPECT_CHILD_SIGNAL(&child, SIGSEGV);
}
END_TEST

START_TEST(test_guard__a_fault_that_comes_back_goes_to_the_handler_before) {
    struct test_child child;
    test_child_run(&child, 20, fault_along_the_chain, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

START_TEST(test_guard__sent_signals_do_what_they_did) {
    struct test_child child;
    test_child_run(&child, 20, send_it, NULL);
    EXPECT_CHILD_SIGNAL(&child, SIGSEGV);
    test_child_run(&child, 20, send_it, &child);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

static void *write_in_thread(void *unused) {
    write_at(unused);
    return NULL;
}

// A child that is forked while another thread prints its report, which nobody reads.
static void fork_during_a_report(void *unused) {
    (void)unused;
    EXPECT_INT(lr_option_set("on_error", LR_ON_ERROR_REPORT), ==, 0);
    int ends[2];
    EXPECT_INT(pipe2(ends, O_NONBLOCK), ==, 0);
    while (write(ends[1], "", 1) == 1)
        continue;
    EXPECT_INT(fcntl(ends[1], F_SETFL, 0), ==, 0);
    EXPECT_INT(dup2(ends[1], STDERR_FILENO), ==, STDERR_FILENO);
    pthread_t thread;
    EXPECT_INT(pthread_create(&thread, NULL, write_in_thread, NULL), ==, 0);
    test_sleep_ms(100); // where that is too short the test shows nothing, and passes
    const pid_t forked = fork();
    if (forked == 0) {
        close(STDERR_FILENO);
        alarm(10);
        offset = 8192;
        write_at(NULL);
        _exit(0);
    }
    int status;
    EXPECT_INT(waitpid(forked, &status, 0), ==, forked);
    _exit(status != 0);
}

START_TEST(test_guard__a_forked_child_reports_too) {
    guard_all();
    subject = guarded(false);
    offset = 112;
    struct test_child child;
    test_child_run(&child, 20, fork_during_a_report, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

static void report_and_overflow_again(void *unused) {
    go_on(unused);
    EXPECT_INT(lr_option_set("on_error", LR_ON_ERROR_ABORT), ==, 0);
    for (unsigned i = 0; i < 10 * PLACES; i++) {
        char *const block = larder_malloc(112);
        if (block == subject) {
            offset = 112;
            write_at(NULL); // what the first report opened is closed
        }
        larder_free(block);
    }
}

START_TEST(test_guard__pages_opened_by_a_report_are_closed_with_the_place) {
    guard_all();
    subject = guarded(false);
    struct test_child child;
    test_child_run(&child, 20, report_and_overflow_again, NULL);
    EXPECT_CHILD_SIGNAL(&child, SIGABRT);
}
END_TEST

// With the background thread blocks are picked in a part of the time, and none in the rest; without
// it all the time, as before it is there.
START_TEST(test_guard__picked_in_a_part_of_the_time) {
    enum { MEAN = 8 << 20 };
    EXPECT_INT(lr_option_set("guard_sample", MEAN), ==, 0);
    EXPECT_UINT(lr_sample_mean(LR_SAMPLE_GUARD), ==, MEAN);
    bool seen[3] = {false}; // nothing, as asked for, more densely
    const uint64_t start_ms = test_now_ms();
    while (!(seen[0] && seen[2]) && test_now_ms() - start_ms < 20000) {
        for (unsigned i = 0; i < 1000; i++)
            larder_free(test_opaque_ptr(larder_malloc(8000)));
        const uint64_t mean = lr_sample_mean(LR_SAMPLE_GUARD);
        seen[mean == 0 ? 0 : mean == MEAN ? 1 : 2] = true;
    }
    EXPECT(seen[0] && seen[1] && seen[2]);

    EXPECT_INT(lr_option_set("profile", 1), ==, 0); // threads count anyway
    EXPECT_UINT(lr_sample_mean(LR_SAMPLE_GUARD), ==, MEAN);
    EXPECT_INT(lr_option_set("profile", 0), ==, 0);
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_OFF), ==, 0);
    test_sleep_ms(50);
    EXPECT_UINT(lr_sample_mean(LR_SAMPLE_GUARD), ==, MEAN);
    EXPECT_INT(lr_option_set("guard_sample", 0), ==, 0);
    EXPECT_UINT(lr_sample_mean(LR_SAMPLE_GUARD), ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *const suite = suite_create("guard");
    test_add(suite, test_guard__overflow_faults_at_once);
    test_add(suite, test_guard__underflow_faults_at_once);
    test_add(suite, test_guard__what_does_not_fault_is_seen_at_the_free);
    test_add(suite, test_guard__use_after_free_faults);
    test_add(suite, test_guard__wrong_frees_are_told_with_stacks);
    test_add(suite, test_guard__a_hurry_gets_no_more_of_them);
    test_add(suite, test_guard__picked_in_a_part_of_the_time);
    test_add(suite, test_guard__reports_alone_let_the_program_go_on);
    test_add(suite, test_guard__contents_sizes_and_alignments_are_ordinary);
    test_add(suite, test_guard__places_are_bounded_and_reused_late);
    test_add(suite, test_guard__switched_off_there_are_no_more);
    test_add(suite, test_guard__the_programs_handler_gets_its_faults);
    test_add(suite, test_guard__other_faults_end_the_process_as_ever);
    test_add(suite, test_guard__a_fault_that_comes_back_goes_to_the_handler_before);
    test_add(suite, test_guard__sent_signals_do_what_they_did);
    test_add(suite, test_guard__a_forked_child_reports_too);
    test_add(suite, test_guard__pages_opened_by_a_report_are_closed_with_the_place);
    return suite;
}
