// SPDX-License-Identifier: Apache-2.0
//   span:  | guard (a page, or the alignment) | block | its slack | guard (the rest) |
#include "hard/pages.h"

#include <string.h>

#include "base/bits.h"
#include "hard/pattern.h"
#include "hard/random.h"
#include "hard/slab.h"
#include "heap/span_heap.h"
#include "os/os.h"

enum { QUARANTINE_SPANS = 1024 };

// Address space only, but counted as used by LARDER_HEAP_LIMIT and RLIMIT_AS until it is reclaimed.
#define QUARANTINE_BYTES LR_GIB

enum block_state { LIVE, FREED };

// Behind the descriptor of its span.
struct block_pages {
    size_t bytes;   // guarded by: lr_pages_lock, as room and state
    size_t front;   // immutable; bytes of the first guard
    size_t room;    // bytes of whole OS pages that the block has
    uint32_t state; // enum block_state
};

static struct {
    struct span *live;
    struct span *spans[QUARANTINE_SPANS]; // a ring
    uint32_t first;
    uint32_t count;
    size_t pages;
    struct lr_random random;
    struct lr_pages_counts counts;
} quarantine; // guarded by: lr_pages_lock

struct lr_lock lr_pages_lock = LR_LOCK_INIT(LR_RANK_GUARDED);

static struct block_pages *block_of(struct span *span) {
    return (struct block_pages *)(void *)span->bits;
}

static char *start_of(struct span *span) { return lr_span_start(span) + block_of(span)->front; }

static void set_map(struct span *span, uint32_t id) {
    lr_store_relaxed(&lr_window.span_map[lr_page_of(start_of(span))], id);
}

static void link_live_locked(struct span *span) {
    span->prev = NULL;
    span->next = quarantine.live;
    if (span->next != NULL) {
        span->next->prev = span;
    }
    quarantine.live = span;
}

static void unlink_live_locked(struct span *span) {
    if (span->next != NULL) {
        span->next->prev = span->prev;
    }
    *(span->prev != NULL ? &span->prev->next : &quarantine.live) = span->next;
}

// With `spare` bytes of address space in the second guard, whole OS pages.
static void *alloc(size_t size, size_t align, size_t spare) {
    // Guards are whole OS pages, which may be larger than ours.
    size_t os_page = lr_os_page_bytes();
    size_t front = lr_max(align, lr_max(os_page, LR_PAGE_BYTES));
    size_t room = lr_align_up(lr_max(size, 1), os_page);
    size_t pages = (front + room + spare + os_page + LR_PAGE_BYTES - 1) >> LR_PAGE_SHIFT;
    struct span *span =
        lr_span_alloc_private(pages, front >> LR_PAGE_SHIFT, 0, sizeof(struct block_pages));
    if (span == NULL) {
        return NULL;
    }
    *block_of(span) =
        (struct block_pages){.bytes = size, .front = front, .room = room, .state = LIVE};
    char *block = start_of(span);
    if (!span->zeroed && !lr_os_purge(lr_span_start(span), lr_span_bytes(span))) {
        memset(block, 0, room + spare); // locked memory
    }
    // A guard that the kernel refuses is done without.
    lr_os_guard(lr_span_start(span), front);
    lr_os_guard(block + room, lr_span_bytes(span) - front - room);
    lr_mark_end(block, size, room);
    set_map(span, lr_span_id(span));
    lr_lock(&lr_pages_lock);
    link_live_locked(span);
    quarantine.counts.blocks++;
    quarantine.counts.block_bytes += size;
    quarantine.counts.room_bytes += room;
    lr_unlock(&lr_pages_lock);
    return block;
}

void *lr_pages_alloc(size_t size, size_t align) { return alloc(size, align, 0); }

// Who grows a block by a page each time would else have it copied each time: with an eighth more it
// is copied nine times its last length in all.
void *lr_pages_alloc_to_grow(size_t size) {
    return alloc(size, 1, lr_align_up(size / 8, lr_os_page_bytes()));
}

