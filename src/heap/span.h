// SPDX-License-Identifier: Apache-2.0
// A span: consecutive pages that hold blocks of one size class, or one large block.
//
//   object_count == free_objects + objects handed out (to the program or to a cache above)
//   free objects are: those with their bit set, and all from `fresh` on, which have no bit yet
//   a unit is clean when it was returned and no object in it has been handed out since
//
// States: in the span heap a range of pages has no span; a small span is owned by the central free
// list of its class from creation to release; a large span belongs to the program.
#ifndef LARDER_HEAP_SPAN_H
#define LARDER_HEAP_SPAN_H

#include "heap/window.h"

struct span {
    uint32_t first_page;
    uint32_t page_count;   // large: changed by the owner of the block under the span-heap lock
    uint16_t object_count; // 1 for a large block
    uint16_t free_objects; // guarded by: central lock of the class
    uint16_t fresh;     // guarded by: central lock of the class; objects from here were never used
    uint8_t size_class; // 0: large
    uint8_t bucket;     // guarded by: central lock of the class; which list it is on
    uint8_t zeroed : 1; // as page_count; the pages read as zero when the span got them
    uint8_t is_private : 1; // immutable; its maker keeps records of its own in `bits`
    uint8_t touched; // guarded by: central lock of the class; took objects back under this hold
    uint16_t record_bytes; // of this descriptor, for its return
    uint32_t clean;        // guarded by: central lock of the class; bit set: the unit was returned
    struct span *next;     // guarded by: central lock of the class
    struct span *prev;
    uint64_t bits[]; // guarded by: central lock of the class; set: recycled and free
};

#define LR_SPAN_UNLISTED UINT8_MAX // value of `bucket`: on no list

static_assert(sizeof(struct span) == 40, "a descriptor of up to 192 objects is one cache line");

// Pages of a small span go back to the system in units, a bit each in `clean`.
enum { LR_SPAN_UNITS = 32 };
static inline uint32_t lr_span_unit_pages(uint32_t page_count) {
    return page_count <= LR_SPAN_UNITS ? 1 : 2;
}

static inline char *lr_span_start(const struct span *span) {
    return lr_page_address(span->first_page);
}

static inline size_t lr_span_bytes(const struct span *span) {
    return (size_t)span->page_count << LR_PAGE_SHIFT;
}

#endif
