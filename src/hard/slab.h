// SPDX-License-Identifier: Apache-2.0
// Slabs: in hardened mode, spans of slots of one size for blocks of up to LR_SLAB_MAX bytes, each
// followed by a guard page. A free slot is all zero; who takes one gets a random one. A freed slot
// waits in the quarantine of its class, in random order, before it may be taken again.
//
// What is known of a slot (its state and how much of it was asked for) lies in the descriptor of
// the span, apart from all blocks. One lock a class. Blocks of no bytes have a class of their own,
// whose slabs cannot be accessed at all.
#ifndef LARDER_HARD_SLAB_H
#define LARDER_HARD_SLAB_H

#include "base/config.h"
#include "hard/verdict.h"
#include "heap/span.h"
#include "sync/lock.h"

#define LR_SLAB_MAX (32 * LR_KIB)

// The class of slots for `size` bytes and a canary at `align` (a power of two); 0 if there is none.
unsigned lr_slab_class(size_t size, size_t align);
enum { LR_SLAB_CLASSES = LR_CLASS_COUNT + 1 }; // 1 to LR_SLAB_CLASSES - 1

// A block of `size` bytes, which read as zero. NULL: out of memory. *verdict: LR_FAULT_WRITTEN.
void *lr_slab_alloc(unsigned size_class, size_t size, struct lr_verdict *verdict);

// The block is freed unless *verdict says that it is none (LR_FAULT_NOT_A_BLOCK, LR_FAULT_FREED).
void lr_slab_free(struct span *span, void *block, struct lr_verdict *verdict);

// Memory is short: what waits in the quarantine of the class becomes free, and its empty slabs go
// to that of pages. *verdict: LR_FAULT_WRITTEN. No lock of Larder may be held.
void lr_slab_reclaim(unsigned size_class, struct lr_verdict *verdict);

// Bytes that were asked for; 0 with a *verdict if it is no block.
size_t lr_slab_bytes(struct span *span, const void *block, struct lr_verdict *verdict);

// Where the slot begins that the pointer, which leads into the span, lies in; the slot may be free,
// or none at all.
const char *lr_slab_slot(struct span *span, const void *inside);

// Makes the block `size` bytes long if its slot is the right one for that; false, with nothing
// changed, if not.
bool lr_slab_resize(struct span *span, void *block, size_t size, struct lr_verdict *verdict);

// Looks at all slots of the class; true if all is well, else *verdict is the first fault.
bool lr_slab_check(unsigned size_class, struct lr_verdict *verdict);

struct lr_slab_counts {
    size_t slot_bytes; // 0 for blocks of no bytes
    size_t slots;      // of a slab
    size_t slab_bytes; // of its slots' pages
    size_t slabs;
    size_t live; // slots
    size_t live_bytes;
    size_t quarantined; // slots
};
struct lr_slab_counts lr_slab_counts(unsigned size_class);
struct lr_lock *lr_slab_lock(unsigned size_class);

#endif
