// SPDX-License-Identifier: Apache-2.0
// The one window of address space in which blocks and records lie, and its maps. (Direct blocks,
// direct.h, are the exception.)
//
//   base                                                             base + bytes
//   | class map | span map | huge pages | pools ...  ->       | metadata ->    |
//
// Each part is a plain array indexed by page or huge page number counted from `base`, committed as
// far as the pools reach. The class map comes first, so that its address is `base` itself: free()
// finds a block's bin by one subtraction, one compare and one load. Pages of the maps themselves
// have class 0.
#ifndef LARDER_HEAP_WINDOW_H
#define LARDER_HEAP_WINDOW_H

#include "base/atomic.h"
#include "base/attr.h"
#include "base/config.h"

struct huge_page;
struct span;

struct window {
    char *base;      // immutable once anything lies in the window
    atomic_sz pages; // pages below the end of the last pool; only grows. A reader that was handed
                     // a block sees a value that covers it, because malloc stored it before.
    char *meta_base; // records of 64-byte granularity; span map entries count from here
    atomic_u32 *span_map;
    struct huge_page *huge_pages;
    size_t bytes;
    size_t align;           // of base; blocks aligned to more cannot come from the window
    size_t meta_bytes;      // reserved for metadata
    size_t first_pool_page; // a multiple of LR_PAGES_PER_HUGE
    size_t end_pool_page;
    bool reserved; // false: the range is only planned, its parts are mapped one by one
};

extern struct window lr_window LR_HIDDEN;

// Plans or reserves the window. False if no address space at all is to be had. `bytes` 0 chooses
// the size.
bool lr_window_init(size_t bytes);
// For a planned window in which nothing lies yet, and mappings that the program made since are in
// the way: reserves one where address space is left now. False: there is none, or RLIMIT_AS is set.
bool lr_window_move(void);
// Makes a part of the window usable. errno is EEXIST if a mapping of the program is in the way.
bool lr_window_commit(void *addr, size_t bytes);

static inline size_t lr_page_of(const void *p) {
    return ((size_t)p - (size_t)lr_window.base) >> LR_PAGE_SHIFT;
}

static inline char *lr_page_address(size_t page) {
    return lr_window.base + (page << LR_PAGE_SHIFT);
}

static inline bool lr_page_in_window(size_t page) {
    return page < lr_load_folded(&lr_window.pages);
}

// Byte offset of the bin in a thread cache, 0 for pages that hold no small blocks.
static inline atomic_u16 *lr_class_map(size_t page) {
    return (atomic_u16 *)(void *)lr_window.base + page;
}

static inline struct span *lr_span_from_id(uint32_t id) {
    return id == 0 ? NULL : (struct span *)(void *)(lr_window.meta_base + ((size_t)id << 6));
}

static inline uint32_t lr_span_id(const struct span *span) {
    return (uint32_t)(((size_t)span - (size_t)lr_window.meta_base) >> 6);
}

// The span that a page belongs to; NULL for free pages and for all but the first of a large block.
static inline struct span *lr_span_of_page(size_t page) {
    return lr_span_from_id(lr_load_relaxed(&lr_window.span_map[page]));
}

#endif
