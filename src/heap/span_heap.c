// SPDX-License-Identifier: Apache-2.0
// Where a new span goes: into the partly used huge page with the smallest free run that fits, so
// that others empty and can go back whole. Order of choice for less than a huge page:
//   partly used and mostly resident  >  resident empty huge page  >  partly used, mostly returned
//   >  returned or fresh huge page  >  new pool
// so memory that is there is used before memory is touched anew.
#include "heap/span_heap.h"

#include <string.h>

#include "base/bits.h"
#include "heap/direct.h"
#include "heap/huge_page.h"
#include "heap/limit.h"
#include "heap/meta.h"
#include "heap/pool.h"
#include "heap/release.h"
#include "heap/runs.h"
#include "heap/scavenger.h"
#include "heap/thp.h"
#include "os/os.h"

enum { FILL_LISTS = LR_PAGES_PER_HUGE, FILL_WORDS = FILL_LISTS / 64 };

// Partly used huge pages by the length of their longest free run (1 to 255).
struct fill_set {
    uint32_t head[FILL_LISTS];
    uint64_t filled[FILL_WORDS];
};

static struct {
    struct fill_set fill[RUN_KINDS]; // RUN_CLEAN: most of the free pages are clean
    struct span_heap_counts counts;
    size_t claimed_pages; // part of used_pages: on their way to the OS
    size_t thp_borders; // places where what the kernel was told changes: it splits a mapping there
} heap;                 // guarded by: lr_span_heap_lock

struct lr_lock lr_span_heap_lock = LR_LOCK_INIT(LR_RANK_SPAN_HEAP);
struct lr_lock lr_pool_lock = LR_LOCK_INIT(LR_RANK_POOL);
static void (*reclaim_hook)(void); // immutable after start

void lr_span_heap_set_reclaim(void (*reclaim)(void)) { reclaim_hook = reclaim; }

static struct huge_page *huge_at(size_t huge) { return &lr_window.huge_pages[huge]; }

static void fill_link(uint32_t number) {
    struct huge_page *huge = huge_at(number);
    unsigned free_pages = LR_PAGES_PER_HUGE - huge->used_count;
    huge->list = huge->clean_count * 2U > free_pages ? RUN_CLEAN : RUN_DIRTY;
    struct fill_set *set = &heap.fill[huge->list];
    huge->prev = 0;
    huge->next = set->head[huge->longest];
    if (huge->next != 0) {
        huge_at(huge->next)->prev = number;
    }
    set->head[huge->longest] = number;
    set->filled[huge->longest / 64] |= (uint64_t)1 << (huge->longest % 64);
    huge->state = HUGE_PARTIAL;
    heap.counts.huge_partial++;
}

static void fill_unlink(uint32_t number) {
    struct huge_page *huge = huge_at(number);
    struct fill_set *set = &heap.fill[huge->list];
    if (huge->next != 0) {
        huge_at(huge->next)->prev = huge->prev;
    }
    if (huge->prev != 0) {
        huge_at(huge->prev)->next = huge->next;
    } else {
        set->head[huge->longest] = huge->next;
        if (huge->next == 0) {
            set->filled[huge->longest / 64] &= ~((uint64_t)1 << (huge->longest % 64));
        }
    }
    heap.counts.huge_partial--;
}

// Takes the huge page off whatever list it is on, before its bits change.
static void detach(uint32_t number) {
    switch (huge_at(number)->state) {
    case HUGE_PARTIAL:
        fill_unlink(number);
        break;
    case HUGE_FREE:
        lr_runs_take_first(number);
        break;
    case HUGE_FULL:
        heap.counts.huge_full--;
        break;
    default:
        break;
    }
}

// Puts the huge page where its bits say it belongs.
static void settle(uint32_t number) {
    struct huge_page *huge = huge_at(number);
    if (huge->used_count == 0) {
        lr_runs_add(number, 1, huge->clean_count == LR_PAGES_PER_HUGE ? RUN_CLEAN : RUN_DIRTY);
    } else if (huge->used_count == LR_PAGES_PER_HUGE) {
        huge->state = HUGE_FULL;
        heap.counts.huge_full++;
    } else {
        fill_link(number);
    }
}

