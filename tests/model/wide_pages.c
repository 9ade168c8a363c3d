// SPDX-License-Identifier: Apache-2.0
//
// A kernel with pages of 64 KiB, as far as the library can tell: the linker leads its calls here.
// What begins amid such a page is refused, and lengths are rounded up to whole ones, as that kernel
// does.
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WIDE ((size_t)64 << 10)

static size_t whole(size_t bytes) { return (bytes + WIDE - 1) & ~(WIDE - 1); }

static bool is_amid(const void *at) { return ((uintptr_t)at & (WIDE - 1)) != 0; }

#define REFUSE_IF(wrong, result)                                                                   \
    do {                                                                                           \
        if (wrong) {                                                                               \
            errno = EINVAL;                                                                        \
            return (result);                                                                       \
        }                                                                                          \
    } while (0)

long __real_sysconf(int name);
long __wrap_sysconf(int name);
long __wrap_sysconf(int name) { return name == _SC_PAGESIZE ? (long)WIDE : __real_sysconf(name); }

void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t bytes);

// With pages on both sides, of which those that are too many go.
static void *map_anywhere(size_t bytes, int protection, int flags, int fd, off_t offset) {
    char *const all = __real_mmap(NULL, bytes + WIDE, protection, flags, fd, offset);
    if (all == MAP_FAILED)
        return all;
    const size_t front = whole((uintptr_t)all) - (uintptr_t)all;
    if (front > 0)
        __real_munmap(all, front);
    if (front < WIDE)
        __real_munmap(all + front + bytes, WIDE - front);
    return all + front;
}

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
    REFUSE_IF(is_amid(at) || bytes == 0, MAP_FAILED);
    if (whole(bytes) < bytes) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return at == NULL && fd < 0 ? map_anywhere(whole(bytes), protection, flags, fd, offset)
                                : __real_mmap(at, whole(bytes), protection, flags, fd, offset);
}

int __wrap_munmap(void *at, size_t bytes);
int __wrap_munmap(void *at, size_t bytes) {
    REFUSE_IF(is_amid(at), -1);
    return __real_munmap(at, whole(bytes));
}

int __real_mprotect(void *at, size_t bytes, int protection);
int __wrap_mprotect(void *at, size_t bytes, int protection);
int __wrap_mprotect(void *at, size_t bytes, int protection) {
    REFUSE_IF(is_amid(at), -1);
    return __real_mprotect(at, whole(bytes), protection);
}

int __real_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice) {
    REFUSE_IF(is_amid(at), -1);
    return __real_madvise(at, whole(bytes), advice);
}

void *__real_mremap(void *at, size_t old_bytes, size_t new_bytes, int flags, ...);
void *__wrap_mremap(void *at, size_t old_bytes, size_t new_bytes, int flags);
void *__wrap_mremap(void *at, size_t old_bytes, size_t new_bytes, int flags) {
    REFUSE_IF(is_amid(at) || flags != MREMAP_MAYMOVE, MAP_FAILED);
    void *const there = __real_mremap(at, whole(old_bytes), whole(new_bytes), 0);
    if (there != MAP_FAILED)
        return there;
    void *const place = map_anywhere(whole(new_bytes), PROT_NONE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return place == MAP_FAILED ? place
                               : __real_mremap(at, whole(old_bytes), whole(new_bytes),
                                               MREMAP_MAYMOVE | MREMAP_FIXED, place);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
    long a[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_process_madvise) { // ranges that it would have to look at
        errno = ENOSYS;
        return -1;
    }
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
