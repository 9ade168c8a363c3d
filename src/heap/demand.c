// SPDX-License-Identifier: Apache-2.0
// Kept is what the highest use within the watch would take back. The watch is the delay, but pages
// that are taken again soon after they were returned show that it is too short (the load swings
// slowly) or that free pages are of more use than their number says (no run of them is long
// enough): then it becomes longest at once, and that many pages more are kept. Without such
// refaults both shrink step by step, and when the load ends they are given up.
#include "heap/demand.h"

#include <stdbool.h>

#include "base/bits.h"

enum {
    PEAKS = LR_DEMAND_STEPS * LR_DEMAND_LONGEST,
    REFAULT_MIN = 256, // pages in a sample; fewer cost less than they would hold back
    BUSY_MIN = 64,     // pages taken in a sample; a few spans now and then are no load
    IDLE_DELAYS = 2,   // without load: it is over
};

static void note_peak(struct demand *demand, const struct demand_sample *sample,
                      uint64_t delay_ns) {
    if (sample->now_ns - demand->step_since_ns >= delay_ns / LR_DEMAND_STEPS) {
        demand->step_since_ns = sample->now_ns;
        demand->at = (demand->at + 1) % PEAKS;
        demand->peaks[demand->at] = sample->peak_pages;
    } else {
        size_t *peak = &demand->peaks[demand->at];
        *peak = lr_max(*peak, sample->peak_pages);
    }
}

static void reset(struct demand *demand, uint64_t now_ns) {
    demand->watched = LR_DEMAND_STEPS;
    demand->extra = 0;
    demand->released = 0;
    demand->quiet_since_ns = now_ns;
}

// False when the load is over.
static bool adapt(struct demand *demand, const struct demand_sample *sample, uint64_t delay_ns) {
    uint64_t now_ns = sample->now_ns;
    if (sample->taken_pages >= BUSY_MIN) {
        demand->idle_since_ns = now_ns;
    }
    bool idle = now_ns - demand->idle_since_ns >= IDLE_DELAYS * delay_ns;
    if (demand->watched == 0 || idle) {
        reset(demand, now_ns);
        return false;
    }
    size_t refaults = lr_min(sample->taken_clean, demand->released);
    demand->released -= refaults;
    if (refaults >= REFAULT_MIN) {
        demand->watched = PEAKS;
        demand->extra += refaults;
        demand->quiet_since_ns = now_ns;
    } else if (now_ns - demand->quiet_since_ns >=
               2 * delay_ns * demand->watched / LR_DEMAND_STEPS) {
        demand->watched = (uint32_t)lr_max(demand->watched / 2, LR_DEMAND_STEPS);
        demand->extra /= 2;
        demand->released /= 2;
        demand->quiet_since_ns = now_ns;
    }
    return true;
}

size_t lr_demand_keep(struct demand *demand, const struct demand_sample *sample,
                      uint64_t delay_ns) {
    note_peak(demand, sample, delay_ns);
    size_t slack = adapt(demand, sample, delay_ns) ? sample->slack_pages : 0;
    size_t highest = 0;
    for (uint32_t i = 0; i < demand->watched; i++) {
        highest = lr_max(highest, demand->peaks[(demand->at + PEAKS - i) % PEAKS]);
    }
    return lr_max(highest, sample->used_pages) - sample->used_pages + lr_max(demand->extra, slack);
}

void lr_demand_note_released(struct demand *demand, size_t pages) { demand->released += pages; }
