// SPDX-License-Identifier: Apache-2.0
// Central free lists: for each size class the spans that have free objects, fullest first, so that
// the others empty out and go back to the span heap. One lock a class; it is dropped before the
// span heap is entered.
#ifndef LARDER_CACHE_CENTRAL_H
#define LARDER_CACHE_CENTRAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/size_class.h"
#include "heap/span.h"
#include "sync/lock.h"

// Fills out[0..n) with free objects, most of them in falling address order so that a stack that is
// popped from its end gives rising addresses. Fewer than `most` (at least 1) only when memory is
// short; 0: out of memory.
unsigned lr_central_remove(unsigned size_class, void **out, unsigned most);
// The same from spans that are there: none is allocated.
unsigned lr_central_remove_held(unsigned size_class, void **out, unsigned most);

// Takes objects back. Each is checked: reported if it is not the start of an object that is handed
// out (invalid or double free), and then left alone.
void lr_central_insert(unsigned size_class, void *const *objects, unsigned count);

// Gives the one empty span that each class keeps back to the span heap.
void lr_central_release_spares(void);

// ---- For span_pages.c: pages without a live object in spans that are in use ----

struct central_claim {
    struct span *span; // stays: its objects in the units count as handed out
    uint32_t units;    // as in span->clean
};

// Claims such pages of one span that hold memory, the emptiest spans first. Spans are looked at
// once after each change; each look is taken from *looks. False: nothing found.
bool lr_central_claim_pages(unsigned size_class, struct central_claim *claim, unsigned *looks);
void lr_central_return_pages(unsigned size_class, const struct central_claim *claim, bool clean);

// What nobody has asked for since the last call.
struct central_unused {
    size_t bytes; // of free objects, those in returned pages left out
    bool used;    // others were asked for meanwhile
};
struct central_unused lr_central_take_unused(unsigned size_class);

struct central_counts {
    size_t spans;
    size_t free_objects;
    size_t clean_bytes;      // in returned pages of spans that are in use;
    size_t clean_tail_bytes; // of them, at the ends of spans
};
struct central_counts lr_central_counts(unsigned size_class);
struct lr_lock *lr_central_lock(unsigned size_class);
// False: no block of the class has ever been asked for. Who looks at all classes saves most of it.
bool lr_central_is_used(unsigned size_class);

// Spans of the class by how many of their objects are handed out, as struct larder_span_fills.
enum { LR_CENTRAL_FILLS = 10 };
void lr_central_fills(unsigned size_class, uint32_t fills[LR_CENTRAL_FILLS]);

#endif
