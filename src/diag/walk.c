// SPDX-License-Identifier: Apache-2.0
// A span is copied under the lock that guards it, then shown with no lock held: a visitor may
// allocate, free, fork or jump out. A span that began behind the walk's back at a page before the
// next one to look at is left out, so that addresses only rise.
#include "diag/walk.h"

#include <errno.h>

#include "cache/span_look.h"
#include "hard/hard.h"
#include "heap/direct.h"
#include "heap/large.h"
#include "heap/window.h"
#include "prof/sample.h"

struct walk {
    larder_heap_visitor visit;
    void *context;
};

static int show_span(const struct walk *walk, const struct span_look *look) {
    const struct class_info *info = &lr_classes[look->size_class];
    char *start = lr_page_address(look->first_page);
    struct larder_heap_block block = {
        .bytes = info->bytes, .span = start, .span_bytes = info->pages * LR_PAGE_BYTES};
    int result = 0;
    for (size_t i = 0; result == 0 && i < info->objects; i++) {
        block.address = start + i * info->bytes;
        block.state = lr_span_look_free(look, i) ? LARDER_BLOCK_FREE : LARDER_BLOCK_OUT;
        result = walk->visit(&block, walk->context);
    }
    return result;
}

// A large block, or the place of a small one that is a sample.
static int show_large(const struct walk *walk, void *start, size_t bytes) {
    size_t sampled = lr_sample_any() ? lr_sample_bytes(start) : 0;
    const struct larder_heap_block block = {.address = start,
                                            .bytes = sampled != 0 ? sampled : bytes,
                                            .state = LARDER_BLOCK_LIVE,
                                            .span = start,
                                            .span_bytes = bytes};
    return walk->visit(&block, walk->context);
}

static int walk_window(const struct walk *walk) {
    int result = 0;
    for (size_t page = lr_window.first_pool_page;
         result == 0 && page < lr_load_relaxed(&lr_window.pages);) {
        struct span_look look;
        size_t next = page + 1;
        if (lr_span_look(page, &look)) {
            next = look.first_page + lr_classes[look.size_class].pages;
            result = look.first_page == page ? show_span(walk, &look) : 0;
        } else {
            size_t bytes = lr_large_look(page);
            if (bytes != 0) {
                next = page + (bytes >> LR_PAGE_SHIFT);
                result = show_large(walk, lr_page_address(page), bytes);
            }
        }
        page = next;
    }
    return result;
}

int lr_heap_walk(larder_heap_visitor visit, void *context) {
    if (lr_hardened) {
        return -EPERM;
    }
    const struct walk walk = {.visit = visit, .context = context};
    int result = walk_window(&walk);
    struct direct_cursor at = {0};
    while (result == 0 && lr_direct_next(&at)) {
        result = show_large(&walk, at.start, at.bytes);
    }
    struct lr_sample_cursor guarded = {0};
    while (result == 0 && lr_sample_any() && lr_sample_next_placed(&guarded)) {
        result = show_large(&walk, guarded.block, guarded.bytes);
    }
    return result;
}
