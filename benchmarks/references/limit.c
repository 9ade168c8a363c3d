// SPDX-License-Identifier: Apache-2.0
// limit: a pointer per thread that is moved on by each malloc; free does nothing. It is the floor
// of what a call can cost, with what it costs never to use memory twice: every block is fresh, so
// page faults and cache misses are in its figures.
//
// Memory is one mapping, half as large as the memory that is free at the first call; when that is
// used up malloc returns NULL, so that a run under this allocator fails instead of the machine.
// Threads take pieces of it by an atomic addition. A word in front of a block holds its size.

#include "family.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

enum {
    PIECE_BYTES = 256 * 1024, // what a thread takes at a time
    HEADER_BYTES = 8,
};

// At the beginning of the mapping.
struct region {
    size_t bytes;         // of the mapping; immutable once it is published
    _Atomic(size_t) used; // bytes handed out, this structure included; may pass `bytes`
};

// Where a thread's next block goes; both NULL in a thread that has none yet.
struct bump {
    char *next; // a multiple of ALIGNMENT, at most end
    char *end;  // the last block ends HEADER_BYTES in front of this
};

static _Thread_local __attribute__((tls_model("initial-exec"))) struct bump bump;

static _Atomic(struct region *) the_region; // NULL before the first call

// Maps the memory; NULL if that cannot be done. Threads that come here at the same time all do it,
// and all but one take theirs back.
static struct region *start(void) {
    struct sysinfo info;
    if (sysinfo(&info) != 0)
        return NULL;
    const size_t bytes = (size_t)info.freeram * info.mem_unit / 2 / PIECE_BYTES * PIECE_BYTES;
    struct region *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED)
        return NULL;
    mapped->bytes = bytes;
    atomic_init(&mapped->used, PAGE);
    struct region *winner = NULL;
    if (atomic_compare_exchange_strong(&the_region, &winner, mapped))
        return mapped;
    munmap(mapped, bytes);
    return winner;
}

// `bytes` bytes of the mapping, a multiple of PAGE; NULL with errno ENOMEM if there are no more.
static char *take(size_t bytes) {
    struct region *region = atomic_load(&the_region);
    if (region == NULL)
        region = start();
    if (region != NULL && bytes < region->bytes) {
        const size_t at = atomic_fetch_add(&region->used, bytes);
        if (at <= region->bytes - bytes)
            return (char *)region + at;
        atomic_fetch_sub(&region->used, bytes);
    }
    errno = ENOMEM;
    return NULL;
}

static size_t *header_of(const void *block) { return (size_t *)(uintptr_t)block - 1; }

// The bytes that a block for this request can hold: in front of the next block, which is aligned
// too, is its header. Less than `bytes` where the sum overflows.
static size_t rounded(size_t bytes) {
    return ((bytes + HEADER_BYTES + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1)) - HEADER_BYTES;
}

// Whether a block for `bytes` bytes that begins at `block` ends in the thread's piece.
static bool fits(const char *block, size_t bytes) {
    const size_t usable = rounded(bytes);
    return usable + HEADER_BYTES <= (size_t)(bump.end - block) && usable >= bytes;
}

static void *place(char *block, size_t bytes) {
    const size_t usable = rounded(bytes);
    *header_of(block) = usable;
    bump.next = block + usable + HEADER_BYTES;
    return block;
}

// A block with pages of its own, or the first one of a new piece.
static __attribute__((noinline)) void *alloc_slow(size_t alignment, size_t bytes) {
    if (bytes > PTRDIFF_MAX / 2 || alignment > PTRDIFF_MAX / 4) {
        errno = ENOMEM;
        return NULL;
    }
    const size_t need = (rounded(bytes) + alignment + ALIGNMENT + PAGE - 1) & ~(size_t)(PAGE - 1);
    const bool own_pages = need > PIECE_BYTES / 4;
    char *piece = take(own_pages ? need : PIECE_BYTES);
    if (piece == NULL)
        return NULL;
    const size_t skip = HEADER_BYTES + (-((uintptr_t)piece + HEADER_BYTES) & (alignment - 1));
    if (own_pages) {
        *header_of(piece + skip) = rounded(bytes);
        return piece + skip;
    }
    bump.end = piece + PIECE_BYTES;
    return place(piece + skip, bytes);
}

static inline void *reference_alloc(size_t bytes, bool *zeroed) {
    *zeroed = true; // of a mapping without a file, and used for the first time
    if (__builtin_expect(!fits(bump.next, bytes), 0))
        return alloc_slow(ALIGNMENT, bytes);
    return place(bump.next, bytes);
}

static void *reference_alloc_aligned(size_t alignment, size_t bytes) {
    const size_t skip = -(uintptr_t)bump.next & (alignment - 1);
    if (skip >= (size_t)(bump.end - bump.next) || !fits(bump.next + skip, bytes))
        return alloc_slow(alignment, bytes);
    return place(bump.next + skip, bytes);
}

static inline void reference_free(void *block) { (void)block; }

static inline size_t reference_usable(const void *block) { return *header_of(block); }

// The thread's last block can grow into what comes behind it.
static bool reference_grow(void *block, size_t bytes) {
    char *begin = block;
    if (begin + *header_of(block) + HEADER_BYTES != bump.next || !fits(begin, bytes))
        return false;
    place(begin, bytes);
    return true;
}
