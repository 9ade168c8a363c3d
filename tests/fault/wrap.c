// SPDX-License-Identifier: Apache-2.0
//
// The calls that may fail, each with an error that the kernel gives for it. What cannot fail, by
// its manual, does not here: waking a futex, asking for a thread's number, closing.
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic unsigned armed_first;
static _Atomic bool armed_all;
static _Atomic unsigned calls;
static const char *_Atomic hit;

void test_fault_arm(unsigned first, bool all_later) {
    calls = 0;
    hit = NULL;
    armed_all = all_later;
    armed_first = first;
}

unsigned test_fault_calls(void) { return calls; }
const char *test_fault_hit(void) { return hit; }

// Before the constructors of the library.
__attribute__((constructor(101))) static void arm_from_environment(void) {
    const char *text = getenv("LARDER_TEST_FAULT");
    if (text != NULL) {
        char *end;
        const unsigned first = (unsigned)strtoul(text, &end, 10);
        test_fault_arm(first, *end == '+');
    }
}

static bool fails(const char *name) {
    const unsigned first = armed_first;
    const unsigned call = ++calls;
    if (first == 0 || call < first || (call > first && !armed_all))
        return false;
    const char *none = NULL;
    atomic_compare_exchange_strong(&hit, &none, name);
    return true;
}

#define FAIL_WITH(error, result)                                                                   \
    do {                                                                                           \
        errno = (error);                                                                           \
        return (result);                                                                           \
    } while (0)

void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
    if (fails("mmap"))
        FAIL_WITH(ENOMEM, MAP_FAILED);
    return __real_mmap(at, bytes, protection, flags, fd, offset);
}

int __real_munmap(void *at, size_t bytes);
int __wrap_munmap(void *at, size_t bytes);
int __wrap_munmap(void *at, size_t bytes) {
    if (fails("munmap"))
        FAIL_WITH(ENOMEM, -1);
    return __real_munmap(at, bytes);
}

int __real_mprotect(void *at, size_t bytes, int protection);
int __wrap_mprotect(void *at, size_t bytes, int protection);
int __wrap_mprotect(void *at, size_t bytes, int protection) {
    if (fails("mprotect"))
        FAIL_WITH(ENOMEM, -1);
    return __real_mprotect(at, bytes, protection);
}

int __real_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice) {
    if (fails("madvise"))
        FAIL_WITH(EAGAIN, -1);
    return __real_madvise(at, bytes, advice);
}

void *__real_mremap(void *at, size_t old_bytes, size_t new_bytes, int flags);
void *__wrap_mremap(void *at, size_t old_bytes, size_t new_bytes, int flags);
void *__wrap_mremap(void *at, size_t old_bytes, size_t new_bytes, int flags) {
    if (fails("mremap"))
        FAIL_WITH(ENOMEM, MAP_FAILED);
    return __real_mremap(at, old_bytes, new_bytes, flags);
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg) {
    return fails("pthread_create") ? EAGAIN : __real_pthread_create(thread, attributes, run, arg);
}

int __real_getrlimit(int resource, struct rlimit *limit);
int __wrap_getrlimit(int resource, struct rlimit *limit);
int __wrap_getrlimit(int resource, struct rlimit *limit) {
    if (fails("getrlimit"))
        FAIL_WITH(EPERM, -1);
    return __real_getrlimit(resource, limit);
}

int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags) {
    if (fails("memfd_create"))
        FAIL_WITH(EMFILE, -1);
    return __real_memfd_create(name, flags);
}

// The error of a call by number; 0: it cannot fail.
static int error_of(long number, long second) {
    switch (number) {
    case SYS_openat:
        return EMFILE;
    case SYS_read:
    case SYS_write:
    case SYS_pwrite64:
    case SYS_getdents64:
        return EIO;
    case SYS_futex:
        return (second & FUTEX_CMD_MASK) == FUTEX_WAIT ? EINTR : 0;
    case SYS_membarrier:
    case SYS_process_madvise:
        return EPERM;
    case SYS_getrandom:
        return EAGAIN;
    case SYS_process_vm_readv:
        return EPERM;
    default:
        return 0;
    }
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (unsigned i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    const int error = error_of(number, a[1]);
    if (error != 0 && fails("syscall"))
        FAIL_WITH(error, -1);
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
