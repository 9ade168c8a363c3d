// SPDX-License-Identifier: Apache-2.0
//
// The calls that may fail, each with an error that the kernel gives for it. What cannot fail, by
// its manual, does not here: waking a futex, asking for a thread's number, closing.
//
// With LARDER_TEST_FAULT_SITES=FILE each place in the program that makes such a call is added to
// the file, once a process, as the offset of the instruction behind the call: see `sites`.
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

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

// ---- Places that call ----

enum { SITES_MOST = 1024 };
extern const char __executable_start; // by the linker
static int sites_file = -1;
static unsigned per_site;     // LARDER_TEST_FAULT_PER_SITE; 0: no limit
static size_t armed_sites[2]; // LARDER_TEST_FAULT_AT: the first call there fails; 0: none
static struct {
    _Atomic size_t offset;
    _Atomic unsigned calls;
    atomic_bool told;
} sites[SITES_MOST];

long __real_syscall(long number, ...);

static size_t find_site(const void *site) {
    const size_t offset = (size_t)site - (size_t)&__executable_start;
    for (size_t i = offset % SITES_MOST;; i = (i + 1) % SITES_MOST) {
        size_t before = 0;
        if (atomic_compare_exchange_strong(&sites[i].offset, &before, offset) || before == offset)
            return i;
    }
}

// This place has failed, or cannot.
static void tell_site(size_t i) {
    if (sites_file >= 0 && !atomic_exchange(&sites[i].told, true)) {
        char line[24];
        const int length = snprintf(line, sizeof line, "%zx\n", sites[i].offset);
        (void)__real_syscall(SYS_write, sites_file, line, (size_t)length);
    }
}

// Before the constructors of the library.
__attribute__((constructor(101))) static void arm_from_environment(void) {
    const char *text = getenv("LARDER_TEST_FAULT");
    const char *const file = getenv("LARDER_TEST_FAULT_SITES");
    const char *const most = getenv("LARDER_TEST_FAULT_PER_SITE");
    const char *const at = getenv("LARDER_TEST_FAULT_AT");
    per_site = most != NULL ? (unsigned)strtoul(most, NULL, 10) : 0;
    char *next = NULL;
    armed_sites[0] = at != NULL ? strtoul(at, &next, 16) : 0;
    armed_sites[1] = next != NULL && *next == ',' ? strtoul(next + 1, NULL, 16) : 0;
    if (file != NULL)
        sites_file = (int)__real_syscall(SYS_openat, AT_FDCWD, file,
                                         O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (text != NULL) {
        char *end;
        const unsigned first = (unsigned)strtoul(text, &end, 10);
        test_fault_arm(first, *end == '+');
    }
}

// The calls of a place beyond LARDER_TEST_FAULT_PER_SITE are not counted: they fail with all others
// only.
static bool fails_at(const char *name, const void *site) {
    const unsigned first = armed_first;
    const size_t place = find_site(site);
    const unsigned here = ++sites[place].calls;
    const bool counts = here <= per_site || per_site == 0;
    const unsigned call = counts ? ++calls : calls + 1;
    const size_t offset = sites[place].offset;
    const bool armed = here == 1 && (offset == armed_sites[0] || offset == armed_sites[1]);
    if (!armed && !counts && call <= first)
        return false;
    if (!armed && (first == 0 || call < first || (call > first && !armed_all)))
        return false;
    const char *none = NULL;
    atomic_compare_exchange_strong(&hit, &none, name);
    tell_site(place);
    return true;
}

#define fails(name) fails_at(name, __builtin_return_address(0))
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
    if (!fails("pthread_create"))
        return __real_pthread_create(thread, attributes, run, arg);
    return calls % 2 == 0 ? EAGAIN : EINVAL; // no room for a thread, or for what it has of its own
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
        FAIL_WITH(calls % 2 == 0 ? EMFILE : EINVAL, -1); // EINVAL: a flag that it does not know
    return __real_memfd_create(name, flags);
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    const long argument = va_arg(list, long);
    va_end(list);
    if (fails("fcntl"))
        FAIL_WITH(EMFILE, -1);
    return __real_fcntl(fd, command, argument);
}

int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode) {
    if (fails("fchmod"))
        FAIL_WITH(EPERM, -1);
    return __real_fchmod(fd, mode);
}

int __real_ftruncate(int fd, off_t bytes);
int __wrap_ftruncate(int fd, off_t bytes);
int __wrap_ftruncate(int fd, off_t bytes) {
    if (fails("ftruncate"))
        FAIL_WITH(ENOSPC, -1);
    return __real_ftruncate(fd, bytes);
}

int __real_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status) {
    if (fails("fstat"))
        FAIL_WITH(EBADF, -1);
    return __real_fstat(fd, status);
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path) {
    if (fails("unlink"))
        FAIL_WITH(EACCES, -1);
    return __real_unlink(path);
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to) {
    if (fails("rename"))
        FAIL_WITH(EACCES, -1);
    return __real_rename(from, to);
}

int __real_prctl(int option, ...);
int __wrap_prctl(int option, ...);
int __wrap_prctl(int option, ...) {
    unsigned long a[4];
    va_list list;
    va_start(list, option);
    for (unsigned i = 0; i < 4; i++)
        a[i] = va_arg(list, unsigned long);
    va_end(list);
    if (fails("prctl"))
        FAIL_WITH(EINVAL, -1);
    return __real_prctl(option, a[0], a[1], a[2], a[3]);
}

// The error of a call by number; 0: it cannot fail.
static int error_of(long number, long first, long second) {
    switch (number) {
    case SYS_openat:
        return EMFILE;
    case SYS_read:
    case SYS_write:
    case SYS_pread64:
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
    case SYS_tgkill:
    case SYS_mseal:
        return EPERM;
    case SYS_rt_sigprocmask:
        return first < 0 ? EFAULT
                         : 0; // lr_os_is_readable() asks for a change that there is none of
    default:
        return 0;
    }
}

long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (unsigned i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    const int error = error_of(number, a[0], a[1]);
    if (error == 0)
        tell_site(find_site(__builtin_return_address(0)));
    else if (fails("syscall"))
        FAIL_WITH(error, -1);
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
