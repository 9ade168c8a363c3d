// SPDX-License-Identifier: Apache-2.0
#include "heap/large.h"

#include <string.h>

#include "base/bits.h"
#include "conf/options.h"
#include "heap/direct.h"
#include "heap/limit.h"
#include "heap/span_heap.h"
#include "heap/thp.h"

static size_t pages_for(size_t size) {
    return lr_max((size + LR_PAGE_BYTES - 1) >> LR_PAGE_SHIFT, 1);
}

// Pages of the large block that begins there; 0 if there is none, or it has to be `fresh` (what is
// resident of it its user touched) and is not.
static size_t pages_at(size_t page, bool fresh) {
    size_t pages = 0;
    if (lr_load_relaxed(&lr_window.span_map[page]) == 0) {
        return 0;
    }
    // A span that the map still has when the lock is taken is not freed before it is released:
    // lr_span_free() clears the map first and then takes the lock.
    lr_lock(&lr_span_heap_lock);
    const struct span *span = lr_span_from_id(lr_load_acquire(&lr_window.span_map[page]));
    if (span != NULL && span->size_class == 0 && (span->zeroed != 0 || !fresh)) {
        pages = span->page_count;
    }
    lr_unlock(&lr_span_heap_lock);
    return pages;
}

// True if its pages tell whether blocks of its size are filled. Not those of small blocks that have
// pages of their own because they are sampled.
static bool is_telling(const struct span *span) {
    return span->zeroed != 0 && span->page_count > LR_SMALL_MAX >> LR_PAGE_SHIFT;
}

// At the next block, because the last one is in use by now.
static void look_at_last(const struct span *span) {
    static atomic_u32 last; // first page; relaxed: looked at as any page
    uint32_t page = lr_load_relaxed(&last);
    size_t pages = pages_at(page, true);
    if (pages != 0) {
        lr_thp_look_at_live(lr_page_address(page), pages);
    }
    lr_store_relaxed(&last, span->first_page);
}

void *lr_large_alloc(size_t size, size_t align, bool *zeroed) {
    if (align <= lr_window.align) {
        struct span *span = lr_span_alloc_large(pages_for(size), lr_max(align >> LR_PAGE_SHIFT, 1));
        if (span != NULL) {
            *zeroed = span->zeroed != 0;
            if (is_telling(span) && lr_thp_mode() == LR_THP_MODE_ASKING) {
                look_at_last(span);
            }
            return lr_span_start(span);
        }
        if (!lr_span_heap_window_full(pages_for(size)) || !lr_span_heap_may_hold(pages_for(size))) {
            return NULL;
        }
    } else if (!lr_span_heap_may_hold(pages_for(size))) {
        lr_limit_note_refused();
        return NULL;
    }
    *zeroed = true;
    return lr_direct_alloc(size, align);
}

static struct span *span_of(const void *block) {
    size_t page = lr_page_of(block);
    if (!lr_page_in_window(page)) {
        return NULL;
    }
    struct span *span = lr_span_of_page(page);
    bool start = span != NULL && span->size_class == 0 && block == lr_span_start(span);
    return start ? span : NULL;
}

bool lr_large_free(void *block) {
    struct span *span = span_of(block);
    if (span == NULL) {
        return lr_direct_free(block);
    }
    if (is_telling(span)) {
        lr_thp_look_at_freed(block, span->page_count);
    }
    lr_span_free(span);
    return true;
}

size_t lr_large_bytes(const void *block) {
    const struct span *span = span_of(block);
    return span != NULL ? lr_span_bytes(span) : lr_direct_bytes(block);
}

struct span *lr_large_span_around(const void *inside) {
    size_t page = lr_page_of(inside);
    if (!lr_page_in_window(page)) {
        return NULL;
    }
    size_t first = page;
    struct span *span = lr_span_of_page(first);
    while (span == NULL && first > 0) {
        span = lr_span_of_page(--first);
    }
    return span != NULL && page - span->first_page < span->page_count ? span : NULL;
}

size_t lr_large_look(size_t page) { return pages_at(page, false) << LR_PAGE_SHIFT; }

// Grows a block for the first time beyond what its neighbours leave: one copy to where the kernel
// can move its pages from then on.
static void *move_out(struct span *span, size_t size) {
    void *block = lr_direct_alloc(size, LR_PAGE_BYTES);
    if (block != NULL) {
        memcpy(block, lr_span_start(span), lr_span_bytes(span));
        lr_span_free(span);
    }
    return block;
}

void *lr_large_resize(void *block, size_t size) {
    struct span *span = span_of(block);
    if (span == NULL) {
        size_t bytes = lr_direct_bytes(block);
        bool fits = size <= bytes || lr_span_heap_may_hold(pages_for(size - bytes));
        return fits ? lr_direct_resize(block, size) : NULL;
    }
    if (pages_for(size) == span->page_count || lr_span_resize(span, pages_for(size))) {
        return block;
    }
    // Under a hard limit there is no room for a block twice.
    bool out = lr_span_bytes(span) >= LR_LARGE_MOVE_OUT && lr_opt_heap_limit() == 0;
    return out ? move_out(span, size) : NULL;
}
