// SPDX-License-Identifier: Apache-2.0
// Central free lists: for each size class the spans that have free objects, fullest first, so that
// the others empty out and go back to the span heap. One lock a class; it is dropped before the
// span heap is entered.
#ifndef LARDER_CACHE_CENTRAL_H
#define LARDER_CACHE_CENTRAL_H

#include "cache/size_class.h"
#include "heap/span.h"
#include "sync/lock.h"

// Fills out[0..n) with free objects, most of them in falling address order so that a stack that is
// popped from its end gives rising addresses. Fewer than `most` (at least 1) only when memory is
// short; 0: out of memory.
unsigned lr_central_remove(unsigned size_class, void **out, unsigned most);

// Takes objects back. Each is checked: reported if it is not the start of an object that is handed
// out (invalid or double free), and then left alone.
void lr_central_insert(unsigned size_class, void *const *objects, unsigned count);

// Gives the one empty span that each class keeps back to the span heap.
void lr_central_release_spares(void);

struct central_counts {
    size_t spans;
    size_t free_objects;
};
struct central_counts lr_central_counts(unsigned size_class);
struct lr_lock *lr_central_lock(unsigned size_class);

#endif
