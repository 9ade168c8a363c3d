// SPDX-License-Identifier: Apache-2.0
// The blocks in such pages are handed out to this file, so that nobody else gets them while the
// kernel takes the pages, and are given back afterwards. What a class's users have left alone for a
// whole delay is theirs no longer.
#include "cache/span_pages.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "cache/central.h"
#include "conf/options.h"
#include "heap/release.h"
#include "heap/scavenger.h"
#include "heap/span_heap.h"
#include "heap/thp.h"
#include "os/os.h"
#include "sync/latency.h"

enum {
    BATCH = 16,        // spans claimed at once
    RANGES = 64,       // of pages in them
    LOOKS_MOST = 1024, // spans of a class looked at in one go
    WORTH_PART = 8,    // of the pages in use: from there on huge pages are broken under load
};

#define MS_NS ((uint64_t)1000000)
// Under load blocks are taken again when it swings back, and the huge page would have been broken.
#define AGE_LOAD_NS (5000 * MS_NS)
#define AGE_MIN_NS (500 * MS_NS) // looking costs more than a tick otherwise does

static atomic_u64 total_bytes;
static atomic_u64 total_calls;

struct batch {
    struct central_claim claims[BATCH];
    size_t claim_count;
    struct lr_os_range ranges[RANGES];
    size_t range_count;
};

// Huge pages that lose a part of the span are refused, or the kernel's background thread would make
// them whole again, all of it resident.
static void refuse_huge_pages(size_t first_page, size_t pages) {
    size_t end = first_page + pages;
    for (size_t at = first_page; at < end;) {
        size_t next = lr_min(lr_align_down(at, LR_PAGES_PER_HUGE) + LR_PAGES_PER_HUGE, end);
        if (lr_span_heap_splits(at, next - at)) {
            lr_os_huge_pages(lr_page_address(lr_align_down(at, LR_PAGES_PER_HUGE)), LR_HUGE_BYTES,
                             false);
        }
        at = next;
    }
}

// The claimed units of a span as ranges of bytes.
static void add_ranges(struct batch *batch, const struct central_claim *claim) {
    size_t unit_pages = lr_span_unit_pages(claim->span->page_count);
    for (uint32_t left = claim->units; left != 0;) {
        unsigned first = (unsigned)__builtin_ctz(left);
        unsigned count = (unsigned)__builtin_ctzl(~((uint64_t)left >> first));
        size_t page = first * unit_pages;
        size_t pages = lr_min(count * unit_pages, claim->span->page_count - page);
        refuse_huge_pages(claim->span->first_page + page, pages);
        batch->ranges[batch->range_count++] =
            (struct lr_os_range){.addr = lr_span_start(claim->span) + (page << LR_PAGE_SHIFT),
                                 .bytes = pages << LR_PAGE_SHIFT};
        left &= (uint32_t) ~((((uint64_t)1 << count) - 1) << first);
    }
}

// A span of 32 units has at most 16 ranges of them.
enum { RANGES_PER_SPAN = LR_SPAN_UNITS / 2 };

static void fill_batch(struct batch *batch, unsigned size_class, unsigned *looks) {
    batch->claim_count = batch->range_count = 0;
    while (batch->claim_count < BATCH && batch->range_count + RANGES_PER_SPAN <= RANGES &&
           lr_central_claim_pages(size_class, &batch->claims[batch->claim_count], looks)) {
        add_ranges(batch, &batch->claims[batch->claim_count++]);
    }
}

// One batch; false if there is nothing left or the kernel refuses.
static bool release_batch(unsigned size_class, unsigned *looks, size_t *released) {
    struct batch batch;
    lr_lock(&lr_release_lock);
    fill_batch(&batch, size_class, looks);
    uint64_t calls = 0;
    uint64_t began = batch.range_count == 0 ? 0 : lr_latency_begin();
    size_t done =
        batch.range_count == 0 ? 0 : lr_os_purge_ranges(batch.ranges, batch.range_count, &calls);
    lr_latency_end(LR_LATENCY_RELEASE, began);
    for (size_t i = 0; i < done; i++) {
        *released += batch.ranges[i].bytes;
    }
    // A refusal (locked memory) is rare: then all of the batch counts as it was.
    for (size_t i = 0; i < batch.claim_count; i++) {
        lr_central_return_pages(size_class, &batch.claims[i], done == batch.range_count);
    }
    lr_unlock(&lr_release_lock);
    lr_fetch_add_relaxed(&total_calls, calls);
    return batch.claim_count > 0 && done == batch.range_count;
}

// Up to about `most` bytes of the class.
static size_t release_class(unsigned size_class, size_t most, unsigned looks) {
    size_t released = 0;
    while (released < most && release_batch(size_class, &looks, &released)) {
    }
    lr_fetch_add_relaxed(&total_bytes, released);
    return released;
}

static bool pages_are_small_enough(void) { return lr_os_page_bytes() <= LR_PAGE_BYTES; }

struct unused {
    size_t bytes[LR_CLASS_COUNT]; // left alone since the last look
    size_t all_bytes;
    bool changes; // there may be more soon
};

static struct unused take_unused(void) {
    struct unused unused = {0};
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        struct central_unused found = lr_central_take_unused(c);
        unused.bytes[c] = found.bytes;
        unused.all_bytes += found.bytes;
        unused.changes |= found.used;
    }
    return unused;
}

// Blocks do not move, so pages in between are free in all huge pages, and a few of them would break
// many up.
static bool is_worth_it(enum lr_breaks breaks, size_t bytes) {
    size_t used_bytes = lr_span_heap_counts().used_pages << LR_PAGE_SHIFT;
    return breaks == LR_BREAK_ANY || bytes >= used_bytes / WORTH_PART;
}

bool lr_span_pages_age(uint64_t now_ns) {
    // Ticks exclude each other, so plain.
    static uint64_t looked_ns;
    static bool more;
    enum lr_breaks breaks = lr_scavenger_breaks();
    uint64_t delay_ns = lr_max(lr_opt_scavenge_delay_ms() * MS_NS,
                               breaks == LR_BREAK_ANY ? AGE_MIN_NS : AGE_LOAD_NS);
    breaks = lr_thp_mode() == LR_THP_MODE_SMALL ? LR_BREAK_ANY : breaks;
    if (now_ns - looked_ns < delay_ns || breaks == LR_BREAK_NONE || !pages_are_small_enough()) {
        return more;
    }
    looked_ns = now_ns;
    struct unused unused = take_unused();
    more = unused.changes;
    bool worth = is_worth_it(breaks, unused.all_bytes);
    for (unsigned c = 1; worth && c < LR_CLASS_COUNT; c++) {
        if (unused.bytes[c] >= LR_PAGE_BYTES) {
            more |= release_class(c, unused.bytes[c], LOOKS_MOST) > 0;
        }
    }
    return more;
}

size_t lr_span_pages_release(void) {
    size_t released = 0;
    for (unsigned c = 1; pages_are_small_enough() && c < LR_CLASS_COUNT; c++) {
        released += release_class(c, SIZE_MAX, UINT32_MAX);
    }
    return released;
}

struct span_pages_counts lr_span_pages_counts(void) {
    return (struct span_pages_counts){.bytes = lr_load_relaxed(&total_bytes),
                                      .calls = lr_load_relaxed(&total_calls)};
}
