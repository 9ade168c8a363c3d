// SPDX-License-Identifier: Apache-2.0
#include "api/slow.h"

#include <errno.h>
#include <stdint.h>

#include "api/start.h"
#include "base/bits.h"
#include "base/fail.h"
#include "cache/misuse.h"
#include "cache/sampler.h"
#include "cache/thread_state.h"
#include "cache/trace.h"
#include "cache/transfer.h"
#include "hard/hard.h"
#include "heap/large.h"
#include "heap/scavenger.h"
#include "prof/guard.h"
#include "prof/sample.h"

// Between the two the owner's bins change: the scavenger keeps off, and a forked child does not
// trust what it finds. The fences keep the compiler from moving work out; see cache/idle.c for why
// that is enough.
static void begin_slow(struct thread_cache *cache) {
    lr_store_relaxed(&cache->busy, 1);
    lr_compiler_fence();
    lr_counter_add(&cache->slow_calls, 1);
}

static void end_slow(struct thread_cache *cache) {
    lr_compiler_fence();
    lr_store_relaxed(&cache->busy, 0);
}

// The calling thread's cache; NULL if it has to work without one.
static struct thread_cache *current_cache(void) {
    struct thread_cache *cache = lr_load_relaxed(&lr_thread_cache);
    if (LR_LIKELY(cache != &lr_empty_cache)) {
        return cache;
    }
    return lr_start() && !lr_hardened ? lr_thread_cache_acquire() : NULL;
}

// Starts Larder if need be, which tells.
static bool is_hardened(void) { return lr_start() && LR_UNLIKELY(lr_hardened); }

// While sampling is on.
static LR_NOINLINE void *alloc_counted(struct thread_cache *cache, unsigned size_class,
                                       size_t size) {
    bool sampled;
    begin_slow(cache);
    void *block = lr_sampler_alloc(cache, size_class, &sampled);
    end_slow(cache);
    lr_scavenger_note_activity();
    return sampled ? lr_sample_take(block, size_class, size) : block;
}

// While sampling is on: a block that the thread's cache may hand out before the next sample; NULL:
// the long way.
static LR_NOINLINE void *take_ahead(size_t size) {
    struct thread_cache *cache = lr_load_relaxed(&lr_thread_cache);
    if (cache->sampler == NULL) {
        return NULL; // the empty cache among others
    }
    begin_slow(cache);
    void *block = lr_sampler_take_ahead(cache, lr_class_of(size));
    end_slow(cache);
    return block;
}

static void *alloc_class(unsigned size_class, size_t size) {
    struct thread_cache *cache = current_cache();
    void *block;
    if (LR_UNLIKELY(cache == NULL)) {
        return lr_start() && lr_transfer_get(size_class, &block, 1) == 1 ? block : NULL;
    }
    if (LR_UNLIKELY(lr_sampling_on())) {
        return alloc_counted(cache, size_class, size);
    }
    // Zeroed blocks, and a cache that was just made or taken back.
    if (!lr_bin_pop(&cache->bins[size_class], &block)) {
        begin_slow(cache);
        block = lr_cache_refill(cache, size_class);
        end_slow(cache);
        lr_scavenger_note_activity();
    }
    return block;
}

// Common end of all requests: no lock is held here.
static void *finish(void *block, int saved_errno) {
    errno = block != NULL ? saved_errno : ENOMEM;
    if (LR_UNLIKELY(lr_scavenger_is_wanted())) {
        // A thread with a cache tells the scavenger when it ends; one that only has large blocks
        // would leave it waiting for ever.
        (void)current_cache();
        lr_scavenger_start();
    }
    return block;
}

// While sampling is on. Threads without a cache are in their last destructors: not counted.
static LR_NOINLINE void count_large(void *block, size_t size) {
    size_t bytes = lr_large_bytes(block);
    struct thread_cache *cache = current_cache();
    if (cache != NULL) {
        begin_slow(cache);
        bool sampled = lr_sampler_count_large(cache, bytes);
        end_slow(cache);
        if (sampled) {
            lr_sample_take_large(block, size, bytes);
        }
    }
}

static void *alloc_large(size_t size, size_t align, bool *zeroed) {
    if (size > PTRDIFF_MAX || align > PTRDIFF_MAX - size || !lr_start()) {
        return NULL;
    }
    void *block = lr_large_alloc(size, align, zeroed);
    if (LR_UNLIKELY(lr_sampling_on()) && block != NULL) {
        count_large(block, size);
    }
    return block;
}

void *lr_resize_large(void *block, size_t size) {
    // Before the resize, after which the address may be another block's. If it fails the block is
    // about to be copied and freed.
    if (LR_UNLIKELY(lr_sample_any())) {
        (void)lr_sample_forget(block);
    }
    void *resized = lr_large_resize(block, size);
    if (LR_UNLIKELY(lr_sampling_on()) && resized != NULL) {
        count_large(resized, size); // as if it had been allocated, copied, freed
    }
    return resized;
}

LR_NOINLINE void *lr_alloc_maybe_zeroed(size_t size, bool *zeroed) {
    LR_ASSERT(!lr_lock_any_held()); // nothing inside Larder allocates with a lock held
    int saved_errno = errno;
    if (is_hardened()) {
        *zeroed = true;
        return finish(lr_hard_alloc(size, 1), saved_errno);
    }
    *zeroed = false;
    void *block = size <= LR_SMALL_MAX ? alloc_class(lr_class_of(size), size)
                                       : alloc_large(size, LR_PAGE_BYTES, zeroed);
    return finish(block, saved_errno);
}

