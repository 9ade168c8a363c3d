// SPDX-License-Identifier: Apache-2.0
// How bins are filled, emptied and sized. Sizes follow use: a bin begins with 8 slots, doubles
// while it is both filled and emptied, and is halved back when a look finds it unused.
#include "cache/thread_cache.h"

#include <string.h>

#include "cache/central.h"
#include "cache/sampler.h"
#include "cache/transfer.h"
#include "conf/options.h"
#include "heap/limit.h"
#include "heap/meta.h"
#include "heap/pool.h"
#include "os/os.h"
#include "sync/latency.h"

enum {
    SLOTS_MIN = 8,              // one cache line of pointers
    SLOTS_MIN_BYTES = 16 << 10, // of blocks: budgets count what a bin could hold
    FILL_FIRST_SMALL = 8,
    FILL_FIRST_SMALL_BYTES = 512, // blocks up to this size begin with FILL_FIRST_SMALL at once
    FILL_FIRST = 2,
    FILL_FIRST_BYTES = 8 << 10, // up to this size with FILL_FIRST, above with one
    LARGER_BYTES = 4 << 10,     // see modest()
    SMALL_HEAP_BYTES = 64 << 20,
    MODEST_BIN_BYTES = 32 << 10,
    MODEST_BATCH_BYTES = 64 << 10,
    FLUSH_PART = 4,         // of a full bin, where it is fed; less, and moving the rest down shows
    SWEEP_CALLS = 512,      // slow calls between looks for unused bins
    LOOK_CALLS = 8,         // least slow calls between looks by time,
    LOOKS_MISSED = 16,      // unless so many were asked for meanwhile
    SWEEP_CALLS_SHORT = 64, // when a bin could not grow within the budget
};

#define QUICK_CALL_NS UINT64_C(12000) // from one slow call to the next
#define CACHE_FLOOR (256 * LR_KIB)
atomic_u32 lr_cache_looks;
static atomic_sz all_slot_bytes; // slot_bytes of all caches, against LARDER_THREAD_CACHE_TOTAL

static size_t slots_of(const struct bin *bin) { return (size_t)(bin->limit - bin->base); }

static size_t count_of(const struct bin *bin) { return (size_t)(bin->top - bin->base); }

// In a small heap a thread keeps few larger blocks, and moves few at once, until its slow calls
// come quickly: beside what is done between them their cost does not show, but their memory does.
static size_t modest(const struct thread_cache *cache, unsigned size_class, size_t most,
                     size_t bytes) {
    size_t block = lr_classes[size_class].bytes;
    bool free_hand =
        block <= LARGER_BYTES || cache->is_quick != 0 || lr_pool_bytes() >= SMALL_HEAP_BYTES;
    return free_hand ? most : lr_min(most, bytes / block);
}

static size_t slots_most(const struct thread_cache *cache, unsigned size_class) {
    size_t most = lr_min(lr_classes[size_class].most, lr_opt_bin_objects_max());
    most = modest(cache, size_class, most, MODEST_BIN_BYTES);
    return (size_t)1 << lr_log2_floor(lr_max(most, 2));
}

static size_t slots_least(unsigned size_class) {
    size_t least = SLOTS_MIN_BYTES / lr_classes[size_class].bytes;
    return (size_t)1 << lr_log2_floor(lr_max(lr_min(least, SLOTS_MIN), 2));
}

static size_t batch_most(const struct thread_cache *cache, unsigned size_class) {
    size_t most = lr_min(lr_classes[size_class].batch, lr_opt_batch_max());
    return lr_max(modest(cache, size_class, most, MODEST_BATCH_BYTES), 1);
}

static size_t first_fill(unsigned size_class) {
    size_t block = lr_classes[size_class].bytes;
    if (block <= FILL_FIRST_SMALL_BYTES) {
        return FILL_FIRST_SMALL;
    }
    return block <= FILL_FIRST_BYTES ? FILL_FIRST : 1;
}