// Calls for each huge page's part of [first, first+pages): its number, first page in it, length.
#define FOR_EACH_PART(number, at, length, first, pages)                                            \
    for (size_t left_ = (pages), page_ = (first), number = page_ / LR_PAGES_PER_HUGE,              \
                at = page_ % LR_PAGES_PER_HUGE, length = lr_min(left_, LR_PAGES_PER_HUGE - at);    \
         left_ > 0; left_ -= length, page_ += length, number = page_ / LR_PAGES_PER_HUGE,          \
                at = page_ % LR_PAGES_PER_HUGE, length = lr_min(left_, LR_PAGES_PER_HUGE - at))

// Returns how many of the pages were clean.
static size_t take_range(size_t first, size_t pages) {
    size_t clean = 0;
    FOR_EACH_PART(number, at, length, first, pages) {
        detach((uint32_t)number);
        clean += lr_huge_take(huge_at(number), (unsigned)at, (unsigned)length);
        settle((uint32_t)number);
    }
    heap.counts.used_pages += pages;
    heap.counts.free_clean_pages -= clean;
    heap.counts.free_dirty_pages -= pages - clean;
    return clean;
}

// As take_range(), for a user of the heap: it is demand.
static size_t take_for_span(size_t first, size_t pages) {
    size_t clean = take_range(first, pages);
    struct span_heap_counts *counts = &heap.counts;
    counts->taken_pages += pages;
    counts->taken_clean += clean;
    counts->peak_used_pages =
        lr_max(counts->peak_used_pages, counts->used_pages - heap.claimed_pages);
    return clean;
}

static void give_range(size_t first, size_t pages, bool clean) {
    FOR_EACH_PART(number, at, length, first, pages) {
        detach((uint32_t)number);
        lr_huge_give(huge_at(number), (unsigned)at, (unsigned)length, clean);
        settle((uint32_t)number);
    }
    heap.counts.used_pages -= pages;
    *(clean ? &heap.counts.free_clean_pages : &heap.counts.free_dirty_pages) += pages;
}

// A partly used huge page that has a free run of at least `pages`; 0 if none.
static uint32_t fill_find(enum run_kind kind, unsigned pages) {
    const struct fill_set *set = &heap.fill[kind];
    for (unsigned w = pages / 64; w < FILL_WORDS; w++) {
        uint64_t word = set->filled[w];
        if (w == pages / 64) {
            word &= ~(uint64_t)0 << (pages % 64);
        }
        if (word != 0) {
            return set->head[w * 64 + (unsigned)__builtin_ctzl(word)];
        }
    }
    return 0;
}

// Finds room for less than a huge page; the page number, 0 if there is none.
static size_t find_part(unsigned pages, unsigned align) {
    unsigned wanted = pages + align - 1;
    for (enum run_kind kind = RUN_DIRTY; kind < RUN_KINDS; kind++) {
        uint32_t number = wanted < LR_PAGES_PER_HUGE ? fill_find(kind, wanted) : 0;
        if (number != 0) {
            unsigned at = lr_huge_find(huge_at(number), pages, align);
            return (size_t)number * LR_PAGES_PER_HUGE + at;
        }
        number = lr_runs_take(1, 1, kind);
        if (number != 0) {
            return (size_t)number * LR_PAGES_PER_HUGE;
        }
    }
    return 0;
}

static size_t find_whole(uint32_t count, uint32_t align) {
    uint32_t number = lr_runs_take(count, align, RUN_DIRTY);
    if (number == 0 && align == 1) {
        number = lr_runs_take_joined(count);
    }
    if (number == 0) {
        number = lr_runs_take(count, align, RUN_CLEAN);
    }
    return (size_t)number * LR_PAGES_PER_HUGE;
}

struct page_request {
    size_t pages;
    size_t align; // pages, a power of two
    bool large;
    size_t first;       // the answer
    bool zeroed;        // all pages read as zero
    bool refused;       // because of the hard limit
    size_t held, dirty; // pages that blocks hold now, free ones with memory
    uint32_t asked;     // huge page that the kernel is to be asked to back whole; 0: none
};

// A process may have 65,530 mappings, and most are for the program.
enum { THP_BORDERS_MOST = 8192 };

