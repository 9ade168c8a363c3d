// SPDX-License-Identifier: Apache-2.0
#include "heap/large.h"

#include "base/bits.h"
#include "heap/direct.h"
#include "heap/span_heap.h"

static size_t pages_for(size_t size) {
    return lr_max((size + LR_PAGE_BYTES - 1) >> LR_PAGE_SHIFT, 1);
}

void *lr_large_alloc(size_t size, size_t align, bool *zeroed) {
    if (align <= lr_window.align) {
        struct span *span = lr_span_alloc_large(pages_for(size), lr_max(align >> LR_PAGE_SHIFT, 1));
        if (span != NULL) {
            *zeroed = span->zeroed != 0;
            return lr_span_start(span);
        }
        if (!lr_span_heap_window_full(pages_for(size))) {
            return NULL;
        }
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
    lr_span_free(span);
    return true;
}

size_t lr_large_bytes(const void *block) {
    const struct span *span = span_of(block);
    return span != NULL ? lr_span_bytes(span) : lr_direct_bytes(block);
}

bool lr_large_resize(void *block, size_t size) {
    struct span *span = span_of(block);
    if (span == NULL) {
        return lr_direct_bytes(block) >= size;
    }
    return pages_for(size) == span->page_count || lr_span_resize(span, pages_for(size));
}

void *lr_large_move(void *block, size_t size) {
    struct span *span = span_of(block);
    struct span *moved = span == NULL ? NULL : lr_span_move(span, pages_for(size));
    return moved == NULL ? NULL : lr_span_start(moved);
}
