// SPDX-License-Identifier: Apache-2.0
// Address space: reserve, commit, give back.
#include "os/os.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

enum {
    // Linux 6.14: process_madvise() on ourselves without a pidfd. The thread, because the one that
    // stands for the process has another number before 6.17, and no memory once main() has ended
    // by pthread_exit().
    PIDFD_SELF_THREAD = -10000,
    PURGE_BATCH = 64,
};

static size_t page_bytes;
static atomic_u32 guards_by_marks;      // relaxed: set before the first such guard is needed again
static atomic_u32 guards_by_protection; // the same
static atomic_u32 batch_unsupported;    // relaxed: a stale 0 costs one failing system call

void lr_os_init(void) { page_bytes = (size_t)sysconf(_SC_PAGESIZE); }

size_t lr_os_page_bytes(void) { return page_bytes; }

static void *map_anonymous(void *hint, size_t bytes, int protection, int flags) {
    void *p = mmap(hint, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

// Maps `bytes` + `align` and cuts off what lies outside the aligned part.
static void *map_aligned(size_t bytes, size_t align, int protection, int flags) {
    size_t slack = align > page_bytes ? align : 0;
    if (bytes + slack < bytes) {
        return NULL;
    }
    char *raw = map_anonymous(NULL, bytes + slack, protection, flags);
    if (raw == NULL || slack == 0) {
        return raw;
    }
    char *aligned = (char *)lr_align_up((size_t)raw, align);
    size_t head = (size_t)(aligned - raw);
    if (head != 0) {
        munmap(raw, head);
    }
    if (slack != head) {
        munmap(aligned + bytes, slack - head);
    }
    return aligned;
}

void *lr_os_reserve(size_t bytes, size_t align) {
    void *p = map_aligned(bytes, align, PROT_NONE, MAP_NORESERVE);
    if (p != NULL) {
        madvise(p, bytes, MADV_DONTDUMP); // gcore writes inaccessible pages too
    }
    return p;
}

bool lr_os_commit(void *addr, size_t bytes, bool reserved) {
    if (reserved) {
        if (mprotect(addr, bytes, PROT_READ | PROT_WRITE) != 0) {
            return false;
        }
        madvise(addr, bytes, MADV_DODUMP);
        return true;
    }
    void *p = map_anonymous(addr, bytes, PROT_READ | PROT_WRITE, MAP_FIXED_NOREPLACE);
    if (p == addr) {
        return true;
    }
    if (p != NULL) {
        munmap(p, bytes); // a kernel before 4.17 takes the address as a hint only
        errno = EEXIST;
    }
    return false;
}

bool lr_os_is_unmapped(void *addr, size_t bytes) {
    void *p = map_anonymous(addr, bytes, PROT_NONE, MAP_NORESERVE | MAP_FIXED_NOREPLACE);
    return p != NULL && munmap(p, bytes) == 0 && p == addr;
}

bool lr_os_purge(void *addr, size_t bytes) { return madvise(addr, bytes, MADV_DONTNEED) == 0; }

// One process_madvise() for up to PURGE_BATCH ranges; the number of leading ranges done, 0 if the
// kernel cannot (it accepts MADV_DONTNEED on ourselves since Linux 6.13).
static size_t purge_batch(const struct lr_os_range *ranges, size_t count) {
    struct iovec vec[PURGE_BATCH];
    for (size_t i = 0; i < count; i++) {
        vec[i] = (struct iovec){.iov_base = ranges[i].addr, .iov_len = ranges[i].bytes};
    }
#ifdef SYS_process_madvise
    ssize_t done = syscall(SYS_process_madvise, PIDFD_SELF_THREAD, vec, count, MADV_DONTNEED, 0);
#else
    ssize_t done = -1;
#endif
    if (done < 0) {
        return 0;
    }
    size_t whole = 0;
    for (size_t left = (size_t)done; whole < count && left >= vec[whole].iov_len; whole++) {
        left -= vec[whole].iov_len;
    }
    return whole;
}

size_t lr_os_purge_ranges(const struct lr_os_range *ranges, size_t count, uint64_t *calls) {
    size_t done = 0;
    while (done < count) {
        size_t part = lr_min(count - done, PURGE_BATCH);
        if (part > 1 && lr_load_relaxed(&batch_unsupported) == 0) {
            size_t whole = purge_batch(ranges + done, part);
            (*calls)++;
            done += whole;
            if (whole == part) {
                continue;
            }
            if (whole == 0) {
                lr_store_relaxed(&batch_unsupported, 1);
            }
        }
        if (done == count) {
            break;
        }
        (*calls)++;
        if (!lr_os_purge(ranges[done].addr, ranges[done].bytes)) {
            return done;
        }
        done++;
    }
    return done;
}

void *lr_os_map(size_t bytes, size_t align) {
    return map_aligned(bytes, align, PROT_READ | PROT_WRITE, 0);
}

void lr_os_unmap(void *addr, size_t bytes) { munmap(addr, bytes); }

void *lr_os_remap(void *addr, size_t old_bytes, size_t new_bytes) {
    void *p = mremap(addr, old_bytes, new_bytes, MREMAP_MAYMOVE);
    return p == MAP_FAILED ? NULL : p;
}

// By pages' marks (Linux 6.13), which cost no mapping, or by protection, which splits mappings. The
// marks are refused for locked memory.
bool lr_os_guard(void *addr, size_t bytes) {
    if (madvise(addr, bytes, MADV_GUARD_INSTALL) == 0) {
        lr_store_relaxed(&guards_by_marks, 1);
        return true;
    }
    lr_store_relaxed(&guards_by_protection, 1);
    return mprotect(addr, bytes, PROT_NONE) == 0;
}

bool lr_os_unguard(void *addr, size_t bytes) {
    bool removed = madvise(addr, bytes, MADV_GUARD_REMOVE) == 0;
    if (!removed && lr_load_relaxed(&guards_by_marks) != 0) {
        // A filter of system calls, put on since, may forbid it: nothing is lost with the mapping.
        return map_anonymous(addr, bytes, PROT_READ | PROT_WRITE, MAP_FIXED) == addr;
    }
    if (lr_load_relaxed(&guards_by_protection) == 0) {
        return removed;
    }
    return mprotect(addr, bytes, PROT_READ | PROT_WRITE) == 0;
}

bool lr_os_seal(void *addr, size_t bytes) {
    if (mprotect(addr, bytes, PROT_READ) != 0) {
        return false;
    }
    syscall(SYS_mseal, addr, bytes, 0);
    return true;
}

void lr_os_huge_pages(void *addr, size_t bytes, bool wanted) {
    madvise(addr, bytes, wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

size_t lr_os_touched_bytes(void *addr, size_t bytes) {
    unsigned char pages[(2 << 20) / 4096];
    size_t count = bytes / lr_os_page_bytes();
    size_t resident = 0;
    if (count > sizeof pages || mincore(addr, bytes, pages) != 0) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        resident += pages[i] & 1;
    }
    return resident * lr_os_page_bytes();
}

void lr_os_name_range(void *addr, size_t bytes, const char *name) {
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, bytes, name);
}
