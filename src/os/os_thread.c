// SPDX-License-Identifier: Apache-2.0
// Threads, futexes, barriers, clocks.
#include "os/os.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

uint32_t lr_os_thread_id(void) { return (uint32_t)syscall(SYS_gettid); }

// Not getpid(), which libfaketime replaces: its start allocates, and this is called from ours.
uint32_t lr_os_process_id(void) { return (uint32_t)syscall(SYS_getpid); }

uint64_t lr_os_signal_mask(void) {
    uint64_t mask = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof mask);
    return mask;
}

static uint64_t mask_of(int signal) { return UINT64_C(1) << (signal - 1); }

uint64_t lr_os_signals_block(void) {
    const uint64_t of_libc = mask_of(32) | mask_of(33);
    uint64_t all = ~(of_libc | mask_of(SIGSEGV) | mask_of(SIGBUS) | mask_of(SIGILL) |
                     mask_of(SIGFPE) | mask_of(SIGTRAP) | mask_of(SIGSYS));
    uint64_t before = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof before);
    return before;
}

void lr_os_signals_restore(uint64_t mask) {
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
}

static uint64_t read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

uint64_t lr_os_now_ns(void) { return read_clock(CLOCK_MONOTONIC); }

uint64_t lr_os_thread_cpu_ns(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

static int create_detached(void *(*run)(void *), void *arg, size_t stack_bytes, pthread_t *thread) {
    pthread_attr_t attr;
    int error = pthread_attr_init(&attr);
    if (error != 0) {
        return error;
    }
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    error = pthread_attr_setstacksize(&attr, stack_bytes);
    if (error == 0) {
        error = pthread_create(thread, &attr, run, arg);
    }
    pthread_attr_destroy(&attr);
    return error;
}

int lr_os_thread_start(void *(*run)(void *), void *arg, size_t stack_bytes) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    // The new thread inherits the mask: no handler of the program ever runs on it.
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int error = create_detached(run, arg, stack_bytes, &thread);
    if (error == EINVAL) {
        // Static TLS of the program does not fit the stack asked for.
        error = create_detached(run, arg, stack_bytes + (4U << 20), &thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

void lr_os_thread_name(const char *name) { prctl(PR_SET_NAME, name); }

static void futex_wait(void *word, int operation, uint32_t expected, uint64_t timeout_ns) {
    struct timespec t = {.tv_sec = (time_t)(timeout_ns / 1000000000U),
                         .tv_nsec = (long)(timeout_ns % 1000000000U)};
    int saved = errno;
    syscall(SYS_futex, word, operation, expected, timeout_ns == UINT64_MAX ? NULL : &t, NULL, 0);
    errno = saved;
}

static void futex_wake(void *word, int operation, int count) {
    int saved = errno;
    syscall(SYS_futex, word, operation, count, NULL, NULL, 0);
    errno = saved;
}

void lr_os_futex_wait(void *word, uint32_t expected, uint64_t timeout_ns) {
    futex_wait(word, FUTEX_WAIT_PRIVATE, expected, timeout_ns);
}

void lr_os_futex_wake(void *word, int count) { futex_wake(word, FUTEX_WAKE_PRIVATE, count); }

void lr_os_futex_wait_shared(void *word, uint32_t expected, uint64_t timeout_ns) {
    futex_wait(word, FUTEX_WAIT, expected, timeout_ns);
}

void lr_os_futex_wake_shared(void *word, int count) { futex_wake(word, FUTEX_WAKE, count); }

bool lr_os_membarrier_register(void) {
#if LARDER_TSAN
    // ThreadSanitizer cannot see the ordering that another thread's membarrier() gives.
    return false;
#else
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
#endif
}

bool lr_os_membarrier(void) {
    return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}