static void account(struct thread_cache *cache, unsigned size_class, size_t before, size_t after) {
    size_t change = (after - before) * lr_classes[size_class].bytes;
    cache->slot_bytes += change;
    lr_fetch_add_relaxed(&all_slot_bytes, change);
}

// Gives the bin `slots` slots (a power of two, or 0), which hold at least what is in it.
static bool resize(struct thread_cache *cache, unsigned size_class, size_t slots) {
    struct bin *bin = &cache->bins[size_class];
    size_t before = slots_of(bin);
    size_t count = count_of(bin);
    void **base = NULL;
    if (slots > 0) {
        base = lr_meta_alloc(slots * sizeof *base);
        if (base == NULL) {
            return false;
        }
    }
    if (before > 0) {
        if (base != NULL) {
            memcpy(base, bin->base, count * sizeof *base);
        }
        lr_meta_free(bin->base, before * sizeof *base);
    }
    bin->base = base;
    bin->top = slots > 0 ? base + count : NULL;
    bin->limit = slots > 0 ? base + slots : NULL;
    account(cache, size_class, before, slots);
    return true;
}

static void flush_oldest(struct thread_cache *cache, unsigned size_class, size_t count) {
    struct bin *bin = &cache->bins[size_class];
    size_t held = count_of(bin);
    lr_transfer_put(size_class, bin->base, (unsigned)count);
    memmove(bin->base, bin->base + count, (held - count) * sizeof *bin->base);
    bin->top -= count;
    lr_counter_add(&cache->flushes, 1);
}

static void note_pace(struct thread_cache *cache) {
    uint64_t now = lr_os_now_ns();
    cache->is_quick = now - cache->paced_ns < cache->sweep * QUICK_CALL_NS;
    cache->paced_ns = now;
}

// A bin whose count is what it was at the last look, and that took no slow path since, is not in
// use, or its use needs few of its slots: half of the blocks and slots go.
static void sweep(struct thread_cache *cache) {
    note_pace(cache);
    cache->sweep = 0;
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        struct bin *bin = &cache->bins[c];
        size_t held = count_of(bin);
        if (slots_of(bin) > 0 && bin->hot == 0 && held == bin->mark) {
            size_t drop = held - held / 2;
            if (drop > 0) {
                flush_oldest(cache, c, drop);
            }
            size_t slots = slots_of(bin) / 2;
            if (slots < slots_least(c)) {
                slots = held - drop == 0 ? 0 : slots_of(bin);
            }
            if (slots != slots_of(bin) && slots >= held - drop) {
                resize(cache, c, slots);
            }
            bin->fill = (uint16_t)lr_max(bin->fill / 2, first_fill(c));
        }
        bin->mark = (uint16_t)count_of(bin);
        bin->hot = 0;
    }
}

// The same by time, for a thread that has few slow calls left: what was not used between two such
// looks goes whole. It goes where its pages can be returned, because each block may hold a span of
// its own.
static void give_up_unused(struct thread_cache *cache) {
    cache->looks = lr_load_relaxed(&lr_cache_looks);
    cache->calls = 0;
    bool all = lr_limit_is_tight();
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        struct bin *bin = &cache->bins[c];
        size_t held = count_of(bin);
        if (slots_of(bin) > 0 && (all || (bin->warm == 0 && held == bin->old_mark))) {
            lr_central_insert(c, bin->base, (unsigned)held);
            bin->top = bin->base;
            resize(cache, c, 0);
            bin->fill = 0;
            lr_counter_add(&cache->flushes, 1);
        }
        bin->old_mark = (uint16_t)count_of(bin);
        bin->warm = 0;
    }
}

// Room for a growth of `bytes` within the budgets?
// The total is a limit for growth, not a reason to starve: every cache may have CACHE_FLOOR.
static bool within_budget(struct thread_cache *cache, size_t bytes) {
    size_t wanted = cache->slot_bytes + bytes;
    return wanted <= lr_min(CACHE_FLOOR, lr_opt_thread_cache_max()) ||
           (!lr_limit_is_tight() && wanted <= lr_opt_thread_cache_max() &&
            lr_load_relaxed(&all_slot_bytes) + bytes <= lr_opt_thread_cache_total());
}

