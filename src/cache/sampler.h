// SPDX-License-Identifier: Apache-2.0
// Which allocations are samples: a Poisson process by bytes, one for each thread and size class
// (together they are one process of the same rate), at no cost to malloc and free while it is off.
//
// malloc finds its bin by lr_bin_offsets[], free by the class map. While sampling is on the table
// leads malloc to a second row of bins, the sampling bins. One is filled with a few blocks of the
// ordinary bin, which are counted as they are moved, and with fewer when the next sample is near:
// so the slow path is reached exactly by the allocation that is the sample. free does not notice.
#ifndef LARDER_CACHE_SAMPLER_H
#define LARDER_CACHE_SAMPLER_H

#include "cache/thread_cache.h"

// One of a thread's; made by its first slow call while sampling is on.
struct thread_sampler {
    uint64_t random;               // state of the generator; never 0
    uint32_t setting;              // of lr_sampler_set_mean() that `left` was drawn for
    uint32_t left[LR_CLASS_COUNT]; // allocations up to the next sample; 0: not drawn yet
    double large_left;             // the same for large blocks, in bytes; 0: not drawn yet
};

extern atomic_u64 lr_sampler_mean; // mean bytes from a sample to the next; 0: sampling is off

static inline bool lr_sampling_on(void) { return lr_load_relaxed(&lr_sampler_mean) != 0; }

// Any thread, one at a time (the caller sees to that); 0 switches off. Threads follow at their next
// slow call; blocks that wait in sampling bins then were counted by the rule before, which for a
// process without memory is no error.
void lr_sampler_set_mean(uint64_t bytes);

// Has a thread counted since the last lr_sampler_set_mean()?
bool lr_sampler_is_followed(void);

// The chance of an allocation of `bytes` to be a sample while the mean distance is `mean`.
double lr_sample_chance(size_t bytes, uint64_t mean);

// ---- The caller owns the cache and has set busy ----

// The short way: a block that the cache's ordinary bin has, with what else of it may be handed out
// before the next sample moved to the sampling bin. NULL: one is not at hand, or is a sample.
void *lr_sampler_take_ahead(struct thread_cache *cache, unsigned size_class);
// A block of the class, by the sampling bins; NULL: out of memory. *sampled: it is a sample.
void *lr_sampler_alloc(struct thread_cache *cache, unsigned size_class, bool *sampled);
// Counts a large block; true: it is a sample.
bool lr_sampler_count_large(struct thread_cache *cache, size_t bytes);

#endif
