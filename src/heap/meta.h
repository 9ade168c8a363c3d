// SPDX-License-Identifier: Apache-2.0
// Memory for our own records, recycled by size; what is free for long goes back to the OS.
// Records never share an OS page with blocks of the program.
#ifndef LARDER_HEAP_META_H
#define LARDER_HEAP_META_H

#include "base/config.h"
#include "sync/lock.h"

#define LR_META_GRANULE ((size_t)64) // a cache line: records of two threads never share one

// `bytes` (at most LR_META_LARGEST) rounded up to a multiple of 64 up to 256, then to a power of
// two. The contents are not defined. NULL: out of memory. Takes the META lock; may call the OS.

#define LR_META_LARGEST (LR_MIB)
void *lr_meta_alloc(size_t bytes);
void lr_meta_free(void *record, size_t bytes);

// Makes sure that `more` bytes can be allocated without asking the OS, and `all` altogether as far
// as the window has room for records; false if it refuses. Pools call it in proportion to their
// size: when address space runs out, records must not be the reason.
bool lr_meta_prepare(size_t more, size_t all);

// Gives whole free OS pages back: those that were free ever since the last call, or `all`. How many
// bytes went. No lock of Larder may be held.
size_t lr_meta_release(bool all);
// What such calls may still give back.
size_t lr_meta_dirty_bytes(void);

// Bytes of records that hold memory, free ones included, and what keeps book of them (the maps not
// counted).
size_t lr_meta_used_bytes(void);
extern struct lr_lock lr_meta_lock;

#endif