// Notes what the kernel is told of the huge page; false if that would take too many mappings.
static bool note_thp(uint32_t number, enum huge_thp told) {
    struct huge_page *huge = huge_at(number);
    unsigned left = huge_at(number - 1)->thp;
    unsigned right = huge_at(number + 1)->thp;
    unsigned before = (left != huge->thp) + (unsigned)(right != huge->thp);
    unsigned after = (left != told) + (unsigned)(right != told);
    if (after > before && heap.thp_borders + after - before > THP_BORDERS_MOST) {
        return false;
    }
    heap.thp_borders = heap.thp_borders + after - before;
    huge->thp = (uint16_t)told;
    return true;
}

// True if the kernel may back the huge page whole.
static bool is_whole(const struct huge_page *huge, enum lr_thp_mode mode) {
    return huge->thp == HUGE_ASKED || (mode == LR_THP_MODE_WHOLE && huge->thp == HUGE_AS_MAPPED);
}

// The first pages of a huge page that is clean are about to be taken, and not all of it. Where the
// kernel backs it whole the rest becomes resident with them.
static bool begin_huge_page(uint32_t number, struct page_request *request) {
    struct huge_page *huge = huge_at(number);
    enum lr_thp_mode mode = lr_thp_mode();
    if (mode == LR_THP_MODE_SMALL || huge->clean_count != LR_PAGES_PER_HUGE) {
        return false;
    }
    LR_ASSERT(huge->state == HUGE_NONE); // find_part() and find_whole() took it off its run
    bool told = is_whole(huge, mode);
    // Blocks of 2 MiB and more are not asked for: some are touched here and there only.
    bool small = request->pages < LR_PAGES_PER_HUGE;
    if (!told && small && note_thp(number, HUGE_ASKED)) {
        request->asked = number;
        told = true;
    }
    if (told) {
        lr_huge_populate(huge);
        heap.counts.free_clean_pages -= LR_PAGES_PER_HUGE;
        heap.counts.free_dirty_pages += LR_PAGES_PER_HUGE;
    }
    return told;
}

// Pages that blocks would hold with `pages` more of them.
static size_t held_with(size_t pages) {
    return heap.counts.used_pages - heap.claimed_pages + pages + lr_direct_held_pages();
}

// Pages from what the heap has; false if it has to grow.
static bool take_locked(struct page_request *request) {
    size_t pages = request->pages;
    size_t align = request->align;
    size_t first;
    if (pages < LR_PAGES_PER_HUGE && align <= LR_PAGES_PER_HUGE) {
        first = find_part((unsigned)pages, (unsigned)align);
    } else {
        size_t count = (pages + LR_PAGES_PER_HUGE - 1) / LR_PAGES_PER_HUGE;
        size_t huge_align = lr_max(align / LR_PAGES_PER_HUGE, 1);
        first = find_whole((uint32_t)count, (uint32_t)huge_align);
        // Members beyond the pages wanted become partly used by take_range; none is left over.
    }
    if (first == 0) {
        return false;
    }
    request->first = first;
    size_t populated = 0; // clean pages that stop being so before they are taken
    if (pages % LR_PAGES_PER_HUGE != 0 &&
        begin_huge_page((uint32_t)((first + pages - 1) / LR_PAGES_PER_HUGE), request)) {
        populated = pages % LR_PAGES_PER_HUGE;
    }
    struct span_heap_counts *counts = &heap.counts;
    size_t clean = take_for_span(first, pages) + populated;
    counts->taken_clean += populated;
    counts->large_clean += request->large ? clean : 0;
    request->zeroed = clean == pages;
    counts->small_spans += !request->large;
    counts->large_spans += request->large;
    counts->large_pages += request->large ? pages : 0;
    lr_scavenger_note_used(counts->used_pages);
    request->held = held_with(0);
    request->dirty = counts->free_dirty_pages;
    return true;
}

static void add_pool_locked(uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct huge_page *huge = huge_at(first + i);
        memset(huge->clean, 0xff, sizeof huge->clean);
        huge->clean_count = LR_PAGES_PER_HUGE;
        huge->longest = LR_PAGES_PER_HUGE;
    }
    lr_runs_add(first, count, RUN_CLEAN);
    heap.counts.free_clean_pages += (size_t)count * LR_PAGES_PER_HUGE;
}