// False if the block is not live. The span may be gone by now, and its descriptor another's: only
// what the map says under the lock counts.
static bool find_locked(struct span *span, const void *block, struct lr_verdict *verdict) {
    *verdict = (struct lr_verdict){.fault = LR_FAULT_NOT_A_BLOCK, .block = block};
    const struct span *now = lr_span_of_page(lr_page_of(block));
    if (now == NULL || now != span || now->size_class != 0) {
        return false;
    }
    verdict->bytes = block_of(span)->bytes;
    if (block != start_of(span)) {
        return false;
    }
    bool live = block_of(span)->state == LIVE;
    verdict->fault = live ? LR_FAULT_NONE : LR_FAULT_FREED;
    return live;
}

static bool check_end(struct span *span, struct lr_verdict *verdict) {
    size_t room = block_of(span)->room;
    verdict->at = lr_first_changed(start_of(span), verdict->bytes, room);
    if (LR_UNLIKELY(verdict->at < room)) {
        verdict->fault = LR_FAULT_OVERFLOW;
        return false;
    }
    return true;
}

void lr_pages_free(struct span *span, void *block, struct lr_verdict *verdict) {
    lr_lock(&lr_pages_lock);
    bool live = find_locked(span, block, verdict);
    if (live) {
        block_of(span)->state = FREED;
        unlink_live_locked(span);
        quarantine.counts.blocks--;
        quarantine.counts.block_bytes -= verdict->bytes;
        quarantine.counts.room_bytes -= block_of(span)->room;
    }
    lr_unlock(&lr_pages_lock);
    if (!live) {
        return;
    }
    check_end(span, verdict);
    lr_pages_quarantine(span);
}

const char *lr_pages_start(struct span *span) { return start_of(span); }

size_t lr_pages_bytes(struct span *span, const void *block, struct lr_verdict *verdict) {
    lr_lock(&lr_pages_lock);
    bool live = find_locked(span, block, verdict);
    lr_unlock(&lr_pages_lock);
    return live ? verdict->bytes : 0;
}

static void set_size_locked(struct span *span, size_t size, size_t room) {
    struct block_pages *of = block_of(span);
    char *block = start_of(span);
    size_t kept = lr_min(size, of->bytes);
    memset(block + kept, 0, lr_min(of->room, room) - kept); // the canary among others
    lr_mark_end(block, size, room);
    quarantine.counts.block_bytes += size - of->bytes;
    quarantine.counts.room_bytes += room - of->room;
    of->bytes = size;
    of->room = room;
}

// Looks at the block again: system calls are made without the lock. Who frees it meanwhile has made
// a mistake, which is reported, and some of its pages may be accessed until they are used again.
static bool finish_growing(struct span *span, void *block, size_t size, size_t old_room,
                           size_t room, struct lr_verdict *verdict) {
    if (!lr_os_unguard((char *)block + old_room, room - old_room)) {
        return false;
    }
    lr_lock(&lr_pages_lock);
    bool done = find_locked(span, block, verdict) && block_of(span)->room == old_room;
    if (done) {
        check_end(span, verdict);
        set_size_locked(span, size, room);
    }
    lr_unlock(&lr_pages_lock);
    return done;
}

static void guard_rest(char *rest, size_t bytes) {
    if (!lr_os_purge(rest, bytes)) {
        memset(rest, 0, bytes); // locked memory
    }
    lr_os_guard(rest, bytes);
}

bool lr_pages_resize(struct span *span, void *block, size_t size, struct lr_verdict *verdict) {
    const size_t room = lr_align_up(size, lr_os_page_bytes());
    lr_lock(&lr_pages_lock);
    if (!find_locked(span, block, verdict)) {
        lr_unlock(&lr_pages_lock);
        return false;
    }
    const size_t old_room = block_of(span)->room;
    const size_t most = lr_span_bytes(span) - block_of(span)->front - lr_os_page_bytes();
    const bool fits = room == old_room || (room <= most && room >= most / 2 && size > LR_SLAB_MAX);
    if (fits && room <= old_room) {
        check_end(span, verdict);
        set_size_locked(span, size, room);
    }
    lr_unlock(&lr_pages_lock);
    if (!fits) {
        return false;
    }
    if (room > old_room) {
        return finish_growing(span, block, size, old_room, room, verdict);
    }
    if (room < old_room) {
        guard_rest((char *)block + room, old_room - room);
    }
    return true;
}

