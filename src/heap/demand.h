// SPDX-License-Identifier: Apache-2.0
// How many free pages are worth keeping, judged by what the heap's users took lately. Arithmetic on
// a history, no lock and no clock of its own.
#ifndef LARDER_HEAP_DEMAND_H
#define LARDER_HEAP_DEMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LR_DEMAND_STEPS = 4,     // the delay is watched in this many steps
    LR_DEMAND_LONGEST = 800, // delays that the watch may grow to, but see demand.c
};

struct demand {
    size_t peaks[LR_DEMAND_STEPS * LR_DEMAND_LONGEST]; // of used pages, a step each
    uint64_t step_since_ns;
    uint32_t at;      // the step that is watched now
    uint32_t watched; // steps that count: the watch; 0 stands for one delay
    size_t released;  // pages returned that were not taken again so far
    size_t extra;     // pages kept beyond the demand
    size_t tolerated; // refaults that may still come before they count
    struct demand_large {
        size_t peak, taken; // pages: most that large blocks held, and what they took
    } large[2];             // in this half of the watch on them, and in the last
    uint64_t large_since_ns;
    size_t taken; // pages since taken_since_ns
    uint64_t taken_since_ns;
    bool load;               // enough was taken lately
    bool swings;             // free pages will soon be taken again, wherever they lie
    bool falling;            // much of what is kept goes soon, if the demand does not come back
    uint64_t sampled_ns;     // time of the last sample
    uint64_t quiet_since_ns; // the watch was last changed
    uint64_t idle_since_ns;  // too few pages were taken since to be a load
};

// What happened since the last sample.
struct demand_sample {
    uint64_t now_ns;
    size_t used_pages;
    size_t peak_pages;  // highest used_pages
    size_t taken_pages; // by the heap's users
    size_t taken_clean; // of them, those that were not resident
    size_t large_clean; // of these, those for large blocks
    size_t large_pages; // that large blocks hold now, part of used_pages
    size_t large_peak;  // highest large_pages
    size_t large_taken; // by large blocks, part of taken_pages
    size_t slack_pages; // not worth breaking a huge page for under load
};

// Free pages to keep.
size_t lr_demand_keep(struct demand *demand, const struct demand_sample *sample, uint64_t delay_ns);
void lr_demand_note_released(struct demand *demand, size_t pages);

#endif