// Huge pages at the end of the last pool that are free and clean: a new pool joins them.
static size_t clean_tail(void) {
    size_t end = lr_load_relaxed(&lr_window.pages) / LR_PAGES_PER_HUGE;
    const struct huge_page *last = end > 0 ? huge_at(end - 1) : NULL;
    bool free = last != NULL && last->state == HUGE_FREE && last->tag == RUN_CLEAN;
    return free ? last->run : 0;
}

static bool grow_and_take(struct page_request *request) {
    size_t count = (request->pages + LR_PAGES_PER_HUGE - 1) / LR_PAGES_PER_HUGE;
    count += lr_max(request->align / LR_PAGES_PER_HUGE, 1) - 1;
    lr_lock(&lr_pool_lock);
    // Another thread may have grown the heap while this one waited for the lock.
    lr_lock(&lr_span_heap_lock);
    bool done = take_locked(request);
    size_t missing = count - lr_min(count - 1, clean_tail());
    lr_unlock(&lr_span_heap_lock);
    // What was free at the end may be taken meanwhile: then the whole request is added.
    for (int i = 0; i < 2 && !done; i++) {
        uint32_t added = 0;
        uint32_t first = lr_pool_grow_locked(i == 0 ? missing : count, &added);
        if (first == 0) {
            break;
        }
        lr_lock(&lr_span_heap_lock);
        add_pool_locked(first, added);
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
    size_t crowd = lr_limit_hard_excess(held_with(request->pages) + heap.counts.free_dirty_pages);
    bool done = !request->refused && take_locked(request);
    lr_unlock(&lr_span_heap_lock);
    if (crowd > 0 && !request->refused) {
        lr_release_pages(crowd); // free memory counts towards the limit until it is returned
    }
    return done || (!request->refused && grow_and_take(request));
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
    if (reclaim_hook != NULL) {
        reclaim_hook();
    }
    lr_release_pages(SIZE_MAX);
    return try_take(request);
}

static bool take_pages(struct page_request *request) {
    bool done = find_pages(request);
    if (done) {
        lr_limit_note_held(request->held, request->dirty);
    } else if (request->refused) {
        lr_limit_note_refused();
    }
    if (request->asked != 0) {
        // Without a lock. Whoever touches another span of it before gets a small page, and the
        // kernel may still make it whole in the background.
        lr_os_huge_pages(lr_page_address((size_t)request->asked * LR_PAGES_PER_HUGE), LR_HUGE_BYTES,
                         true);
    }
    return done;
}

static size_t bitmap_bytes(size_t objects) { return (objects + 63) / 64 * sizeof(uint64_t); }

// `record_bytes` follow the descriptor.
static struct span *make_span(size_t pages, size_t align, size_t record_bytes, bool large) {
    size_t bytes = sizeof(struct span) + record_bytes;
    struct span *span = lr_meta_alloc(bytes);
    if (span == NULL) {
        return NULL;
    }
    struct page_request request = {.pages = pages, .align = align, .large = large};
    if (!take_pages(&request)) {
        lr_meta_free(span, bytes);
        return NULL;
    }
    memset(span, 0, bytes);
    span->first_page = (uint32_t)request.first;
    span->page_count = (uint32_t)pages;
    span->object_count = 1;
    span->zeroed = request.zeroed;
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
    struct span *span = make_span(page_count, 1, bitmap_bytes(object_count), false);
    if (span != NULL) {
        span->object_count = object_count;
        span->size_class = size_class;
        span->bucket = LR_SPAN_UNLISTED;
        span->free_objects = object_count;
        set_maps(span, page_count, bin_offset, lr_span_id(span));
    }
    return span;
}

struct span *lr_span_alloc_large(size_t page_count, size_t align_pages) {
    struct span *span = make_span(page_count, align_pages, bitmap_bytes(1), true);
    if (span != NULL) {
        lr_store_release(&lr_window.span_map[span->first_page], lr_span_id(span)); // see set_maps()
    }
    return span;
}

struct span *lr_span_alloc_private(size_t page_count, size_t align_pages, uint8_t size_class,
                                   size_t record_bytes) {
    struct span *span = make_span(page_count, align_pages, record_bytes, size_class == 0);
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
        give_range(span->first_page + at, lr_min(unit, pages - at), clean || returned);
    }
}

