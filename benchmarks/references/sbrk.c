// SPDX-License-Identifier: Apache-2.0
// sbrk: the malloc that textbooks begin with. The heap is what sbrk() gave; free blocks are one
// list in order of address; the first one that is large enough is taken, and its rest stays in the
// list; a block that comes back is joined with its neighbours. One lock guards all of it.

#include "family.h"

#include <pthread.h>
#include <unistd.h>

// In front of every block. Blocks lie back to back but for what others may have taken by sbrk().
struct header {
    size_t bytes;        // of header and block together; a multiple of ALIGNMENT
    struct header *next; // the next free one by address; only if this one is free
};
_Static_assert(sizeof(struct header) == ALIGNMENT, "a header must not spoil the alignment");

enum {
    GROW_BYTES = 128 * 1024,                      // least that sbrk() is asked for
    MIN_BYTES = sizeof(struct header) + ALIGNMENT // of a block with header
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct header *first_free; // guarded by: lock

static struct header *header_of(const void *block) { return (struct header *)(uintptr_t)block - 1; }

static struct header *after(struct header *block) {
    return (struct header *)(void *)((char *)block + block->bytes);
}

static void put_locked(struct header *block) {
    struct header *before = NULL;
    struct header **link = &first_free;
    while (*link != NULL && *link < block) {
        before = *link;
        link = &before->next;
    }
    block->next = *link;
    *link = block;
    if (block->next != NULL && after(block) == block->next) {
        block->bytes += block->next->bytes;
        block->next = block->next->next;
    }
    if (before != NULL && after(before) == block) {
        before->bytes += block->bytes;
        before->next = block->next;
    }
}

// Cuts a block behind `bytes` bytes and puts the rest into the list, if that can be a block.
static void trim_locked(struct header *block, size_t bytes) {
    if (block->bytes - bytes < MIN_BYTES)
        return;
    const size_t rest = block->bytes - bytes;
    block->bytes = bytes;
    after(block)->bytes = rest;
    put_locked(after(block));
}

// More memory for the list; false if the system has none.
static bool grow_locked(size_t bytes) {
    const size_t ask = (bytes > GROW_BYTES ? bytes : GROW_BYTES) + ALIGNMENT;
    if (ask > PTRDIFF_MAX)
        return false;
    char *got = sbrk((intptr_t)ask);
    if ((intptr_t)got == -1)
        return false;
    const size_t skip = -(uintptr_t)got & (ALIGNMENT - 1);
    struct header *block = (struct header *)(void *)(got + skip);
    block->bytes = (ask - skip) & ~(size_t)(ALIGNMENT - 1);
    put_locked(block);
    return true;
}

// The first free block of at least `bytes` bytes, out of the list; NULL if there is none.
static struct header *find_locked(size_t bytes) {
    for (struct header **link = &first_free; *link != NULL; link = &(*link)->next) {
        struct header *block = *link;
        if (block->bytes < bytes)
            continue;
        const size_t rest = block->bytes - bytes;
        if (rest < MIN_BYTES) {
            *link = block->next;
        } else {
            struct header *next = block->next;
            block->bytes = bytes;
            after(block)->bytes = rest;
            after(block)->next = next;
            *link = after(block);
        }
        return block;
    }
    return NULL;
}

// Bytes of a block for this request, header included; 0 if no block can have them.
static size_t whole(size_t bytes) {
    if (bytes > PTRDIFF_MAX - 2 * MIN_BYTES)
        return 0;
    const size_t total = (bytes + sizeof(struct header) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    return total < MIN_BYTES ? MIN_BYTES : total;
}

static struct header *alloc_locked(size_t total) {
    struct header *block = find_locked(total);
    if (block == NULL && grow_locked(total))
        block = find_locked(total);
    return block;
}

static void *reference_alloc(size_t bytes, bool *zeroed) {
    *zeroed = false;
    const size_t total = whole(bytes);
    struct header *block = NULL;
    if (total != 0) {
        pthread_mutex_lock(&lock);
        block = alloc_locked(total);
        pthread_mutex_unlock(&lock);
    }
    if (block == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    return block + 1;
}

// A block that is large enough for any place in it, cut at both ends.
static void *reference_alloc_aligned(size_t alignment, size_t bytes) {
    const size_t total = whole(bytes);
    const size_t room = alignment <= PTRDIFF_MAX / 2 && total != 0 ? whole(bytes + alignment) : 0;
    struct header *block = NULL;
    if (room != 0) {
        pthread_mutex_lock(&lock);
        block = alloc_locked(room + MIN_BYTES);
        if (block != NULL) {
            size_t skip = -(uintptr_t)(block + 1) & (alignment - 1);
            if (skip != 0 && skip < MIN_BYTES)
                skip += alignment;
            if (skip != 0) {
                struct header *front = block;
                block = (struct header *)(void *)((char *)front + skip);
                block->bytes = front->bytes - skip;
                front->bytes = skip;
                put_locked(front);
            }
            trim_locked(block, total);
        }
        pthread_mutex_unlock(&lock);
    }
    if (block == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    return block + 1;
}

static void reference_free(void *block) {
    pthread_mutex_lock(&lock);
    put_locked(header_of(block));
    pthread_mutex_unlock(&lock);
}

static size_t reference_usable(const void *block) {
    return header_of(block)->bytes - sizeof(struct header);
}

static bool reference_grow(void *block, size_t bytes) {
    (void)block;
    (void)bytes;
    return false;
}

static void lock_for_fork(void) { pthread_mutex_lock(&lock); }

static void unlock_after_fork(void) { pthread_mutex_unlock(&lock); }

// A child of a fork must not find the lock held by a thread that it does not have.
static __attribute__((constructor)) void start(void) {
    pthread_atfork(lock_for_fork, unlock_after_fork, unlock_after_fork);
}
