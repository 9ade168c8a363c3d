// SPDX-License-Identifier: Apache-2.0
#include "heap/span_heap.h"

#include <string.h>

#include "base/bits.h"
#include "heap/direct.h"
#include "heap/filler.h"
#include "heap/limit.h"
#include "heap/meta.h"
#include "heap/pool.h"
#include "heap/release.h"
#include "heap/scavenger.h"
#include "heap/thp.h"
#include "os/os.h"

struct lr_lock lr_span_heap_lock = LR_LOCK_INIT(LR_RANK_SPAN_HEAP);
struct lr_lock lr_pool_lock = LR_LOCK_INIT(LR_RANK_POOL);
static void (*reclaim_hook)(void); // immutable after start

void lr_span_heap_set_reclaim(void (*reclaim)(void)) { reclaim_hook = reclaim; }

struct page_request {
    size_t pages;
    size_t align; // pages, a power of two
    enum lr_thp_kind kind;
    bool large;
    bool refused;              // because of the hard limit
    size_t held, dirty;        // pages that blocks hold now, free ones with memory
    struct filler_place place; // the answer
};

// Pages that blocks would hold with `pages` more of them.
static size_t held_with(size_t pages) {
    return lr_filler_counts.used_pages - lr_filler_counts.claimed_pages + pages +
           lr_direct_held_pages();
}

static void count_large(size_t pages) {
    struct span_heap_counts *counts = &lr_filler_counts;
    counts->large_pages += pages;
    counts->large_taken += pages;
    counts->peak_large_pages = lr_max(counts->peak_large_pages, counts->large_pages);
}

// Pages from what the heap has; false if it has to grow.
static bool take_locked(struct page_request *request) {
    struct filler_place *place = &request->place;
    *place = lr_filler_take(request->pages, request->align, request->kind);
    if (place->first == 0) {
        return false;
    }
    struct span_heap_counts *counts = &lr_filler_counts;
    counts->large_clean += request->large ? place->clean : 0;
    counts->small_spans += !request->large;
    counts->large_spans += request->large;
    count_large(request->large ? request->pages : 0);
    lr_scavenger_note_used(counts->used_pages);
    request->held = held_with(0);
    request->dirty = counts->free_dirty_pages + place->rest_pages;
    return true;
}

static bool grow_and_take(struct page_request *request) {
    size_t count = (request->pages + LR_PAGES_PER_HUGE - 1) / LR_PAGES_PER_HUGE;
    count += lr_max(request->align / LR_PAGES_PER_HUGE, 1) - 1;
    lr_lock(&lr_pool_lock);
    // Another thread may have grown the heap while this one waited for the lock.
    lr_lock(&lr_span_heap_lock);
    bool done = take_locked(request);
    size_t missing = count - lr_min(count - 1, lr_filler_clean_tail());
    lr_unlock(&lr_span_heap_lock);
    // What was free at the end may be taken meanwhile: then the whole request is added.
    for (int i = 0; i < 2 && !done; i++) {
        uint32_t added = 0;
        uint32_t first = lr_pool_grow_locked(i == 0 ? missing : count, &added);
        if (first == 0) {
            break;
        }
        lr_lock(&lr_span_heap_lock);
        lr_filler_add(first, added);
        done = take_locked(request);
        lr_unlock(&lr_span_heap_lock);
    }
    lr_unlock(&lr_pool_lock);
    return done;
}

static bool over_limit(size_t pages) { return lr_limit_hard_excess(held_with(pages)) > 0; }

static bool try_take(struct page_request *request) {
    lr_lock(&lr_span_heap_lock);
    request->refused = over_limit(request->pages);
    size_t crowd =
        lr_limit_hard_excess(held_with(request->pages) + lr_filler_counts.free_dirty_pages);
    bool done = !request->refused && take_locked(request);
    lr_unlock(&lr_span_heap_lock);
    if (crowd > 0 && !request->refused) {
        // Free memory counts towards the limit until it is returned.
        lr_release_pages(crowd, LR_BREAK_ANY);
    }
    return done || (!request->refused && grow_and_take(request));
}

static void reclaim(void) {
    if (reclaim_hook != NULL) {
        reclaim_hook();
    }
}

