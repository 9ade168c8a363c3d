// SPDX-License-Identifier: Apache-2.0
// Call stacks, each kept once with what the samples of its allocations add up to.
#ifndef LARDER_PROF_STACK_TABLE_H
#define LARDER_PROF_STACK_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "prof/sample.h"

// Lifetimes are counted in powers of ten: up to 1 ms, up to 10 ms, ..., up to 100 s, longer.
enum { LR_LIFETIMES = 7 };

// Estimates: each sample counts for as many allocations as it stands for. guarded by:
// lr_sample_lock
struct lr_stack_sums {
    double objects; // allocated
    double bytes;   // allocated, as asked for
    double live_objects;
    double live_bytes;
    double peak_objects; // live when all stacks together had most live bytes; see profile.c
    double peak_bytes;
    double freed_objects;
    double freed_bytes;
    double lifetime_ns;             // of freed objects, summed
    double lifetimes[LR_LIFETIMES]; // freed objects by lifetime
    double pinned_span_bytes;       // filled by a dump
    double pinned_huge_bytes;       // filled by a dump
};

struct lr_stack {
    struct lr_stack *next;            // in its bucket; immutable once visible
    _Atomic(struct lr_stack *) after; // in order of creation
    uint64_t hash;
    struct lr_stack_sums sums;
    uint64_t peak; // number of the peak that peak_objects and peak_bytes are of
    uint32_t depth;
    size_t pcs[]; // return addresses, the innermost first
};

// The stack with these addresses, made if need be. When the table is full, or memory is, all new
// ones are one without addresses. NULL: there is no memory even for that.
struct lr_stack *lr_stack_find_locked(const size_t *pcs, unsigned depth);

// The first in order of creation; the others by `after`. No lock is needed: none ever goes.
struct lr_stack *lr_stack_first(void);
static inline struct lr_stack *lr_stack_after(struct lr_stack *stack) {
    return lr_load_acquire(&stack->after); // pairs with the release in lr_stack_find_locked()
}

#endif
