// SPDX-License-Identifier: Apache-2.0
// The span heap's lock is not held during a system call: a batch of ranges is claimed (they count
// as in use), given to the kernel, and put back as clean. A thread that runs out of memory
// meanwhile grows the heap.
#include "heap/release.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/probe.h"
#include "heap/span_heap.h"
#include "os/os.h"
#include "sync/latency.h"

enum {
    BATCH = 32,
    // At most this much is claimed at once, so that little is out of reach for a short time only.
    BATCH_PAGES = 16 * LR_PAGES_PER_HUGE,
};

static atomic_u64 total_pages;
static atomic_u64 total_calls;

struct claim {
    size_t first_page;
    size_t pages;
    size_t dirty; // of them, those that hold memory
};

struct lr_lock lr_release_lock = LR_LOCK_INIT(LR_RANK_RELEASE);

// Claims ranges of up to `wanted` pages in all.
static size_t claim_batch(struct claim claims[BATCH], size_t wanted, struct claim_walk *walk) {
    size_t count = 0;
    for (size_t claimed = 0; count < BATCH && claimed < wanted; count++) {
        struct claim *claim = &claims[count];
        claim->pages =
            lr_span_heap_claim_dirty(wanted - claimed, walk, &claim->first_page, &claim->dirty);
        if (claim->pages == 0) {
            break;
        }
        claimed += claim->dirty;
    }
    return count;
}

// One batch; false if there is nothing left or the kernel refuses (locked memory).
static bool release_batch(size_t wanted, struct claim_walk *walk, size_t *released) {
    struct claim claims[BATCH];
    struct lr_os_range ranges[BATCH];
    lr_lock(&lr_release_lock);
    size_t count = claim_batch(claims, wanted, walk);
    for (size_t i = 0; i < count; i++) {
        if (lr_span_heap_splits(claims[i].first_page, claims[i].pages)) {
            // Or the kernel's background thread would make it whole again, all of it resident.
            lr_os_huge_pages(
                lr_page_address(lr_align_down(claims[i].first_page, LR_PAGES_PER_HUGE)),
                LR_HUGE_BYTES, false);
        }
        ranges[i] = (struct lr_os_range){.addr = lr_page_address(claims[i].first_page),
                                         .bytes = claims[i].pages << LR_PAGE_SHIFT};
    }
    uint64_t calls = 0;
    uint64_t began = count == 0 ? 0 : lr_latency_begin();
    size_t done = count == 0 ? 0 : lr_os_purge_ranges(ranges, count, &calls);
    lr_latency_end(LR_LATENCY_RELEASE, began);
    for (size_t i = 0; i < count; i++) {
        lr_span_heap_return_range(claims[i].first_page, claims[i].pages, i < done);
        *released += i < done ? claims[i].dirty : 0;
    }
    lr_unlock(&lr_release_lock);
    lr_fetch_add_relaxed(&total_calls, calls);
    return count > 0 && done == count;
}

size_t lr_release_pages(size_t pages, enum lr_breaks breaks) {
    size_t released = 0;
    struct claim_walk walk = {.breaks = breaks};
    while (released < pages &&
           release_batch(lr_min(pages - released, BATCH_PAGES), &walk, &released)) {
    }
    lr_fetch_add_relaxed(&total_pages, released);
    LR_PROBE1(larder, release, released << LR_PAGE_SHIFT);
    return released;
}

struct release_counts lr_release_counts(void) {
    return (struct release_counts){.pages = lr_load_relaxed(&total_pages),
                                   .calls = lr_load_relaxed(&total_calls)};
}