static bool find_pages(struct page_request *request) {
    if (request->pages > lr_window.end_pool_page) {
        return false;
    }
    if (LR_LIKELY(try_take(request))) {
        return true;
    }
    if (request->pages > lr_pool_bytes() >> LR_PAGE_SHIFT) {
        return false; // more than there ever was: nothing that could be given back suffices
    }
    // Last resort: give back what the caches hold, and make all free memory clean so that
    // neighbouring runs of different kinds join.
    reclaim();
    lr_release_pages(SIZE_MAX, LR_BREAK_ANY);
    return try_take(request);
}

static char *huge_address(uint32_t number) {
    return lr_page_address((size_t)number * LR_PAGES_PER_HUGE);
}

// Without a lock: see struct filler_place.
static void tell(const struct filler_tell *tell) {
    if (tell->count != 0) {
        lr_os_huge_pages(huge_address(tell->first), tell->count * LR_HUGE_BYTES, tell->whole);
    }
}

static void advise(const struct filler_place *place) {
    tell(&place->whole);
    tell(&place->begun);
    if (place->rest_pages != 0) {
        lr_span_heap_return_range(place->rest, place->rest_pages, false);
    }
    if (place->look != 0) {
        lr_thp_look_at(place->look_kind, huge_address(place->look),
                       place->look_pages << LR_PAGE_SHIFT);
    }
}

static bool take_pages(struct page_request *request) {
    bool done = find_pages(request);
    if (done) {
        lr_limit_note_held(request->held, request->dirty);
        advise(&request->place);
    } else if (request->refused) {
        lr_limit_note_refused();
    }
    return done;
}

static size_t bitmap_bytes(size_t objects) { return (objects + 63) / 64 * sizeof(uint64_t); }

// `record_bytes` follow the descriptor.
static struct span *make_span(size_t pages, size_t align, size_t objects, size_t record_bytes,
                              bool large) {
    size_t bytes = sizeof(struct span) + record_bytes;
    struct span *span = lr_meta_alloc(bytes);
    if (span == NULL) {
        reclaim(); // of spans that are free, or wait to be, come descriptors too
        span = lr_meta_alloc(bytes);
    }
    if (span == NULL) {
        return NULL;
    }
    struct page_request request = {.pages = pages, .align = align, .large = large};
    request.kind = lr_thp_kind_of((pages << LR_PAGE_SHIFT) / objects);
    if (!take_pages(&request)) {
        lr_meta_free(span, bytes);
        return NULL;
    }
    memset(span, 0, bytes);
    span->first_page = (uint32_t)request.place.first;
    span->page_count = (uint32_t)pages;
    span->object_count = (uint16_t)objects;
    span->zeroed = request.place.clean == pages;
    span->record_bytes = (uint16_t)bytes;
    return span;
}

// Most readers are frees of blocks in the span, which were handed out after these stores. Release
// pairs with walks of the heap, which were handed nothing: cache/span_look.c, lr_large_look().
static void set_maps(const struct span *span, size_t pages, uint16_t bin_offset, uint32_t id) {
    for (size_t i = 0; i < pages; i++) {
        lr_store_release(&lr_window.span_map[span->first_page + i], id);
        lr_store_release(lr_class_map(span->first_page + i), bin_offset);
    }
}

struct span *lr_span_alloc_small(uint32_t page_count, uint16_t object_count, uint8_t size_class,
                                 uint16_t bin_offset) {
    struct span *span = make_span(page_count, 1, object_count, bitmap_bytes(object_count), false);
    if (span != NULL) {
        span->size_class = size_class;
        span->bucket = LR_SPAN_UNLISTED;
        span->free_objects = object_count;
        set_maps(span, page_count, bin_offset, lr_span_id(span));
    }
    return span;
}

struct span *lr_span_alloc_large(size_t page_count, size_t align_pages) {
    struct span *span = make_span(page_count, align_pages, 1, bitmap_bytes(1), true);
    if (span != NULL) {
        lr_store_release(&lr_window.span_map[span->first_page], lr_span_id(span)); // see set_maps()
    }
    return span;
}

struct span *lr_span_alloc_private(size_t page_count, size_t align_pages, uint8_t size_class,
                                   size_t record_bytes) {
    struct span *span = make_span(page_count, align_pages, 1, record_bytes, size_class == 0);
    if (span != NULL) {
        span->size_class = size_class;
        span->is_private = 1;
    }
    return span;
}

// Pages of the span that were returned while it was in use stay clean.
static void give_span(const struct span *span, bool clean) {
    size_t pages = span->page_count;
    size_t unit = span->clean == 0 ? pages : lr_span_unit_pages(span->page_count);
    for (size_t at = 0; at < pages; at += unit) {
        bool returned = (span->clean >> (at / unit) & 1) != 0;
        lr_filler_give(span->first_page + at, lr_min(unit, pages - at), clean || returned);
    }
}

