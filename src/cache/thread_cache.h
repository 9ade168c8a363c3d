// SPDX-License-Identifier: Apache-2.0
// A thread's cache: for each size class a bin, a stack of pointers to free blocks. This header is
// the fast path.
//
// Assumptions. Only the owner pushes and pops; nothing is atomic. A bin that is empty for pop or
// full for push stands for everything unusual: a miss, no cache yet, a cache lent to the scavenger,
// a thread that is ending (all have the static empty cache, whose bins have top == base == limit),
// and pages that hold no small block (bin 0). So there is one branch out, predicted not taken.
#ifndef LARDER_CACHE_THREAD_CACHE_H
#define LARDER_CACHE_THREAD_CACHE_H

#include "base/atomic.h"
#include "base/attr.h"
#include "cache/size_class.h"
#include "heap/window.h"

enum { LR_BIN_FED = 2 };

struct bin {
    void **top;        // one above the last pointer
    void **base;       // the bottom; NULL while the bin has no slots
    void **limit;      // top of a full bin; limit - base is a power of two, or 0
    uint16_t fill;     // objects to fetch at the next miss
    uint16_t mark;     // count at the last look for unused bins
    uint16_t old_mark; // the same for the looks that lr_cache_looks asks for
    uint8_t hot : 1;   // went through the slow path since `mark`
    uint8_t warm : 1;  // the same since `old_mark`
    uint8_t fed; // LR_BIN_FED: was filled since it was last flushed, growing it may save both;
                 // less: how many more times it is flushed whole before it shrinks
};

static_assert(sizeof(struct bin) == LR_BIN_BYTES, "lr_bin_offsets[] counts in it");

// What lr_bin_pop() needs of a bin; see cache/sampler.h. may_alias: malloc takes it for a bin.
struct __attribute__((may_alias)) sample_bin {
    void **top;
    void **base;
};

static_assert(sizeof(struct sample_bin) == LR_SAMPLE_BIN_BYTES, "lr_bin_offsets[] counts in it");
static_assert(offsetof(struct sample_bin, top) == offsetof(struct bin, top) &&
                  offsetof(struct sample_bin, base) == offsetof(struct bin, base),
              "a sample bin is the beginning of a bin");

struct thread_sampler;

struct thread_cache {
    struct bin bins[LR_CLASS_COUNT]; // owner thread only; bins[0] stays empty
    size_t slot_bytes;               // owner thread only; blocks that all bins could hold, in bytes
    uint32_t sweep;                  // owner thread only; slow calls since the last look
    uint32_t calls;                  // owner thread only; slow calls since the last look by time
    uint32_t looks;                  // owner thread only; lr_cache_looks at that look
    uint32_t is_quick;               // owner thread only; slow calls came quickly lately
    uint64_t paced_ns;               // owner thread only; when that was found
    // Written by the owner, read by statistics and the scavenger.
    atomic_u32 busy;       // inside a slow path: its bins are changing
    atomic_u64 slow_calls; // relaxed: statistics and idleness
    atomic_u64 refills;
    atomic_u64 flushes;
    struct thread_sampler *sampler;                // owner thread only; NULL: never sampled
    struct sample_bin sample_bins[LR_SAMPLE_BINS]; // owner thread only
};

static_assert(sizeof(struct thread_cache) <= UINT16_MAX, "lr_bin_offsets[] reaches all bins");
static_assert(LR_FAST_MAX <= UINT16_MAX, "lr_bin_block_bytes[] holds it");
static_assert(offsetof(struct thread_cache, sample_bins) % LR_OFFSET_STEP == 0,
              "lr_bin_block_bytes[] has an entry for each bin");

static inline uint16_t lr_sample_bin_offset(unsigned size_class) {
    return (uint16_t)(offsetof(struct thread_cache, sample_bins) +
                      size_class * sizeof(struct sample_bin));
}

