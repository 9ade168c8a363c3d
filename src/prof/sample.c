// SPDX-License-Identifier: Apache-2.0
#include "prof/sample.h"

#include <string.h>

#include "base/bits.h"
#include "base/probe.h"
#include "cache/sampler.h"
#include "heap/large.h"
#include "heap/meta.h"
#include "os/os.h"
#include "prof/profile.h"
#include "prof/unwind.h"

enum {
    BUCKETS = 1 << 14,   // of the table of live samples: 128 KiB, made with the first one
    LIVE_MOST = 1 << 18, // at the default distance 128 GiB of live blocks
};

struct lr_lock lr_sample_lock = LR_LOCK_INIT(LR_RANK_SAMPLE);
atomic_u64 lr_sample_live; // guarded by: lr_sample_lock for changes

static struct {
    struct lr_sample **buckets;                // guarded by: lr_sample_lock
    uint64_t taken;                            // guarded by: lr_sample_lock
    uint64_t place_blocks;                     // guarded by: lr_sample_lock
    uint64_t place_bytes;                      // guarded by: lr_sample_lock
    atomic_u64 dropped;                        // several writers
    atomic_u64 mean[LR_SAMPLE_USERS];          // changed under lr_sample_lock
    atomic_u64 random;                         // counter that is hashed
    const struct lr_sample_place *guard_place; // immutable after start
} samples;

void lr_sample_set_place(const struct lr_sample_place *place) { samples.guard_place = place; }

void lr_sample_set_mean(enum lr_sample_user user, uint64_t bytes) {
    lr_lock(&lr_sample_lock);
    lr_store_relaxed(&samples.mean[user], bytes);
    uint64_t least = 0;
    for (unsigned u = 0; u < LR_SAMPLE_USERS; u++) {
        uint64_t mean = lr_load_relaxed(&samples.mean[u]);
        if (mean != 0 && (least == 0 || mean < least)) {
            least = mean;
        }
    }
    if (least != lr_load_relaxed(&lr_sampler_mean)) {
        lr_sampler_set_mean(least);
    }
    lr_unlock(&lr_sample_lock);
}

uint64_t lr_sample_mean(enum lr_sample_user user) { return lr_load_relaxed(&samples.mean[user]); }

