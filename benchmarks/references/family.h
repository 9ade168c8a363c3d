// SPDX-License-Identifier: Apache-2.0
// The malloc family on top of five functions. A reference allocator includes this once, in its one
// source file, and defines the five as static: so they are inlined and nothing stands between the
// caller and the allocator that is shown.

#ifndef LARDER_BENCHMARKS_REFERENCES_FAMILY_H
#define LARDER_BENCHMARKS_REFERENCES_FAMILY_H

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIGNMENT = 16, // bytes; of every block
    PAGE = 4096,    // bytes
};

// A block of at least `bytes` bytes; NULL with errno ENOMEM where there is no memory. Any number of
// bytes may be asked for. *zeroed becomes true if the block is known to hold nothing but zeros.
static void *reference_alloc(size_t bytes, bool *zeroed);

// The same with an alignment that is a power of two and more than ALIGNMENT.
static void *reference_alloc_aligned(size_t alignment, size_t bytes);

// Takes a block back; not NULL. errno stays as it is.
static void reference_free(void *block);

// Bytes that the block can hold.
static size_t reference_usable(const void *block);

// Makes room for `bytes` bytes where the block lies; false if that cannot be done.
static bool reference_grow(void *block, size_t bytes);

#pragma GCC visibility push(default)

void *malloc(size_t bytes) {
    bool zeroed;
    return reference_alloc(bytes, &zeroed);
}

void free(void *block) {
    if (block != NULL)
        reference_free(block);
}

void *calloc(size_t count, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    bool zeroed = false;
    void *block = reference_alloc(total, &zeroed);
    return block == NULL || zeroed ? block : memset(block, 0, total);
}

void *realloc(void *block, size_t bytes) {
    if (block == NULL)
        return malloc(bytes);
    if (bytes == 0) {
        reference_free(block);
        return NULL;
    }
    const size_t usable = reference_usable(block);
    if (bytes <= usable || reference_grow(block, bytes))
        return block;
    void *moved = malloc(bytes);
    if (moved != NULL) {
        memcpy(moved, block, usable);
        reference_free(block);
    }
    return moved;
}

void *reallocarray(void *block, size_t count, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(block, total);
}

// Rounds the alignment up to a power of two, as that of libc does.
void *memalign(size_t alignment, size_t bytes) {
    if (alignment > PTRDIFF_MAX) {
        errno = EINVAL;
        return NULL;
    }
    size_t power = ALIGNMENT;
    while (power < alignment)
        power *= 2;
    return power == ALIGNMENT ? malloc(bytes) : reference_alloc_aligned(power, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        errno = EINVAL;
        return NULL;
    }
    return memalign(alignment, bytes);
}

int posix_memalign(void **block, size_t alignment, size_t bytes) {
    if (alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0)
        return EINVAL;
    const int before = errno;
    void *aligned = memalign(alignment, bytes);
    errno = before;
    if (aligned == NULL)
        return ENOMEM;
    *block = aligned;
    return 0;
}

void *valloc(size_t bytes) { return memalign(PAGE, bytes); }

void *pvalloc(size_t bytes) {
    if (bytes > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    return memalign(PAGE, (bytes + PAGE - 1) & ~(size_t)(PAGE - 1));
}

size_t malloc_usable_size(void *block) { return block == NULL ? 0 : reference_usable(block); }

#pragma GCC visibility pop

#endif
