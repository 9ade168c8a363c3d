// SPDX-License-Identifier: Apache-2.0
//
// calls           runs the program below again and again, each time with another system call of the
//                 library failing: the first, the second, ... until none is left; then with that
//                 one and all that follow
// calls once|all  uses the heap in all ways there are. Requests may fail with ENOMEM when a call
//                 did; contents must stay, and the heap must be sound at the end. Exit 0: so it
//                 was; 3: no call failed
#define _GNU_SOURCE 1

#include <larder/ctl.h>
#include <larder/larder.h>
#include <larder/page.h>
#include <larder/stats.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/fault.h"
#include "../support/heap_check.h"
#include "cache/trace.h"
#include "conf/options.h"
#include "hard/hard.h"
#include "heap/scavenger.h"
#include "heap/window.h"

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);
void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t bytes);

enum { NOT_HIT = 3, BROKEN = 4, BEYOND = 12 };

static bool only_once;

static _Noreturn void broken(int line, const char *text) {
    test_fault_arm(0, false);
    fprintf(stderr, "%s:%d: %s; the call that failed: %s\n", __FILE__, line, text,
            test_fault_hit() == NULL ? "none" : test_fault_hit());
    _exit(BROKEN);
}
#define MUST(cond) ((cond) ? (void)0 : broken(__LINE__, #cond))

// ---- Blocks with contents ----

enum { BLOCKS = 600 };
static struct block {
    unsigned char *at;
    size_t size;
} blocks[BLOCKS];

static void fill(const struct block *b, size_t from) {
    for (size_t i = from; i < b->size; i += i < 4096 ? 1 : 40961)
        b->at[i] = (unsigned char)(i * 7 + b->size);
}

static void expect_contents(const struct block *b, size_t bytes, size_t size) {
    for (size_t i = 0; i < bytes; i += i < 4096 ? 1 : 40961)
        MUST(b->at[i] == (unsigned char)(i * 7 + size));
}

// A failed request needs a failed call, and says why; the next one succeeds if the call did.
static bool excused(int error) {
    MUST(test_fault_hit() != NULL);
    MUST(error == ENOMEM);
    return true;
}

static void take(unsigned i, size_t size, size_t align, bool zero) {
    struct block *b = &blocks[i];
    MUST(b->at == NULL);
    for (unsigned tries = 0; tries < 2 && b->at == NULL; tries++) {
        errno = 0;
        b->at = zero         ? larder_calloc(1, size)
                : align != 0 ? larder_memalign(align, size)
                             : larder_malloc(size);
        if (b->at == NULL)
            excused(errno);
    }
    MUST(b->at != NULL || !only_once);
    if (b->at == NULL)
        return;
    MUST(align == 0 || ((uintptr_t)b->at & (align - 1)) == 0);
    MUST(larder_malloc_usable_size(b->at) >= size);
    for (size_t k = 0; zero && k < size; k++)
        MUST(b->at[k] == 0);
    b->size = size;
    fill(b, 0);
}

static void resize(unsigned i, size_t size) {
    struct block *b = &blocks[i];
    if (b->at == NULL)
        return;
    errno = 0;
    void *const moved = larder_realloc(b->at, size);
    if (moved == NULL) {
        excused(errno);
        expect_contents(b, b->size, b->size);
        return;
    }
    b->at = moved;
    expect_contents(b, size < b->size ? size : b->size, b->size);
    b->size = size;
    fill(b, 0);
}

static void give(unsigned i) {
    struct block *b = &blocks[i];
    if (b->at != NULL) {
        expect_contents(b, b->size, b->size);
        larder_free(b->at);
    }
    b->at = NULL;
}

static void give_all(void) {
    for (unsigned i = 0; i < BLOCKS; i++)
        give(i);
}

// ---- What is done ----

static void use_small(void) {
    static const size_t sizes[] = {1, 100, 1000, 5000, 30000, 200000};
    const unsigned count = lr_hardened ? 40 : 150; // there, each large block is several calls
    for (unsigned i = 0; i < count; i++)
        take(i, sizes[i % 6] + i, 0, i % 7 == 0);
    for (unsigned i = 0; i < count; i += 3)
        resize(i, sizes[(i + 1) % 6]);
    for (unsigned i = 0; i < count; i += 2)
        give(i);
}

// The copy out of the window costs ThreadSanitizer, which keeps four bytes for each, more than all
// the rest: there it is made in one run of four.
static bool is_run_that_moves_out(void) {
    const char *const call = getenv("LARDER_TEST_FAULT");
    const bool wanted = !LARDER_TSAN || call == NULL || strtoul(call, NULL, 10) % 4 == 0;
    return wanted && !lr_hardened;
}

