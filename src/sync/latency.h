// SPDX-License-Identifier: Apache-2.0
// How long slow operations take, while somebody wants to know (LARDER_LATENCY). Off, each of them
// costs a load; calls that the thread's cache serves pass none.
#ifndef LARDER_SYNC_LATENCY_H
#define LARDER_SYNC_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/attr.h"
#include "os/os.h"

enum lr_latency_kind {
    LR_LATENCY_REFILL,         // blocks for a thread's cache, from wherever they are
    LR_LATENCY_CENTRAL,        // of these, the ones from a central list
    LR_LATENCY_CENTRAL_WAIT,   // for the lock of one
    LR_LATENCY_SPAN_HEAP_WAIT, // for the lock of the span heap
    LR_LATENCY_POOL,           // system calls that make a pool usable
    LR_LATENCY_RELEASE,        // system calls that return pages
    LR_LATENCY_KINDS,
};

// Bucket i holds what took up to 2^(i + LR_LATENCY_SHIFT) ns and fits no bucket below; the last one
// the rest.
enum { LR_LATENCY_BUCKETS = 25, LR_LATENCY_SHIFT = 7 };

struct lr_latency_counts {
    uint64_t sum_ns;
    uint64_t buckets[LR_LATENCY_BUCKETS];
};

extern atomic_u32 lr_latency_on;
void lr_latency_switch(bool on);

void lr_latency_add(enum lr_latency_kind kind, uint64_t ns);
struct lr_latency_counts lr_latency_read(enum lr_latency_kind kind); // each figure for itself
const char *lr_latency_name(enum lr_latency_kind kind);

// Around an operation: what begin() gave goes to end(). Any thread, any locks.
static inline uint64_t lr_latency_begin(void) {
    return LR_LIKELY(lr_load_relaxed(&lr_latency_on) == 0) ? 0 : lr_os_now_ns();
}
static inline void lr_latency_end(enum lr_latency_kind kind, uint64_t began) {
    if (LR_UNLIKELY(began != 0)) {
        lr_latency_add(kind, lr_os_now_ns() - began);
    }
}

#endif