// Slots of a sampling bin: enough that its misses cost little beside the work done with the blocks,
// few enough that the blocks of a bin stay in the CPU's cache, where the stack order of the
// ordinary bin would have kept them.
static inline size_t lr_sample_bin_slots(unsigned size_class) {
    return lr_max(lr_min(lr_classes[size_class].batch, 128), 16);
}

// Counts up when every cache should be looked through for unused bins, at its owner's next slow
// call.
extern atomic_u32 lr_cache_looks;

// Initial-exec: the library is loaded at start, or its hundred bytes fit the static TLS surplus.
// Loaded afresh by every call: the scavenger swaps it to take an idle thread's cache (idle.c).
extern _Thread_local _Atomic(struct thread_cache *) lr_thread_cache
    __attribute__((tls_model("initial-exec"))) LR_HIDDEN;

// The bin of the calling thread's cache.
static LR_ALWAYS_INLINE struct bin *lr_own_bin(size_t offset) {
    return (struct bin *)(lr_load_folded(&lr_thread_cache) + offset);
}

// Takes the bin's newest block; false if it is empty.
static LR_ALWAYS_INLINE bool lr_bin_pop(struct bin *bin, void **block) {
    void **top = bin->top;
    if (LR_UNLIKELY(top == bin->base)) {
        return false;
    }
#if defined(__x86_64__)
    // In memory, as the compiler does by itself for a push: one instruction less than by register.
    __asm__("subq $8, %0" : "+m"(bin->top) : : "cc");
#else
    bin->top = top - 1;
#endif
    *block = top[-1];
    return true;
}

// False if the bin is full.
static LR_ALWAYS_INLINE bool lr_bin_push(struct bin *bin, void *block) {
    void **top = bin->top;
    if (LR_UNLIKELY(top == bin->limit)) {
        return false;
    }
    *top = block;
    bin->top++;
    return true;
}

// False: take the slow path. (A result of its own, because a test of the block for NULL would be
// paid by every hit.)
static LR_ALWAYS_INLINE bool lr_alloc_fast(size_t size, void **block) {
    if (LR_UNLIKELY(size > LR_FAST_MAX)) {
        return false;
    }
    return lr_bin_pop(lr_own_bin(lr_load_folded_u16(&lr_bin_offsets[size])), block);
}

// The same, and how many bytes of the block are usable.
static LR_ALWAYS_INLINE bool lr_alloc_fast_usable(size_t size, void **block, size_t *usable) {
    if (LR_UNLIKELY(size > LR_FAST_MAX)) {
        return false;
    }
    size_t offset = lr_load_folded_u16(&lr_bin_offsets[size]);
    *usable = lr_bin_block_bytes[offset / LR_OFFSET_STEP];
    return lr_bin_pop(lr_own_bin(offset), block);
}

// False: take the slow path. Any pointer, NULL included: its page is outside the window.
static LR_ALWAYS_INLINE bool lr_free_fast(void *block) {
    char *base = lr_window.base; // read once: the class map begins there
    size_t page = ((size_t)block - (size_t)base) >> LR_PAGE_SHIFT;
    if (LR_UNLIKELY(!lr_page_in_window(page))) {
        return false;
    }
    size_t offset = lr_load_folded_u16((atomic_u16 *)(void *)base + page);
    return lr_bin_push(lr_own_bin(offset), block);
}

// ---- Bins (thread_cache.c): the caller owns the cache and has set busy ----

// Fetches blocks of the class and returns one; NULL: out of memory.
void *lr_cache_refill(struct thread_cache *cache, unsigned size_class);
// Takes a block that did not fit.
void lr_cache_overflow(struct thread_cache *cache, unsigned size_class, void *block);
// Gives all blocks back; with `slots` also the memory of the stacks. Returns the bytes of blocks.
size_t lr_cache_flush(struct thread_cache *cache, bool slots);
// Bytes of blocks held; racy unless the caller owns the cache.
size_t lr_cache_bytes_racy(const struct thread_cache *cache);
size_t lr_cache_objects_racy(const struct thread_cache *cache, unsigned size_class);

#endif
