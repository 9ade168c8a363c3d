// SPDX-License-Identifier: Apache-2.0
#include "cache/sampler.h"

#include <string.h>

#include "base/real.h"
#include "cache/transfer.h"
#include "heap/meta.h"
#include "os/os.h"

enum { FETCH_FIRST = 2 };

atomic_u64 lr_sampler_mean;
static atomic_u32 setting;  // counts changes of the mean
static atomic_u32 followed; // one of them that a thread has drawn for

void lr_sampler_set_mean(uint64_t bytes) {
    bool was_on = lr_sampling_on();
    lr_store_relaxed(&lr_sampler_mean, bytes);
    // Release pairs with the acquire of follow_setting(): who sees the number sees the mean.
    lr_store_release(&setting, lr_load_relaxed(&setting) + 1);
    if (was_on != (bytes != 0)) {
        lr_size_class_set_sampling(bytes != 0);
    }
}

bool lr_sampler_is_followed(void) {
    return lr_load_relaxed(&followed) == lr_load_relaxed(&setting);
}

double lr_sample_chance(size_t bytes, uint64_t mean) {
    return lr_one_minus_exp((double)bytes / (double)mean);
}

// xorshift64*: 53 bits of it, in (0, 1].
static double uniform(struct thread_sampler *sampler) {
    uint64_t x = sampler->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    sampler->random = x;
    return (double)((x * 0x2545F4914F6CDD1DULL >> 11) + 1) * 0x1p-53;
}

// Bytes to the next sample.
static double draw(struct thread_sampler *sampler) {
    return -lr_ln(uniform(sampler)) * (double)lr_load_relaxed(&lr_sampler_mean);
}

// The first allocation that reaches the next point of the process.
static uint32_t draw_objects(struct thread_sampler *sampler, unsigned size_class) {
    double objects = draw(sampler) / lr_classes[size_class].bytes;
    return objects < (double)(UINT32_MAX - 1) ? (uint32_t)objects + 1 : UINT32_MAX;
}

static struct thread_sampler *make(struct thread_cache *cache) {
    struct thread_sampler *sampler = lr_meta_alloc(sizeof *sampler);
    if (sampler != NULL) {
        memset(sampler, 0, sizeof *sampler);
        // Distinct for each thread and start; splitmix64's finisher spreads the bits.
        uint64_t z =
            lr_os_now_ns() ^ ((uint64_t)lr_os_thread_id() << 40) ^ (uint64_t)(size_t)sampler;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
        sampler->random = (z ^ (z >> 31)) | 1;
        cache->sampler = sampler;
    }
    return sampler;
}

// The cache's sampler, its distances drawn for the mean in effect; NULL: no memory for it.
static struct thread_sampler *follow_setting(struct thread_cache *cache) {
    struct thread_sampler *sampler = cache->sampler != NULL ? cache->sampler : make(cache);
    uint32_t now = lr_load_acquire(&setting);
    if (sampler != NULL && sampler->setting != now) {
        sampler->setting = now;
        lr_store_relaxed(&followed, now);
        sampler->large_left = 0;
        memset(sampler->left, 0, sizeof sampler->left);
    }
    return sampler;
}

static void *take_ordinary(struct thread_cache *cache, unsigned size_class) {
    void *block;
    return lr_bin_pop(&cache->bins[size_class], &block) ? block
                                                        : lr_cache_refill(cache, size_class);
}

// What is taken from a bin this way it would have lost to malloc: it is in use, and worth growing
// when it overflows.
static void note_use(struct bin *bin) {
    bin->hot = bin->warm = 1;
    bin->fed = LR_BIN_FED;
}

