// SPDX-License-Identifier: Apache-2.0
// How much memory the process may use and how much it should.
//
// The hard limit (LARDER_HEAP_LIMIT) is on what the heap holds, because that is known when a
// request has to be refused. The soft limit is on resident memory, which is what the system counts;
// the heap compares what it holds with it, as the figure that it has at hand when it grows.
#ifndef LARDER_HEAP_LIMIT_H
#define LARDER_HEAP_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/attr.h"
#include "base/config.h"

// Bytes of the soft limit that is in effect; SIZE_MAX: none.
size_t lr_limit_soft_bytes(void);

// How far `pages` held exceed the hard limit.
size_t lr_limit_hard_excess(size_t pages);
void lr_limit_note_refused(void); // a request failed because of it

// After blocks took pages, with no lock held: so many `held` by them, so many free ones `dirty`.
// Returns free pages at once while the soft limit is exceeded.
void lr_limit_note_held(size_t held, size_t dirty);

// True while caches are to keep little: the soft limit is exceeded.
extern atomic_u32 lr_limit_tight;
static inline bool lr_limit_is_tight(void) { return lr_load_relaxed(&lr_limit_tight) != 0; }

// Looks at resident memory, the control groups and the system's counters of short memory, each as
// often as it is worth. How many bytes should go back now, caches included: 0 none, SIZE_MAX all
// that are free. One caller at a time (ticks).
size_t lr_limit_look(uint64_t now_ns);

// Where the files of the system are looked for, which is not a copy: tests only.
void lr_limit_set_root(const char *root);

struct limit_counts {
    uint64_t soft_hits; // looks that found the process above the soft limit
    uint64_t refused;
    uint64_t shortages; // looks that found memory short in the system
};
struct limit_counts lr_limit_counts(void);

#endif
