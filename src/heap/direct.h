// SPDX-License-Identifier: Apache-2.0
// Large blocks outside the window, each a mapping of its own: for alignments beyond the window's
// and for the day the window is full.
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
// 0 if the pointer is not such a block.
size_t lr_direct_bytes(const void *start);

struct direct_counts {
    size_t blocks;
    size_t bytes;
};
struct direct_counts lr_direct_counts(void);

#endif