void lr_span_free_private(struct span *span, bool clean) {
    bool large = span->size_class == 0;
    size_t pages = span->page_count;
    lr_lock(&lr_span_heap_lock);
    give_span(span, clean);
    heap.counts.small_spans -= !large;
    heap.counts.large_spans -= large;
    heap.counts.large_pages -= large ? pages : 0;
    size_t dirty = heap.counts.free_dirty_pages;
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

// True if all of the pages are free now.
static bool range_is_free(size_t first, size_t pages) {
    if (first + pages > lr_load_relaxed(&lr_window.pages)) {
        return false;
    }
    FOR_EACH_PART(number, at, length, first, pages) {
        const struct huge_page *huge = huge_at(number);
        bool free =
            huge->state == HUGE_FREE || (huge->state == HUGE_PARTIAL &&
                                         lr_huge_range_free(huge, (unsigned)at, (unsigned)length));
        if (!free) {
            return false;
        }
    }
    return true;
}

bool lr_span_resize(struct span *span, size_t page_count) {
    size_t old = span->page_count;
    bool done = true;
    lr_lock(&lr_span_heap_lock);
    if (page_count > old) {
        size_t end = span->first_page + old;
        done = !over_limit(page_count - old) && range_is_free(end, page_count - old);
        if (done) {
            take_for_span(end, page_count - old);
        }
    } else if (page_count < old) {
        give_range(span->first_page + page_count, old - page_count, false);
    }
    if (done) {
        heap.counts.large_pages += page_count - old;
        span->page_count = (uint32_t)page_count;
    }
    size_t dirty = heap.counts.free_dirty_pages;
    lr_unlock(&lr_span_heap_lock);
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
    struct span_heap_counts counts = heap.counts;
    lr_unlock(&lr_span_heap_lock);
    return counts;
}

struct span_heap_counts lr_span_heap_take_recent(void) {
    lr_lock(&lr_span_heap_lock);
    struct span_heap_counts counts = heap.counts;
    heap.counts.peak_used_pages = counts.used_pages - heap.claimed_pages;
    heap.counts.taken_pages = 0;
    heap.counts.taken_clean = 0;
    heap.counts.large_clean = 0;
    lr_unlock(&lr_span_heap_lock);
    return counts;
}

size_t lr_span_heap_claim_dirty(size_t most, uint32_t *cursor, size_t *first_page, size_t *dirty) {
    size_t pages = 0;
    lr_lock(&lr_span_heap_lock);
    uint32_t run = lr_runs_longest(RUN_DIRTY);
    if (run != 0) {
        uint32_t count;
        uint32_t whole = (uint32_t)lr_max(most / LR_PAGES_PER_HUGE, 1);
        *first_page = (size_t)lr_runs_take_tail(run, whole, &count) * LR_PAGES_PER_HUGE;
        pages = (size_t)count * LR_PAGES_PER_HUGE;
    } else {
        size_t end = lr_load_relaxed(&lr_window.pages) / LR_PAGES_PER_HUGE;
        size_t number = lr_max(*cursor, lr_window.first_pool_page / LR_PAGES_PER_HUGE);
        for (; pages == 0 && number < end; number += pages == 0) {
            unsigned at;
            if (huge_at(number)->state == HUGE_PARTIAL) {
                pages = lr_huge_dirty_hole(huge_at(number), most, &at);
                *first_page = number * LR_PAGES_PER_HUGE + at;
            }
        }
        *cursor = (uint32_t)number;
    }
    if (pages != 0) {
        *dirty = pages - take_range(*first_page, pages);
        heap.claimed_pages += pages;
    }
    lr_unlock(&lr_span_heap_lock);
    return pages;
}

bool lr_span_heap_splits(size_t first_page, size_t pages) {
    enum lr_thp_mode mode = lr_thp_mode();
    if (mode == LR_THP_MODE_SMALL || pages % LR_PAGES_PER_HUGE == 0) {
        return false;
    }
    uint32_t number = (uint32_t)(first_page / LR_PAGES_PER_HUGE);
    lr_lock(&lr_span_heap_lock);
    bool splits = is_whole(huge_at(number), mode) && note_thp(number, HUGE_REFUSED);
    lr_unlock(&lr_span_heap_lock);
    return splits;
}

void lr_span_heap_return_range(size_t first_page, size_t pages, bool clean) {
    lr_lock(&lr_span_heap_lock);
    give_range(first_page, pages, clean);
    heap.claimed_pages -= pages;
    lr_unlock(&lr_span_heap_lock);
}