// Doubles the bin's slots up to at least `wanted` if budgets allow.
static void try_grow(struct thread_cache *cache, unsigned size_class, size_t wanted) {
    size_t before = slots_of(&cache->bins[size_class]);
    size_t slots = lr_min(lr_pow2_ceil(lr_max(wanted, slots_least(size_class))),
                          slots_most(cache, size_class));
    if (slots <= before) {
        return;
    }
    size_t bytes = (slots - before) * lr_classes[size_class].bytes;
    if (!within_budget(cache, bytes)) {
        // A look through all bins costs as much as many refills.
        if (cache->sweep < SWEEP_CALLS_SHORT) {
            return;
        }
        sweep(cache);
        bytes = (slots - slots_of(&cache->bins[size_class])) * lr_classes[size_class].bytes;
        if (!within_budget(cache, bytes)) {
            return;
        }
    }
    resize(cache, size_class, slots);
}

static void shrink_to_batch(struct thread_cache *cache, unsigned size_class) {
    size_t slots = lr_max(lr_pow2_ceil(batch_most(cache, size_class)), slots_least(size_class));
    if (slots < slots_of(&cache->bins[size_class])) {
        resize(cache, size_class, slots);
    }
}

static size_t flush_sample_bins(struct thread_cache *cache, bool slots) {
    size_t bytes = 0;
    for (unsigned c = 1; c < LR_SAMPLE_BINS; c++) {
        struct sample_bin *bin = &cache->sample_bins[c];
        size_t held = (size_t)(bin->top - bin->base);
        if (held > 0) {
            bytes += held * lr_classes[c].bytes;
            lr_transfer_put(c, bin->base, (unsigned)held);
            bin->top = bin->base;
        }
        if (slots && bin->base != NULL) {
            lr_meta_free(bin->base, lr_sample_bin_slots(c) * sizeof *bin->base);
            *bin = (struct sample_bin){0};
        }
    }
    return bytes;
}

static void end_sampling(struct thread_cache *cache) {
    flush_sample_bins(cache, true);
    lr_meta_free(cache->sampler, sizeof *cache->sampler);
    cache->sampler = NULL;
}

static void count_slow_call(struct thread_cache *cache) {
    if (LR_UNLIKELY(cache->sampler != NULL && !lr_sampling_on())) {
        end_sampling(cache);
    }
    if (++cache->sweep >= SWEEP_CALLS) {
        sweep(cache);
    }
    // By slow calls too: a thread that waited for a processor has not been idle. But one whose few
    // large bins serve nearly all has hardly any.
    uint32_t missed = lr_load_relaxed(&lr_cache_looks) - cache->looks;
    if (++cache->calls >= LOOK_CALLS ? missed > 0 : missed >= LOOKS_MISSED) {
        give_up_unused(cache);
    }
}

static void *refill(struct thread_cache *cache, unsigned size_class) {
    struct bin *bin = &cache->bins[size_class];
    count_slow_call(cache);
    size_t most = batch_most(cache, size_class);
    size_t fill = lr_min(bin->fill != 0 ? bin->fill : first_fill(size_class), most);
    bin->fill = (uint16_t)lr_min(fill * 2, most);
    if (slots_of(bin) < 2 * fill) {
        try_grow(cache, size_class, 4 * fill);
    }
    lr_counter_add(&cache->refills, 1);
    bin->hot = bin->warm = 1;
    bin->fed = LR_BIN_FED;
    fill = lr_min(fill, slots_of(bin));
    void *block;
    if (fill == 0) { // no budget for slots: one at a time
        return lr_transfer_get(size_class, &block, 1) == 1 ? block : NULL;
    }
    bin->top = bin->base + lr_transfer_get(size_class, bin->base, (unsigned)fill);
    return lr_bin_pop(bin, &block) ? block : NULL;
}

void *lr_cache_refill(struct thread_cache *cache, unsigned size_class) {
    uint64_t began = lr_latency_begin();
    void *block = refill(cache, size_class);
    lr_latency_end(LR_LATENCY_REFILL, began);
    return block;
}

