// SPDX-License-Identifier: Apache-2.0
// Packs the pages in use into few huge pages, so that others stay whole or empty and can go back.
// All under the span-heap lock.
#ifndef LARDER_HEAP_FILLER_H
#define LARDER_HEAP_FILLER_H

#include "heap/span_heap.h"
#include "heap/thp.h"

// What of struct span_heap_counts is about pages is kept here, the rest in span_heap.c.
extern struct span_heap_counts lr_filler_counts LR_HIDDEN;

// What the kernel is to be told: to back the huge pages whole, or not to.
struct filler_tell {
    uint32_t first; // huge page
    uint32_t count;
    bool whole;
};

struct filler_place {
    size_t first; // page; 0: there is no room
    size_t clean; // of its pages, those that were clean
    // Of its whole huge pages, and of one that is begun; `count` 0: nothing.
    struct filler_tell whole, begun;
    size_t rest;       // page: the rest of what is begun is claimed until the kernel was told, or
    size_t rest_pages; // who touches it before gets a small page, and with it all of the huge page
    uint32_t look;     // huge page whose residency says how spans like this one are used; 0: none
    size_t look_pages; // used in it
    enum lr_thp_kind look_kind;
};

// Takes `pages` pages that begin at a multiple of `align` (a power of two), for a user of the heap.
struct filler_place lr_filler_take(size_t pages, size_t align, enum lr_thp_kind kind);
// The same for pages that are free, says lr_filler_is_free(), behind a block that then has
// `block_pages`.
struct filler_place lr_filler_take_at(size_t first, size_t pages, size_t block_pages);
bool lr_filler_is_free(size_t first, size_t pages);

void lr_filler_give(size_t first, size_t pages, bool clean);

// Huge pages of a new pool, clean.
void lr_filler_add(uint32_t first, uint32_t count);
// Huge pages at the end of the last pool that are free and clean: a new pool joins them.
size_t lr_filler_clean_tail(void);

// lr_span_heap_claim_dirty() without the lock.
size_t lr_filler_claim_dirty(size_t most, struct claim_walk *walk, size_t *first_page,
                             size_t *dirty);
// A part of the huge page is about to be returned: true if it has been backed whole so far, and the
// kernel has to be told not to do that again.
bool lr_filler_refuse(uint32_t number);

#endif
