// SPDX-License-Identifier: Apache-2.0
// Samples: allocations that were picked by cache/sampler.h, from malloc to free.
//
// A small block that is a sample is not handed out. The program gets another one at a special
// place, whose page has no size class, so that its free takes the slow path and is seen, at no cost
// to the others. The block itself is kept, its shadow: it holds the sample's place in its span, so
// that sampling changes nothing of how spans fill, and profiles can ask what a block keeps alive.
// Large blocks take the slow path anyhow; they are only written down.
#ifndef LARDER_PROF_SAMPLE_H
#define LARDER_PROF_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "sync/lock.h"

extern struct lr_lock lr_sample_lock;
extern atomic_u64 lr_sample_live; // samples that are not freed

struct lr_stack;

struct lr_sample {
    void *block;                         // what the program has
    void *shadow;                        // small: the block whose place it takes; NULL: large
    size_t size;                         // asked for
    size_t bytes;                        // usable
    const struct lr_sample_place *place; // NULL: pages of the span heap, or large
    struct lr_sample *next;              // in its bucket
    uint32_t size_class;                 // 0: large
    // Of the profile: guarded by lr_sample_lock once the sample is in the table.
    struct lr_stack *stack; // who allocated it; NULL: not of the profile
    double weight;          // allocations that it stands for
    uint64_t born_ns;
};

// Who wants samples, each at a rate of its own. The process is drawn for the densest; the others
// get a share of its points picked at random, which is again a Poisson process.
enum lr_sample_user {
    LR_SAMPLE_PROFILE,
    LR_SAMPLE_GUARD,
    LR_SAMPLE_USERS,
};

// Mean bytes from a sample to the next; 0: none for this user. Any thread, at any time.
void lr_sample_set_mean(enum lr_sample_user user, uint64_t bytes);
uint64_t lr_sample_mean(enum lr_sample_user user);

// Special places for the samples of LR_SAMPLE_GUARD. No lock of Larder is held at any call.
struct lr_sample_place {
    // A place for a small block of `bytes` usable bytes, `size` of which were asked for; aligned to
    // the largest power of two, up to a page, that divides `bytes`. NULL: none now, so that the
    // sample is dropped (or kept for the profile alone).
    void *(*take)(size_t size, size_t bytes);
    // The program has freed it. No other call knows the block any more.
    void (*give)(void *block, size_t size, size_t bytes);
};
// Before the first sample. The structure is kept.
void lr_sample_set_place(const struct lr_sample_place *place);

// ---- For the slow path of malloc and free: any thread, no lock held ----

// What to hand out for `size` bytes instead of `shadow`, a block of the class: that block itself if
// there is no record or no place for the sample.
void *lr_sample_take(void *shadow, unsigned size_class, size_t size);
void lr_sample_take_large(void *block, size_t size, size_t bytes);

// May the pointer be a sample? One load.
static inline bool lr_sample_any(void) { return lr_load_relaxed(&lr_sample_live) != 0; }

struct lr_sample_end {
    void *shadow; // small: to be freed now; NULL: not a sample, or a large block, which is still
                  // there
    unsigned size_class;
};
// Ends the sample that the pointer is, if it is one; its special place is given back.
struct lr_sample_end lr_sample_forget(void *block);

// Usable bytes of a small block that is a sample; 0 for all other pointers.
size_t lr_sample_bytes(const void *block);

// Shows each live sample, with lr_sample_lock held; those that come or go meanwhile, or not.
void lr_sample_each(void (*visit)(struct lr_sample *sample));

// Moves a cursor, all zero at first, to the next live sample that has a place of its user's; those
// that come meanwhile are met or not. False: there is none left.
struct lr_sample_cursor {
    size_t bucket;
    void *block;
    size_t bytes;
};
bool lr_sample_next_placed(struct lr_sample_cursor *cursor);

struct lr_sample_counts {
    uint64_t taken;        // since the start
    uint64_t dropped;      // of the points that were due: no memory for them, or too many live
    uint64_t live;         // now
    uint64_t place_bytes;  // pages that live samples of small blocks occupy, beside their shadows
    uint64_t place_blocks; // of these, the runs of pages
};
struct lr_sample_counts lr_sample_counts(void);

#endif
