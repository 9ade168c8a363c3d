// SPDX-License-Identifier: Apache-2.0
// Which size class serves a request, and the constants of each class.
#ifndef LARDER_CACHE_SIZE_CLASS_H
#define LARDER_CACHE_SIZE_CLASS_H

#include <stdbool.h>

#include "base/atomic.h"
#include "base/attr.h"
#include "base/bits.h"
#include "base/config.h"

struct class_info {
    uint32_t bytes;
    uint32_t reciprocal; // of bytes / 16, see lr_object_index()
    uint16_t pages;      // of a span
    uint16_t objects;    // in a span
    uint16_t batch;      // most objects moved between tiers at once, before LARDER_BATCH_MAX
    uint16_t most;       // most objects in one thread's bin, before LARDER_BIN_OBJECTS_MAX
};

extern const struct class_info lr_classes[LR_CLASS_COUNT] LR_HIDDEN;

// The fast path's table: request in bytes -> byte offset of the bin in a thread cache. An entry a
// byte costs 4 KiB and saves the rounding. Filled at start; before that, all requests find offset
// 0, the bin that is always empty.
extern atomic_u16 lr_bin_offsets[LR_FAST_MAX + 1] LR_HIDDEN;
void lr_size_class_init(void);

// Usable bytes of the blocks of a bin, by its byte offset / LR_OFFSET_STEP: those of both kinds
// that lr_bin_offsets[] leads to. For calloc, whose blocks are zero to their end.
extern uint16_t lr_bin_block_bytes[] LR_HIDDEN; // immutable after lr_size_class_init()

// Requests below this may be served from the ordinary bin by the slow path's first lines: all that
// are small, or none while sampling is on.
extern atomic_sz lr_pop_below LR_HIDDEN;

// Usable bytes of a block of each class as realloc's fast path sees them; all 0 before the start,
// and while realloc is to take the slow path.
extern atomic_u32 lr_resize_bytes[LR_CLASS_COUNT] LR_HIDDEN;
// Whether realloc may leave a block in place without its slow path.
void lr_size_class_set_in_place(bool allowed);

// Leads malloc to the sampling bins (cache/sampler.h), or back. Threads see the change entry by
// entry and late, which is harmless: both bins hold blocks of the class.
void lr_size_class_set_sampling(bool on);

enum {
    LR_BIN_BYTES = 32,
    LR_SAMPLE_BIN_BYTES = 16,
    LR_OFFSET_STEP = 8,           // divides all offsets of bins
    LR_CLASS_OBJECTS_MOST = 1024, // in a span
    LR_SAMPLE_BINS = 41,          // classes 0 up to that of LR_FAST_MAX
};

static inline uint16_t lr_bin_offset(unsigned size_class) {
    return (uint16_t)(size_class * LR_BIN_BYTES);
}

// Any size from 0 to LR_SMALL_MAX.
static inline unsigned lr_class_of(size_t size) {
    if (size <= 256) {
        return size <= LR_MIN_ALIGN ? 1 : (unsigned)((size + 15) / 16);
    }
    // 8 classes a doubling; (size - 1) makes a power of two the last class of its doubling.
    unsigned log = lr_log2_floor(size - 1);
    return 17 + (log - 8) * 8 + (unsigned)(((size - 1) >> (log - 3)) & 7);
}

// The class for an aligned request: the smallest whose blocks all begin at a multiple of `align`,
// a power of two of at most LR_PAGE_BYTES. 0 if there is none up to LR_SMALL_MAX.
unsigned lr_class_of_aligned(size_t size, size_t align);

// Index of the object that begins `offset` bytes into a span of the class; exact for offsets that
// are a multiple of 16 below 1 MiB. For other offsets the index of the object they lie in.
static inline size_t lr_object_index(const struct class_info *info, size_t offset) {
    return ((offset >> 4) * info->reciprocal) >> 31;
}

// Usable bytes that a request for `size` bytes at `align` (a power of two) would get; 0 if no
// request of that kind can succeed.
size_t lr_good_size(size_t size, size_t align);

#endif