// splitmix64 of a counter: from all threads without a lock.
static double uniform(void) {
    uint64_t z = lr_fetch_add_relaxed(&samples.random, 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

// True if a point of the process is one for this user too.
static bool is_for(enum lr_sample_user user, size_t bytes) {
    uint64_t mean = lr_load_relaxed(&samples.mean[user]);
    uint64_t drawn = lr_load_relaxed(&lr_sampler_mean);
    if (mean == 0 || drawn == 0) {
        return false;
    }
    return mean == drawn ||
           uniform() * lr_sample_chance(bytes, drawn) < lr_sample_chance(bytes, mean);
}

static struct lr_sample **bucket_of(const void *block) {
    uint64_t hash = (uint64_t)(size_t)block * 0x9E3779B97F4A7C15ULL;
    return &samples.buckets[hash >> (64 - 14)];
}

static_assert(BUCKETS == 1 << 14, "the shift above");

// Makes a record with what is known before the place; NULL: no memory, or too many.
static struct lr_sample *new_record(void) {
    struct lr_sample *sample =
        lr_load_relaxed(&lr_sample_live) < LIVE_MOST ? lr_meta_alloc(sizeof *sample) : NULL;
    if (sample != NULL) {
        *sample = (struct lr_sample){0};
    } else {
        lr_fetch_add_relaxed(&samples.dropped, 1);
    }
    return sample;
}

static void drop(struct lr_sample *sample) {
    lr_meta_free(sample, sizeof *sample);
    lr_fetch_add_relaxed(&samples.dropped, 1);
}

static bool has_buckets_locked(void) {
    if (samples.buckets == NULL) {
        samples.buckets = lr_meta_alloc(BUCKETS * sizeof(void *));
        if (samples.buckets != NULL) {
            memset(samples.buckets, 0, BUCKETS * sizeof(void *));
        }
    }
    return samples.buckets != NULL;
}

static size_t place_bytes(const struct lr_sample *sample) {
    bool pages = sample->shadow != NULL && sample->place == NULL;
    return pages ? lr_align_up(sample->bytes, LR_PAGE_BYTES) : 0;
}

// False: no memory for the table.
static bool insert(struct lr_sample *sample) {
    lr_lock(&lr_sample_lock);
    bool done = has_buckets_locked();
    if (done) {
        struct lr_sample **bucket = bucket_of(sample->block);
        sample->next = *bucket;
        *bucket = sample;
        lr_counter_add(&lr_sample_live, 1);
        samples.taken++;
        lr_profile_add_locked(sample);
        samples.place_bytes += place_bytes(sample);
        samples.place_blocks += place_bytes(sample) != 0;
    }
    lr_unlock(&lr_sample_lock);
    if (done && sample->weight > 0) {
        // The contract of OpenTelemetry's profiler: block, bytes, bytes that the sample stands for.
        LR_PROBE3(otel_memory, alloc, (size_t)sample->block, sample->size,
                  sample->weight * (double)sample->size);
    }
    return done;
}

static void give_place(const struct lr_sample *sample) {
    if (sample->place != NULL) {
        sample->place->give(sample->block, sample->size, sample->bytes);
    } else if (sample->shadow != NULL) {
        lr_large_free(sample->block);
    }
}

// A special place for the block; false: there is none.
static bool take_place(struct lr_sample *sample, bool for_profile, bool for_guard) {
    if (for_guard && samples.guard_place != NULL) {
        sample->block = samples.guard_place->take(sample->size, sample->bytes);
        sample->place = samples.guard_place;
    }
    if (sample->block == NULL && for_profile) {
        bool zeroed;
        sample->place = NULL;
        sample->block = lr_large_alloc(sample->bytes, LR_PAGE_BYTES, &zeroed);
    }
    return sample->block != NULL;
}

void *lr_sample_take(void *shadow, unsigned size_class, size_t size) {
    size_t bytes = lr_classes[size_class].bytes;
    bool for_profile = is_for(LR_SAMPLE_PROFILE, bytes);
    bool for_guard = is_for(LR_SAMPLE_GUARD, bytes);
    struct lr_sample *sample = for_profile || for_guard ? new_record() : NULL;
    if (sample == NULL) {
        return shadow;
    }
    sample->shadow = shadow;
    sample->size = size;
    sample->bytes = bytes;
    sample->size_class = size_class;
    if (for_profile) {
        lr_profile_begin(sample, lr_load_relaxed(&samples.mean[LR_SAMPLE_PROFILE]));
    }
    if (!take_place(sample, for_profile, for_guard)) {
        drop(sample);
        return shadow;
    }
    if (!insert(sample)) {
        give_place(sample);
        drop(sample);
        return shadow;
    }
    return sample->block;
}

void lr_sample_take_large(void *block, size_t size, size_t bytes) {
    struct lr_sample *sample = is_for(LR_SAMPLE_PROFILE, bytes) ? new_record() : NULL;
    if (sample == NULL) {
        return;
    }
    sample->block = block;
    sample->size = size;
    sample->bytes = bytes;
    lr_profile_begin(sample, lr_load_relaxed(&samples.mean[LR_SAMPLE_PROFILE]));
    if (!insert(sample)) {
        drop(sample);
    }
}

// The link that leads to the block's sample; NULL: there is none.
static struct lr_sample **find_locked(const void *block) {
    lr_lock_assert_held(&lr_sample_lock);
    if (samples.buckets == NULL) {
        return NULL;
    }
    struct lr_sample **link = bucket_of(block);
    while (*link != NULL && (*link)->block != block) {
        link = &(*link)->next;
    }
    return *link != NULL ? link : NULL;
}

struct lr_sample_end lr_sample_forget(void *block) {
    lr_lock(&lr_sample_lock);
    struct lr_sample **link = find_locked(block);
    struct lr_sample *sample = link != NULL ? *link : NULL;
    if (sample != NULL) {
        *link = sample->next;
        lr_profile_remove_locked(sample);
        lr_counter_sub(&lr_sample_live, 1);
        samples.place_bytes -= place_bytes(sample);
        samples.place_blocks -= place_bytes(sample) != 0;
    }
    lr_unlock(&lr_sample_lock);
    struct lr_sample_end end = {0};
    if (sample != NULL) {
        if (sample->weight > 0) {
            LR_PROBE1(otel_memory, free, (size_t)block);
        }
        end = (struct lr_sample_end){.shadow = sample->shadow, .size_class = sample->size_class};
        give_place(sample);
        lr_meta_free(sample, sizeof *sample);
    }
    return end;
}

size_t lr_sample_bytes(const void *block) {
    lr_lock(&lr_sample_lock);
    struct lr_sample **link = find_locked(block);
    size_t bytes = link != NULL && (*link)->shadow != NULL ? (*link)->bytes : 0;
    lr_unlock(&lr_sample_lock);
    return bytes;
}

void lr_sample_each(void (*visit)(struct lr_sample *sample)) {
    for (size_t i = 0; i < BUCKETS; i++) {
        lr_lock(&lr_sample_lock);
        for (struct lr_sample *sample = samples.buckets != NULL ? samples.buckets[i] : NULL;
             sample != NULL; sample = sample->next) {
            visit(sample);
        }
        lr_unlock(&lr_sample_lock);
    }
}

bool lr_sample_next_placed(struct lr_sample_cursor *cursor) {
    const struct lr_sample *next = NULL;
    lr_lock(&lr_sample_lock);
    while (samples.buckets != NULL && next == NULL && cursor->bucket < BUCKETS) {
        for (const struct lr_sample *s = samples.buckets[cursor->bucket]; s != NULL; s = s->next) {
            bool later = (size_t)s->block > (size_t)cursor->block;
            if (s->place != NULL && later &&
                (next == NULL || (size_t)s->block < (size_t)next->block)) {
                next = s;
            }
        }
        if (next == NULL) {
            cursor->bucket++;
            cursor->block = NULL;
        }
    }
    if (next != NULL) {
        cursor->block = next->block;
        cursor->bytes = next->bytes;
    }
    lr_unlock(&lr_sample_lock);
    return next != NULL;
}

struct lr_sample_counts lr_sample_counts(void) {
    lr_lock(&lr_sample_lock);
    struct lr_sample_counts counts = {.taken = samples.taken,
                                      .dropped = lr_load_relaxed(&samples.dropped),
                                      .live = lr_load_relaxed(&lr_sample_live),
                                      .place_bytes = samples.place_bytes,
                                      .place_blocks = samples.place_blocks};
    lr_unlock(&lr_sample_lock);
    return counts;
}
