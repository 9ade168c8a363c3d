// SPDX-License-Identifier: Apache-2.0
#include "heap/pool.h"

#include <errno.h>

#include "base/bits.h"
#include "conf/options.h"
#include "heap/huge_page.h"
#include "heap/meta.h"
#include "heap/span_heap.h"
#include "heap/thp.h"
#include "os/os.h"
#include "sync/latency.h"

// The first pools are small: a locked process (mlockall) pays for a pool at once, and under
// overcommit_memory=2 it counts as used. Later ones are a quarter of what there is.
#define POOL_MIN (2 * LR_HUGE_BYTES)

// Descriptors of the smallest spans, 64 to 192 bytes for 16 KiB, need up to a 64th of the pools;
// those of hardened mode's slabs, with a record for each slot, a 16th, or an 8th where slots have
// 16 bytes. What is missing is committed when it is needed, if there is memory then.
enum { META_SHARE = 64, META_SHARE_HARDENED = 16 };

enum { SKIP_HUGE_PAGES = 32, SKIP_TRIES = 256 };

static struct {
    size_t end_page;        // guarded by: lr_pool_lock; 0 before the first pool
    size_t class_committed; // guarded by: lr_pool_lock; bytes of each map that are usable
    size_t span_committed;
    size_t huge_committed;
} pools;

static bool commit_map(void *map, size_t *committed, size_t needed) {
    size_t end = lr_align_up(needed, lr_os_page_bytes());
    if (end > *committed) {
        char *at = (char *)map + *committed;
        if (!lr_window_commit(at, end - *committed)) {
            return false;
        }
        *committed = end;
    }
    return true;
}

static bool map_pool(size_t first_page, size_t huge_pages) {
    size_t end_page = first_page + huge_pages * LR_PAGES_PER_HUGE;
    size_t end_huge = end_page / LR_PAGES_PER_HUGE;
    char *start = lr_page_address(first_page);
    size_t bytes = huge_pages * LR_HUGE_BYTES;
    size_t all = (end_page - lr_window.first_pool_page) << LR_PAGE_SHIFT;
    size_t share = lr_opt_hardened() != 0 ? META_SHARE_HARDENED : META_SHARE;
    // One entry more than there are huge pages: joining looks at the neighbour behind the last.
    if (!commit_map(lr_window.base, &pools.class_committed, end_page * sizeof(atomic_u16)) ||
        !commit_map(lr_window.span_map, &pools.span_committed, end_page * sizeof(atomic_u32)) ||
        !commit_map(lr_window.huge_pages, &pools.huge_committed,
                    (end_huge + 1) * sizeof(struct huge_page)) ||
        !lr_meta_prepare(bytes / share, all / share) || !lr_window_commit(start, bytes)) {
        return false;
    }
    if (lr_opt_thp() == LR_THP_ALWAYS || lr_opt_thp() == LR_THP_NEVER) {
        lr_os_huge_pages(start, bytes, lr_opt_thp() == LR_THP_ALWAYS);
    }
    return true;
}

static bool commit_pool(size_t first_page, size_t huge_pages) {
    uint64_t began = lr_latency_begin();
    bool done = map_pool(first_page, huge_pages);
    lr_latency_end(LR_LATENCY_POOL, began);
    return done;
}

// A window that is only planned may have met a mapping of the program: looks for the next free
// place behind it. The pages skipped stay outside of all pools, with empty maps. 0: none near.
static size_t skip_foreign(size_t first_page, size_t huge_pages) {
    const size_t stride = (size_t)SKIP_HUGE_PAGES * LR_PAGES_PER_HUGE;
    for (int i = 0; i < SKIP_TRIES; i++, first_page += stride) {
        size_t end = first_page + huge_pages * LR_PAGES_PER_HUGE;
        if (end <= lr_window.end_pool_page &&
            lr_os_is_unmapped(lr_page_address(first_page), huge_pages * LR_HUGE_BYTES)) {
            return first_page;
        }
    }
    return 0;
}

uint32_t lr_pool_grow_locked(size_t huge_pages, uint32_t *count) {
    lr_lock_assert_held(&lr_pool_lock);
    size_t first = pools.end_page != 0 ? pools.end_page : lr_window.first_pool_page;
    size_t room = (lr_window.end_pool_page - first) / LR_PAGES_PER_HUGE;
    if (huge_pages > room) {
        return 0;
    }
    size_t step = lr_max(lr_pool_bytes() / 4, POOL_MIN);
    step = lr_min(step, lr_opt_pool_size()) / LR_HUGE_BYTES;
    step = lr_min(lr_max(step, huge_pages), room);
    if (!commit_pool(first, step)) {
        step = huge_pages;
        if (!commit_pool(first, step)) {
            bool foreign = !lr_window.reserved && errno == EEXIST;
            first = foreign ? skip_foreign(first, step) : 0;
            if (first == 0 || !commit_pool(first, step)) {
                return 0;
            }
        }
    }
    pools.end_page = first + step * LR_PAGES_PER_HUGE;
    // Release is not needed: blocks of the pool reach other threads by the program's own ordering.
    lr_store_relaxed(&lr_window.pages, pools.end_page);
    lr_thp_decide(lr_pool_bytes());
    *count = (uint32_t)step;
    return (uint32_t)(first / LR_PAGES_PER_HUGE);
}

size_t lr_pool_bytes(void) {
    size_t pages = lr_load_relaxed(&lr_window.pages);
    return pages == 0 ? 0 : (pages - lr_window.first_pool_page) << LR_PAGE_SHIFT;
}
