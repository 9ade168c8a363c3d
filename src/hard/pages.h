// SPDX-License-Identifier: Apache-2.0
// In hardened mode, blocks above LR_SLAB_MAX: pages of their own between two guards. Freed ones
// lose their memory, cannot be accessed, and keep their address for a while.
#ifndef LARDER_HARD_PAGES_H
#define LARDER_HARD_PAGES_H

#include "hard/verdict.h"
#include "heap/span.h"
#include "sync/lock.h"

extern struct lr_lock lr_pages_lock;

// A block of `size` bytes, which read as zero, at `align`, a power of two. NULL: out of memory.
void *lr_pages_alloc(size_t size, size_t align);
// As lr_pages_alloc() for a block of more than LR_SLAB_MAX bytes, with addresses behind it for the
// next lr_pages_resize(). They count as used memory of the heap, and cannot be accessed.
void *lr_pages_alloc_to_grow(size_t size);
// As lr_slab_free(), lr_slab_bytes(), lr_slab_resize(); a block can get up to half as short, too.
void lr_pages_free(struct span *span, void *block, struct lr_verdict *verdict);
size_t lr_pages_bytes(struct span *span, const void *block, struct lr_verdict *verdict);
// Where the block of the span begins, live or not.
const char *lr_pages_start(struct span *span);
bool lr_pages_resize(struct span *span, void *block, size_t size, struct lr_verdict *verdict);

// Looks at all live blocks; true if all is well, else *verdict is the first fault.
bool lr_pages_check(struct lr_verdict *verdict);

// A span of any kind that is of no use any more: nobody can access it from now on, and its pages go
// back to the span heap when it has been among the quarantined ones for long enough.
void lr_pages_quarantine(struct span *span);
// All of them go back at once.
void lr_pages_reclaim(void);

struct lr_pages_counts {
    size_t blocks; // live
    size_t block_bytes;
    size_t room_bytes; // of whole OS pages
    size_t quarantined_pages;
};
struct lr_pages_counts lr_pages_counts(void);

#endif
