// SPDX-License-Identifier: Apache-2.0
// Large blocks outside the window, each a mapping of its own: for alignments beyond the window's,
// for the day the window is full, and for blocks that grow on and on.
#ifndef LARDER_HEAP_DIRECT_H
#define LARDER_HEAP_DIRECT_H

#include <stdbool.h>
#include <stddef.h>

#include "sync/lock.h"

extern struct lr_lock lr_direct_lock;

// NULL: out of memory. The memory reads as zero.
void *lr_direct_alloc(size_t bytes, size_t align);
// False if the pointer is not such a block.
bool lr_direct_free(void *start);
// Changes the length; the block may move. NULL, with nothing changed, if the pointer is not such a
// block or the kernel refuses.
void *lr_direct_resize(void *start, size_t bytes);
// 0 if the pointer is not such a block.
size_t lr_direct_bytes(const void *start);

// Bytes from anywhere in such a block to its end; 0 if the pointer leads into none. Looks at all.
size_t lr_direct_bytes_from(const void *inside);

// Moves a cursor, all zero at first, to the next block; those that come or move meanwhile are met
// or not. False: there is none left.
struct direct_cursor {
    unsigned bucket;
    void *start;
    size_t bytes;
};
bool lr_direct_next(struct direct_cursor *cursor);

struct direct_counts {
    size_t blocks;
    size_t bytes;
};
struct direct_counts lr_direct_counts(void);
size_t lr_direct_held_pages(void); // racy

#endif
