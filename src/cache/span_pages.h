// SPDX-License-Identifier: Apache-2.0
// Returns pages that hold no live block although their span is in use.
#ifndef LARDER_CACHE_SPAN_PAGES_H
#define LARDER_CACHE_SPAN_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Scavenger task: pages that nobody has asked for during LARDER_SCAVENGE_DELAY_MS. True while free
// blocks are left to decide about.
bool lr_span_pages_age(uint64_t now_ns);

// All of them now; how many bytes went. No lock of Larder may be held.
size_t lr_span_pages_release(void);

// Returned so far, and the system calls it took.
struct span_pages_counts {
    uint64_t bytes;
    uint64_t calls;
};
struct span_pages_counts lr_span_pages_counts(void);

#endif
