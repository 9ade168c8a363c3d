// SPDX-License-Identifier: Apache-2.0
// Which of a huge page's 256 pages are used, free, or free and returned to the OS. Pure bit work:
// no lock, no list, no system call; the span heap calls it under its lock.
#ifndef LARDER_HEAP_HUGE_PAGE_H
#define LARDER_HEAP_HUGE_PAGE_H

#include "base/config.h"

#include <stdbool.h>
#include <stdint.h>

enum huge_state {
    HUGE_NONE,    // beyond the pools
    HUGE_FREE,    // member of a free run of whole huge pages
    HUGE_PARTIAL, // some pages used, some free; on a filler list
    HUGE_FULL,    // all pages used
};

// What the kernel was told of this huge page.
enum huge_thp {
    HUGE_AS_MAPPED,
    HUGE_ASKED,   // to back it whole
    HUGE_REFUSED, // not to: some of its pages were returned and are not to come back by themselves
};

struct huge_page {
    uint64_t used[4]; // bit set: the page belongs to a span, or is in transition
    uint64_t
        clean[4]; // bit set: free, holds no memory, reads as zero when touched. clean & used == 0
    uint16_t used_count;  // bits set in used
    uint16_t clean_count; // bits set in clean
    uint16_t longest;     // longest run of pages not used
    uint8_t state;        // enum huge_state
    uint8_t list;         // which set of lists it is on, filler.c
    uint32_t next;        // huge page numbers; 0 ends a list, because page 0 holds the maps
    uint32_t prev;
    uint32_t run;  // HUGE_FREE: huge pages in the run, valid at its first and last member
    uint8_t tag;   // HUGE_FREE: the run is clean; valid at its first and last member
    uint8_t dense; // the span that was first in it is of a kind that is touched, filler.c
    uint8_t thp;   // enum huge_thp
    uint8_t hole;  // HUGE_PARTIAL: what its free pages count as, filler.c
};

static_assert(sizeof(struct huge_page) == 88, "22 words for 2 MiB");

// First page of the lowest free run of at least `pages` that begins at a multiple of `align` (a
// power of two, in pages); LR_PAGES_PER_HUGE if there is none.
unsigned lr_huge_find(const struct huge_page *huge, unsigned pages, unsigned align);

// Marks [first, first+pages) used; returns how many of them were clean.
unsigned lr_huge_take(struct huge_page *huge, unsigned first, unsigned pages);

// Marks [first, first+pages) free, and clean if `clean`.
void lr_huge_give(struct huge_page *huge, unsigned first, unsigned pages, bool clean);

// The kernel backs the empty huge page whole at its first touch: no page of it counts as clean
// then.
void lr_huge_populate(struct huge_page *huge);

// True if none of [first, first+pages) is used.
bool lr_huge_range_free(const struct huge_page *huge, unsigned first, unsigned pages);

// The next run of pages at or after `from` that are free and not clean: sets *first, returns its
// length, 0 if there is none.
unsigned lr_huge_next_dirty(const struct huge_page *huge, unsigned from, unsigned *first);

// The first dirty range whose ends lie on borders of OS pages: sets *first, returns its length, at
// most about `most` pages; 0 if there is none.
size_t lr_huge_dirty_hole(const struct huge_page *huge, size_t most, unsigned *first);

#endif