void lr_span_free_private(struct span *span, bool clean) {
    bool large = span->size_class == 0;
    size_t pages = span->page_count;
    lr_lock(&lr_span_heap_lock);
    give_span(span, clean);
    lr_filler_counts.small_spans -= !large;
    lr_filler_counts.large_spans -= large;
    lr_filler_counts.large_pages -= large ? pages : 0;
    size_t dirty = lr_filler_counts.free_dirty_pages;
    lr_unlock(&lr_span_heap_lock);
    lr_meta_free(span, span->record_bytes);
    lr_scavenger_note_free(dirty);
}

void lr_span_unmap(const struct span *span) {
    set_maps(span, span->size_class == 0 ? 1 : span->page_count, 0, 0);
}

void lr_span_free(struct span *span) {
    lr_span_unmap(span);
    lr_span_free_private(span, false);
}

bool lr_span_resize(struct span *span, size_t page_count) {
    size_t old = span->page_count;
    bool done = true;
    struct filler_place place = {0};
    lr_lock(&lr_span_heap_lock);
    if (page_count > old) {
        size_t end = span->first_page + old;
        done = !over_limit(page_count - old) && lr_filler_is_free(end, page_count - old);
        if (done) {
            place = lr_filler_take_at(end, page_count - old, page_count);
            count_large(page_count - old);
            span->zeroed &= place.clean == page_count - old;
            lr_scavenger_note_used(lr_filler_counts.used_pages);
        }
    } else if (page_count < old) {
        lr_filler_give(span->first_page + page_count, old - page_count, false);
        lr_filler_counts.large_pages -= old - page_count;
    }
    if (done) {
        span->page_count = (uint32_t)page_count;
    }
    size_t dirty = lr_filler_counts.free_dirty_pages;
    lr_unlock(&lr_span_heap_lock);
    advise(&place);
    if (page_count < old) {
        lr_scavenger_note_free(dirty);
    }
    return done;
}

bool lr_span_heap_may_hold(size_t pages) {
    lr_lock(&lr_span_heap_lock);
    bool over = over_limit(pages);
    lr_unlock(&lr_span_heap_lock);
    return !over;
}

bool lr_span_heap_window_full(size_t pages) {
    size_t end = lr_max(lr_load_relaxed(&lr_window.pages), lr_window.first_pool_page);
    return pages > lr_window.end_pool_page - end;
}

struct span_heap_counts lr_span_heap_counts(void) {
    lr_lock(&lr_span_heap_lock);
    struct span_heap_counts counts = lr_filler_counts;
    lr_unlock(&lr_span_heap_lock);
    return counts;
}

struct span_heap_counts lr_span_heap_take_recent(void) {
    lr_lock(&lr_span_heap_lock);
    struct span_heap_counts counts = lr_filler_counts;
    lr_filler_counts.peak_used_pages = counts.used_pages - lr_filler_counts.claimed_pages;
    lr_filler_counts.peak_large_pages = counts.large_pages;
    lr_filler_counts.taken_pages = 0;
    lr_filler_counts.taken_clean = 0;
    lr_filler_counts.large_clean = 0;
    lr_filler_counts.large_taken = 0;
    lr_unlock(&lr_span_heap_lock);
    return counts;
}

size_t lr_span_heap_claim_dirty(size_t most, struct claim_walk *walk, size_t *first_page,
                                size_t *dirty) {
    lr_lock(&lr_span_heap_lock);
    size_t pages = lr_filler_claim_dirty(most, walk, first_page, dirty);
    lr_unlock(&lr_span_heap_lock);
    return pages;
}

bool lr_span_heap_splits(size_t first_page, size_t pages) {
    if (lr_thp_mode() == LR_THP_MODE_SMALL || pages % LR_PAGES_PER_HUGE == 0) {
        return false;
    }
    lr_lock(&lr_span_heap_lock);
    bool splits = lr_filler_refuse((uint32_t)(first_page / LR_PAGES_PER_HUGE));
    lr_unlock(&lr_span_heap_lock);
    return splits;
}

void lr_span_heap_return_range(size_t first_page, size_t pages, bool clean) {
    lr_lock(&lr_span_heap_lock);
    lr_filler_give(first_page, pages, clean);
    lr_filler_counts.claimed_pages -= pages;
    lr_unlock(&lr_span_heap_lock);
}