static void use_large(void) {
    take(400, 300 << 10, 0, true);
    take(401, 5 << 20, 0, false);
    take(402, 3 << 20, 2 << 20, false);
    resize(401, 7 << 20);
    resize(401, 1 << 20);
    if (is_run_that_moves_out()) {
        take(403, 33 << 20, 0, false);
        take(404, 1 << 20, 0, false); // in the way of what follows
        resize(403, 36 << 20);        // leaves the window
        resize(403, 60 << 20);        // moves by its pages
        resize(403, 20 << 20);
    }
    if (lr_window.align != 0)
        take(405, 100000, 2 * lr_window.align, false);
    give(401);
    give(403);
}

static void *run_thread(void *unused) {
    (void)unused;
    for (unsigned i = 500; i < 560; i++)
        take(i, 64 + i, 0, false);
    for (unsigned i = 500; i < 540; i++)
        give(i);
    return NULL;
}

static void use_thread(void) {
    pthread_t thread;
    MUST(__real_pthread_create(&thread, NULL, run_thread, NULL) == 0);
    MUST(pthread_join(thread, NULL) == 0);
}

static void use_fork(void) {
    const pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        for (unsigned i = 570; i < 580; i++)
            take(i, 300, 0, false);
        for (unsigned i = 0; i < 300; i++)
            give(i);
        _exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void use_the_rest(void) {
    struct larder_stats stats;
    MUST(larder_stats_get(&stats, sizeof stats) == 0);
    larder_thread_flush();
    larder_release(SIZE_MAX);
    larder_malloc_trim(0);
    take(590, 400000, 0, true); // pages that were given back
}

// ---- What options add (mode "options") ----

static bool has_options(void) { return lr_opt_metrics_file() != 0; }

// A few looks of the background thread: what is due is done, or could not be.
static void let_thread_look(void) {
    const uint64_t ticks = lr_scavenger_counts().ticks;
    for (unsigned i = 0; i < 200 && lr_scavenger_counts().ticks < ticks + 3; i++) {
        larder_free(larder_malloc(300000)); // keeps it awake
        usleep(1000);
    }
}

// The page of this process, as a command from outside finds it; NULL: there is none.
static char *find_page(void) {
    for (int fd = 3; fd < 1024; fd++) {
        char name[32], link[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        const ssize_t length = readlink(name, link, sizeof link - 1);
        static const char wanted[] = "/memfd:" LARDER_PAGE_NAME " (deleted)";
        if (length != sizeof wanted - 1 || memcmp(link, wanted, sizeof wanted - 1) != 0)
            continue;
        char *const page = __real_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        return page == MAP_FAILED ? NULL : page;
    }
    return NULL;
}

static uint64_t ask(struct larder_page_command *slot, uint32_t kind) {
    slot->kind = kind;
    strcpy(slot->value, "1M");
    const uint32_t request = slot->served + 1;
    __atomic_store_n(&slot->request, request, __ATOMIC_RELEASE);
    __atomic_store_n(&slot->wake, 1, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < 5000 && __atomic_load_n(&slot->served, __ATOMIC_ACQUIRE) != request;
         i++)
        usleep(1000);
    MUST(__atomic_load_n(&slot->served, __ATOMIC_ACQUIRE) == request || test_fault_hit() != NULL);
    MUST(slot->result == 0 || test_fault_hit() != NULL);
    return slot->result == 0 ? slot->number : 0;
}

static void be_asked(void) {
    static const uint32_t kinds[] = {LARDER_PAGE_REFRESH, LARDER_PAGE_PROFILE,
                                     LARDER_PAGE_PROFILE_END, LARDER_PAGE_TRIM, LARDER_PAGE_TRACE};
    char *const page = find_page();
    uint64_t number = 0;
    MUST(page != NULL || test_fault_hit() != NULL);
    for (size_t i = 0; page != NULL && i < sizeof kinds / sizeof kinds[0]; i++)
        number = ask((struct larder_page_command *)(void *)(page + LARDER_PAGE_COMMAND), kinds[i]);
    if (page != NULL)
        __real_munmap(page, 4096);
    for (unsigned i = 580; i < 590; i++) { // recorded
        take(i, 200, 0, false);
        give(i);
    }
    (void)lr_trace_begin_with((int)number); // as LARDER_TRACE_FD does
    lr_trace_end();
}

// Samples whose stacks lie in several pages.
static __attribute__((noinline)) void use_deep_stack(unsigned depth) {
    volatile char frame[3000];
    frame[0] = frame[2999] = 1;
    if (depth > 0)
        use_deep_stack(depth - 1);
    for (unsigned i = 580; i < 590; i++) {
        take(i, 8000, 0, false);
        give(i);
    }
    MUST(frame[0] == 1);
}

static void *be_there(void *unused) {
    usleep(20000);
    return unused;
}

// Its main thread ends before the process, which lives until the library's thread notices: for ever
// if it cannot look.
static void outlive_main_thread(void) {
    const pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        pthread_t others[2];
        larder_free(larder_malloc(1000000)); // starts the library's thread
        for (unsigned i = 0; i < 2; i++)
            MUST(__real_pthread_create(&others[i], NULL, be_there, NULL) == 0);
        pthread_exit(NULL);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static sem_t may_end;

static void *be_idle(void *unused) {
    run_thread(unused);
    sem_wait(&may_end);
    return NULL;
}

static void have_idle_thread(void) {
    pthread_t thread;
    for (unsigned i = 500; i < 560; i++)
        give(i); // what the other thread has left
    MUST(sem_init(&may_end, 0, 0) == 0);
    MUST(__real_pthread_create(&thread, NULL, be_idle, NULL) == 0);
    let_thread_look();
    sem_post(&may_end);
    MUST(pthread_join(thread, NULL) == 0);
}

static void use_options(void) {
    if (!has_options())
        return;
    let_thread_look();
    be_asked();
    use_deep_stack(5);
    have_idle_thread();
    if (only_once)
        outlive_main_thread();
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    MUST(larder_stats_print(nowhere) == 0 || test_fault_hit() != NULL);
    close(nowhere);
}

// The scavenger may be moving pages and blocks: what is broken stays so. ThreadSanitizer would take
// the walk for a race.
static const char *lasting_fault(void) {
    if (LARDER_TSAN && lr_opt_scavenger() == LR_SCAVENGER_THREAD)
        return NULL;
    const char *fault = test_heap_fault();
    for (int i = 0; i < 200 && fault != NULL; i++) {
        usleep(10000);
        fault = test_heap_fault();
    }
    return fault;
}

static void expect_sound(void) {
    const char *const fault = lr_hardened ? NULL : lasting_fault();
    if (fault != NULL)
        broken(__LINE__, fault);
    lr_hard_check_all(); // aborts
}

static int scenario(void) {
    alarm(200); // for a machine that is busy with other things
    use_small();
    use_large();
    use_thread();
    use_fork();
    use_the_rest();
    use_options();
    give_all();
    use_small();
    give_all();
    larder_thread_flush();
    larder_release(SIZE_MAX);
    const bool hit = test_fault_hit() != NULL;
    expect_sound();
    test_fault_arm(0, false);
    use_small(); // everything works again
    give_all();
    expect_sound();
    return hit ? 0 : NOT_HIT;
}

// ---- Again and again ----

extern char **environ;

static pid_t start(unsigned call, bool all) {
    char text[32];
    snprintf(text, sizeof text, "%u%s", call, all ? "+" : "");
    setenv("LARDER_TEST_FAULT", text, 1);
    char program[] = "/proc/self/exe", mode[8];
    strcpy(mode, all ? "all" : "once");
    char *arguments[] = {program, mode, NULL};
    pid_t child;
    if (posix_spawn(&child, program, NULL, NULL, arguments, environ) != 0)
        exit(2);
    return child;
}

static bool end(pid_t child, unsigned call, bool all, bool *hit) {
    int status;
    waitpid(child, &status, 0);
    *hit = !(WIFEXITED(status) && WEXITSTATUS(status) == NOT_HIT);
    if (*hit && status != 0)
        printf("call %u%s: status %#x\n", call, all ? " and all later" : "", (unsigned)status);
    return !*hit || status == 0;
}

int main(int argc, char **argv) {
    if (argc == 2) {
        only_once = strcmp(argv[1], "once") == 0;
        return scenario();
    }
    unsigned failures = 0;
    const char *const sites = getenv("LARDER_TEST_FAULT_SITES");
    if (sites != NULL)
        MUST(truncate(sites, 0) == 0); // those of the program as it is now
    for (unsigned all = 0; all <= 1; all++) {
        unsigned call = 1, last = 0;
        // Two at a time, and beyond the end for a while: how many calls there are differs from run
        // to run where threads are at work.
        for (; call < last + BEYOND; call += 2) {
            const pid_t pair[2] = {start(call, all != 0), start(call + 1, all != 0)};
            for (unsigned i = 0; i < 2; i++) {
                bool hit;
                failures += !end(pair[i], call + i, all != 0, &hit);
                last = hit ? call + i : last;
            }
        }
        printf("%u calls that fail%s\n", last, all != 0 ? ", with all that follow" : "");
        failures += last < 20; // or else the seam does not work
    }
    return failures != 0;
}