// Moves what may be handed out before the next sample: what the bin has, its newest on top, and
// below it as many again from other tiers if that is all. So batches double up to the room there
// is, as does the bin when these blocks are freed into it, and few calls need a slow path.
static void fill_ahead(struct thread_cache *cache, struct thread_sampler *sampler,
                       unsigned size_class) {
    struct bin *bin = &cache->bins[size_class];
    struct sample_bin *ahead = &cache->sample_bins[size_class];
    if (ahead->base == NULL) {
        void **slots = lr_meta_alloc(lr_sample_bin_slots(size_class) * sizeof *slots);
        ahead->base = slots;
        ahead->top = slots;
        if (slots == NULL) {
            return; // each allocation of the class takes the slow path
        }
    }
    size_t room = lr_min(sampler->left[size_class] - 1, lr_sample_bin_slots(size_class));
    size_t held = lr_min(room, (size_t)(bin->top - bin->base));
    size_t fetched = 0;
    if (held < room) {
        size_t most = lr_min(room - held, lr_max(held, FETCH_FIRST));
        fetched = lr_transfer_get(size_class, ahead->base, (unsigned)most);
    }
    if (held != 0) { // a bin without slots has no top to count from
        memcpy(ahead->base + fetched, bin->top - held, held * sizeof *bin->top);
        bin->top -= held;
    }
    note_use(bin);
    ahead->top = ahead->base + fetched + held;
    sampler->left[size_class] -= (uint32_t)(fetched + held);
}

// Moves `count` of the newest blocks of the ordinary bin, which has them, to the sampling bin,
// which is empty; the first of them is returned.
static void *move_newest(struct thread_cache *cache, unsigned size_class, size_t count) {
    struct bin *bin = &cache->bins[size_class];
    bin->top -= count;
    note_use(bin);
    if (count > 1) {
        struct sample_bin *ahead = &cache->sample_bins[size_class];
        memcpy(ahead->base, bin->top, (count - 1) * sizeof *bin->top);
        ahead->top = ahead->base + count - 1;
    }
    return bin->top[count - 1];
}

void *lr_sampler_take_ahead(struct thread_cache *cache, unsigned size_class) {
    struct thread_sampler *sampler = cache->sampler;
    // Acquire as in follow_setting().
    if (sampler->setting != lr_load_acquire(&setting)) {
        return NULL;
    }
    struct bin *bin = &cache->bins[size_class];
    size_t held = (size_t)(bin->top - bin->base);
    size_t take = lr_max(sampler->left[size_class], 1) - 1; // allocations before the sample
    if (size_class < LR_SAMPLE_BINS) {
        struct sample_bin *ahead = &cache->sample_bins[size_class];
        void *block;
        if (lr_bin_pop((struct bin *)ahead, &block)) {
            return block;
        }
        size_t room = lr_min(take, lr_sample_bin_slots(size_class));
        if (held < room / 2 || ahead->base == NULL) {
            return NULL; // the long way fetches more
        }
        take = lr_min(held, room);
    } else {
        take = lr_min(lr_min(held, take), 1);
    }
    if (take == 0) {
        return NULL;
    }
    sampler->left[size_class] -= (uint32_t)take;
    return move_newest(cache, size_class, take);
}

void *lr_sampler_alloc(struct thread_cache *cache, unsigned size_class, bool *sampled) {
    void *block;
    *sampled = false;
    bool has_bin = size_class < LR_SAMPLE_BINS;
    if (has_bin && lr_bin_pop((struct bin *)&cache->sample_bins[size_class], &block)) {
        return block; // a cache that was just taken back
    }
    block = take_ordinary(cache, size_class);
    if (block == NULL) {
        return NULL;
    }
    // Not earlier: a refill ends the cache's sampling if it has been switched off.
    struct thread_sampler *sampler = lr_sampling_on() ? follow_setting(cache) : NULL;
    if (sampler == NULL) {
        return block;
    }
    if (sampler->left[size_class] == 0) {
        sampler->left[size_class] = draw_objects(sampler, size_class);
    }
    *sampled = --sampler->left[size_class] == 0;
    if (!*sampled && has_bin) {
        fill_ahead(cache, sampler, size_class);
    }
    return block;
}

bool lr_sampler_count_large(struct thread_cache *cache, size_t bytes) {
    struct thread_sampler *sampler = lr_sampling_on() ? follow_setting(cache) : NULL;
    if (sampler == NULL) {
        return false;
    }
    if (sampler->large_left <= 0) {
        sampler->large_left = draw(sampler);
    }
    sampler->large_left -= (double)bytes;
    return sampler->large_left <= 0;
}