bool lr_pages_check(struct lr_verdict *verdict) {
    bool good = true;
    lr_lock(&lr_pages_lock);
    for (struct span *span = quarantine.live; span != NULL && good; span = span->next) {
        *verdict = (struct lr_verdict){.block = start_of(span), .bytes = block_of(span)->bytes};
        good = check_end(span, verdict);
    }
    lr_unlock(&lr_pages_lock);
    return good;
}

// ---- The quarantine ----

static struct span *pop_locked(void) {
    struct span *span = quarantine.spans[quarantine.first];
    quarantine.first = (quarantine.first + 1) % QUARANTINE_SPANS;
    quarantine.count--;
    quarantine.pages -= span->page_count;
    return span;
}

// Moves the oldest spans to the list *leaving, until one of `pages` more has its place.
static void make_place_locked(size_t pages, struct span **leaving) {
    while (quarantine.count == QUARANTINE_SPANS ||
           (quarantine.count > 0 && quarantine.pages + pages > QUARANTINE_BYTES >> LR_PAGE_SHIFT)) {
        struct span *span = pop_locked();
        span->next = *leaving;
        *leaving = span;
    }
}

static void push_locked(struct span *span) {
    uint32_t end = quarantine.first + quarantine.count++;
    quarantine.pages += span->page_count;
    uint32_t other = quarantine.first + lr_random_below(&quarantine.random, quarantine.count);
    // The newest changes places with any: who waits longer is left to chance.
    struct span **place = &quarantine.spans[end % QUARANTINE_SPANS];
    struct span **swapped = &quarantine.spans[other % QUARANTINE_SPANS];
    *place = *swapped;
    *swapped = span;
}

// The kernel has no memory to describe the span's pages, or RLIMIT_DATA forbids them to be
// writable: later perhaps. Where the quarantine is full its address is lost.
static void keep_longer(struct span *span) {
    lr_lock(&lr_pages_lock);
    if (quarantine.count < QUARANTINE_SPANS) {
        push_locked(span);
    }
    lr_unlock(&lr_pages_lock);
}

// The pages of the spans go back to the span heap, and can be accessed again.
static void give_back(struct span *leaving) {
    while (leaving != NULL) {
        struct span *span = leaving;
        leaving = span->next;
        if (!lr_os_unguard(lr_span_start(span), lr_span_bytes(span))) {
            keep_longer(span);
            continue;
        }
        if (span->size_class == 0) {
            lr_lock(&lr_pages_lock); // find_locked() trusts a descriptor that the map leads to
            set_map(span, 0);
            lr_unlock(&lr_pages_lock);
        }
        // Somebody may have written where no guard could be had.
        bool clean = lr_os_purge(lr_span_start(span), lr_span_bytes(span));
        lr_span_free_private(span, clean);
    }
}

void lr_pages_quarantine(struct span *span) {
    lr_os_purge(lr_span_start(span), lr_span_bytes(span));
    lr_os_guard(lr_span_start(span), lr_span_bytes(span));
    struct span *leaving = NULL;
    lr_lock(&lr_pages_lock);
    make_place_locked(span->page_count, &leaving);
    push_locked(span);
    lr_unlock(&lr_pages_lock);
    give_back(leaving);
}

void lr_pages_reclaim(void) {
    struct span *leaving = NULL;
    lr_lock(&lr_pages_lock);
    while (quarantine.count > 0) {
        struct span *span = pop_locked();
        span->next = leaving;
        leaving = span;
    }
    lr_unlock(&lr_pages_lock);
    give_back(leaving);
}

struct lr_pages_counts lr_pages_counts(void) {
    lr_lock(&lr_pages_lock);
    struct lr_pages_counts counts = quarantine.counts;
    counts.quarantined_pages = quarantine.pages;
    lr_unlock(&lr_pages_lock);
    return counts;
}