static LR_NOINLINE void *alloc_unzeroed(size_t size) {
    bool zeroed;
    void *block = LR_UNLIKELY(lr_sampling_on()) && size <= LR_SMALL_MAX ? take_ahead(size) : NULL;
    if (block != NULL) {
        return block;
    }
    block = lr_alloc_maybe_zeroed(size, &zeroed);
    if (LR_UNLIKELY(lr_trace_on()) && block != NULL) {
        lr_trace_alloc(LARDER_TRACE_MALLOC, block, size, 1);
    }
    return block;
}

LR_NOINLINE void *lr_alloc_slow(size_t size) {
    // A hit of a size above the fast path's table; for smaller ones a second miss.
    void *block;
    if (size < lr_load_folded(&lr_pop_below) &&
        lr_bin_pop(lr_own_bin(lr_bin_offset(lr_class_of(size))), &block)) {
        return block;
    }
    return alloc_unzeroed(size);
}

static void *alloc_aligned(size_t align, size_t size) {
    int saved_errno = errno;
    bool zeroed;
    if (is_hardened()) {
        return finish(lr_hard_alloc(size, align), saved_errno);
    }
    if (align <= LR_PAGE_BYTES && size <= LR_SMALL_MAX) {
        return lr_alloc_maybe_zeroed(lr_align_up(lr_max(size, 1), align), &zeroed);
    }
    return finish(alloc_large(size, align, &zeroed), saved_errno);
}

LR_NOINLINE void *lr_alloc_aligned_slow(size_t align, size_t size) {
    void *block;
    if (align <= LR_PAGE_BYTES && size <= LR_SMALL_MAX) {
        // As in lr_alloc_slow(): a hit of a size above the fast path's table.
        size_t rounded = lr_align_up(lr_max(size, 1), align);
        if (rounded < lr_load_folded(&lr_pop_below) &&
            lr_bin_pop(lr_own_bin(lr_bin_offset(lr_class_of(rounded))), &block)) {
            return block;
        }
    }
    block = alloc_aligned(align, size);
    if (LR_UNLIKELY(lr_trace_on()) && block != NULL) {
        lr_trace_alloc(LARDER_TRACE_ALIGNED, block, size, align);
    }
    return block;
}

static void free_small(void *block, unsigned size_class) {
    struct thread_cache *cache = current_cache();
    if (LR_UNLIKELY(cache == NULL)) {
        lr_transfer_put(size_class, &block, 1);
        return;
    }
    if (!lr_bin_push(&cache->bins[size_class], block)) {
        begin_slow(cache);
        lr_cache_overflow(cache, size_class, block);
        end_slow(cache);
        lr_scavenger_note_activity();
    }
}

LR_NOINLINE void lr_free_slow(void *block) {
    if (block == NULL) {
        return;
    }
    int saved_errno = errno;
    if (LR_UNLIKELY(lr_trace_on())) {
        lr_trace_block(LARDER_TRACE_DEALLOC, block, lr_block_bytes(block));
    }
    size_t page = lr_page_of(block);
    unsigned size_class =
        lr_page_in_window(page) ? lr_load_relaxed(lr_class_map(page)) / LR_BIN_BYTES : 0;
    if (LR_LIKELY(size_class != 0)) {
        free_small(block, size_class);
        errno = saved_errno;
        return;
    }
    if (LR_UNLIKELY(lr_sample_any())) {
        struct lr_sample_end end = lr_sample_forget(block);
        if (end.shadow != NULL) {
            free_small(end.shadow, end.size_class);
            errno = saved_errno;
            return;
        }
    }
    if (LR_UNLIKELY(lr_hardened) && lr_hard_owns(block)) {
        lr_hard_free(block);
    } else if (!lr_large_free(block) && !lr_guard_report_free(block)) {
        lr_misuse_report(LR_MISUSE_FREE, block);
    }
    errno = saved_errno;
}

size_t lr_block_bytes(const void *block) {
    size_t page = lr_page_of(block);
    if (lr_page_in_window(page)) {
        unsigned size_class = lr_load_relaxed(lr_class_map(page)) / LR_BIN_BYTES;
        if (LR_LIKELY(size_class != 0)) {
            return lr_classes[size_class].bytes;
        }
    }
    if (LR_UNLIKELY(lr_sample_any())) {
        size_t bytes = lr_sample_bytes(block);
        if (bytes != 0) {
            return bytes;
        }
    }
    return lr_large_bytes(block);
}

size_t lr_flush_own_cache(void) {
    int saved_errno = errno;
    size_t bytes = 0;
    struct thread_cache *cache = lr_load_relaxed(&lr_thread_cache);
    if (LR_UNLIKELY(lr_trace_on())) {
        cache = lr_thread_cache_acquire(); // the pointer leads nowhere then
    }
    if (cache != NULL && cache != &lr_empty_cache) {
        begin_slow(cache);
        bytes = lr_cache_flush(cache, false);
        end_slow(cache);
    }
    errno = saved_errno;
    return bytes;
}

void lr_check_cached(void) {
    struct thread_cache *cache = lr_load_relaxed(&lr_thread_cache);
    // Else a signal handler calls exit(). Of a hidden cache one cannot tell.
    if (lr_load_relaxed(&cache->busy) == 0 && !lr_trace_on()) {
        lr_flush_own_cache();
        lr_transfer_flush_all();
    }
}