// The first block of a class that a thread frees, before it has asked for one, was mostly handed to
// it by another thread, whose blocks lie in the same cache line. The thread gets others to use
// before it, if there are any: free() takes no new span.
static bool begin_with_others(struct thread_cache *cache, unsigned size_class, void *block) {
    struct bin *bin = &cache->bins[size_class];
    if (bin->fill != 0 || slots_of(bin) > 0 || lr_classes[size_class].bytes >= LR_CACHE_LINE) {
        return false;
    }
    try_grow(cache, size_class, (size_t)2 * FILL_FIRST_SMALL);
    if (slots_of(bin) <= FILL_FIRST_SMALL) {
        return false;
    }
    bin->fill = FILL_FIRST_SMALL;
    *bin->top++ = block;
    bin->top += lr_central_remove_held(size_class, bin->top, FILL_FIRST_SMALL);
    return true;
}

void lr_cache_overflow(struct thread_cache *cache, unsigned size_class, void *block) {
    struct bin *bin = &cache->bins[size_class];
    count_slow_call(cache); // may have emptied the bin by half
    if (begin_with_others(cache, size_class, block)) {
        return;
    }
    bin->hot = bin->warm = 1;
    bool fed = bin->fed == LR_BIN_FED;
    if (bin->top == bin->limit && (fed || slots_of(bin) < batch_most(cache, size_class))) {
        try_grow(cache, size_class, 2 * slots_of(bin));
    }
    if (bin->top == bin->limit) {
        size_t held = count_of(bin);
        if (held == 0) { // no budget for slots
            lr_transfer_put(size_class, &block, 1);
            return;
        }
        // A bin that is fed will be asked for nearly all of it again, and what other threads take
        // meanwhile comes back in another processor's cache. One that only takes in will not be
        // asked for what it holds. If that goes on, what is in it in the end may hold as many
        // spans.
        size_t part =
            lr_max(held / FLUSH_PART, lr_min(batch_most(cache, size_class), held - held / 2));
        flush_oldest(cache, size_class, fed ? part : held);
        if (bin->fed == 0) {
            shrink_to_batch(cache, size_class);
        } else {
            bin->fed--;
        }
    }
    LR_CHECK(lr_bin_push(bin, block));
}

size_t lr_cache_flush(struct thread_cache *cache, bool slots) {
    size_t bytes = 0;
    cache->is_quick = 0; // the next slow calls are another thread's, or come after a pause
    if (cache->sampler != NULL) {
        bytes = flush_sample_bins(cache, false);
        if (slots) {
            end_sampling(cache);
        }
    }
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        size_t held = count_of(&cache->bins[c]);
        if (held > 0) {
            bytes += held * lr_classes[c].bytes;
            flush_oldest(cache, c, held);
        }
        if (slots && slots_of(&cache->bins[c]) > 0) {
            resize(cache, c, 0);
            cache->bins[c].fill = 0;
        }
    }
    return bytes;
}

LR_NO_TSAN size_t lr_cache_objects_racy(const struct thread_cache *cache, unsigned size_class) {
    // The owner's accesses are plain, because atomic ones would cost malloc an instruction. It may
    // move a bin's slots between the two loads; nonsense is left out.
    const volatile struct bin *bin = &cache->bins[size_class];
    size_t top = (size_t)bin->top;
    size_t base = (size_t)bin->base;
    size_t count = (top - base) / sizeof(void *);
    count = count <= UINT16_MAX ? count : 0;
    if (size_class < LR_SAMPLE_BINS) {
        const volatile struct sample_bin *ahead = &cache->sample_bins[size_class];
        size_t waiting = ((size_t)ahead->top - (size_t)ahead->base) / sizeof(void *);
        count += waiting <= lr_sample_bin_slots(size_class) ? waiting : 0;
    }
    return count;
}

size_t lr_cache_bytes_racy(const struct thread_cache *cache) {
    size_t bytes = 0;
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        bytes += lr_cache_objects_racy(cache, c) * lr_classes[c].bytes;
    }
    return bytes;
}
