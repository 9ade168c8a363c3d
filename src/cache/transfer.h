// SPDX-License-Identifier: Apache-2.0
// Transfer caches: for each size class a stack of free objects on their way from threads that free
// to threads that allocate. Pointers are moved by memcpy; no object is touched. One lock a class.
#ifndef LARDER_CACHE_TRANSFER_H
#define LARDER_CACHE_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sync/lock.h"

// Fills out[0..n) with up to `most` (at least 1) free objects, from the transfer cache or else the
// central list. 0: out of memory.
unsigned lr_transfer_get(unsigned size_class, void **out, unsigned most);

// Takes objects back; what does not fit goes to the central list.
void lr_transfer_put(unsigned size_class, void *const *objects, unsigned count);

// Scavenger task: what lay unused in every class since the last call goes to the central lists.
// Returns true while objects are left.
bool lr_transfer_age(uint64_t now_ns);

// Everything goes to the central lists and empty spans to the span heap.
void lr_transfer_flush_all(void);

size_t lr_transfer_objects(unsigned size_class); // racy, for statistics
struct lr_lock *lr_transfer_lock(unsigned size_class);

#endif
