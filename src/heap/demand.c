// SPDX-License-Identifier: Apache-2.0
// Kept is what the highest use within the watch would take back, the less of it the longer ago that
// was. The watch is the delay, which is short: a page that is returned and taken again costs one
// microsecond of processor time, up to nine on a virtual machine. Some refaults a second are
// tolerated: with half as many, loads whose sizes change by phases keep 2.4 times what is live.
// More of them show that the delay is too short (the load swings slowly and far) or that free pages
// are of more use than their number says (no run of them is long enough): then the watch becomes
// longest at once, all of its demand counts in full, and that many pages more are kept. Without
// such refaults both shrink step by step, and when the load ends they are given up.
//
// While what was freed is likely to be taken again (the use rises, so much is kept that little more
// could be returned, or the watch is long) the load counts as one that swings: then no huge page is
// worth breaking up.
//
// By the longest watch at once are judged a few MiB, which are worth less than their refaults, and
// what is more than could be taken again within what is tolerated.
#include "heap/demand.h"

#include "base/bits.h"

enum {
    PEAKS = LR_DEMAND_STEPS * LR_DEMAND_LONGEST,
    LONGEST_MIN = 4,      // delays: the longest watch even if the delay is long
    REFAULT_RATE = 24576, // pages a second that are tolerated: 192 MiB
    REFAULT_BURST = 16384,
    // A large block's pages are wanted all at once and nothing else would have to wait for them: a
    // refault there counts as so many.
    LARGE_WEIGHT = 8,
    LITTLE = 512,    // pages
    BUSY_MIN = 64,   // pages taken within BUSY_NS; a few spans now and then are no load
    IDLE_DELAYS = 2, // without load: it is over
};

#define S_NS ((uint64_t)1000000000)
#define LONGEST_NS (8 * S_NS)
#define LARGE_HALF_NS (S_NS / 2) // of the watch on large blocks
#define BUSY_NS (S_NS / 4)
#define IDLE_MIN_NS (2 * S_NS)
#define QUIET_MIN_NS (4 * S_NS) // what was returned is remembered for as long at least

static void note_peak(struct demand *demand, const struct demand_sample *sample,
                      uint64_t delay_ns) {
    uint64_t step_ns = delay_ns / LR_DEMAND_STEPS;
    uint64_t elapsed_ns = sample->now_ns - demand->step_since_ns;
    size_t *peak = &demand->peaks[demand->at];
    if (elapsed_ns < step_ns) {
        *peak = lr_max(*peak, sample->peak_pages);
        return;
    }
    // The peak may have been in any of the steps since the last sample.
    demand->step_since_ns = sample->now_ns;
    uint64_t steps = step_ns == 0 ? 1 : lr_min(elapsed_ns / step_ns, PEAKS);
    for (uint64_t i = 0; i < steps; i++) {
        demand->at = (demand->at + 1) % PEAKS;
        demand->peaks[demand->at] = sample->peak_pages;
    }
}

static void reset(struct demand *demand, uint64_t now_ns) {
    demand->watched = LR_DEMAND_STEPS;
    demand->extra = 0;
    demand->released = 0;
    demand->quiet_since_ns = now_ns;
}

static uint32_t longest_watch(uint64_t delay_ns) {
    uint64_t delays = delay_ns == 0 ? 0 : LONGEST_NS / delay_ns;
    delays = lr_min(lr_max(delays, LONGEST_MIN), LR_DEMAND_LONGEST);
    return (uint32_t)delays * LR_DEMAND_STEPS;
}

// Refaults of the sample beyond what is tolerated.
static size_t refaults_that_count(struct demand *demand, size_t refaults, uint64_t now_ns) {
    uint64_t elapsed_ms = lr_min(now_ns - demand->sampled_ns, S_NS) / 1000000;
    demand->sampled_ns = now_ns;
    size_t tolerated = demand->tolerated + (size_t)elapsed_ms * REFAULT_RATE / 1000;
    tolerated = lr_min(tolerated, REFAULT_BURST);
    size_t excused = lr_min(refaults, tolerated);
    demand->tolerated = tolerated - excused;
    return refaults - excused;
}

// False if no load is on the heap.
static bool adapt(struct demand *demand, const struct demand_sample *sample, uint64_t delay_ns) {
    uint64_t now_ns = sample->now_ns;
    if (now_ns - demand->taken_since_ns >= BUSY_NS) {
        demand->taken_since_ns = now_ns;
        demand->taken = 0;
    }
    demand->taken += sample->taken_pages;
    if (demand->taken >= BUSY_MIN) {
        demand->idle_since_ns = now_ns;
    }
    size_t refaults = lr_min(sample->taken_clean, demand->released);
    size_t weighted = refaults + (LARGE_WEIGHT - 1) * lr_min(refaults, sample->large_clean);
    bool count = refaults_that_count(demand, weighted, now_ns) > 0;
    bool idle = now_ns - demand->idle_since_ns >= lr_max(IDLE_DELAYS * delay_ns, IDLE_MIN_NS);
    if (demand->watched == 0 || idle) {
        reset(demand, now_ns);
        return !idle;
    }
    demand->released -= refaults;
    if (count) {
        demand->watched = longest_watch(delay_ns);
        demand->extra += refaults;
        demand->quiet_since_ns = now_ns;
    } else if (now_ns - demand->quiet_since_ns >=
               lr_max(2 * delay_ns * demand->watched / LR_DEMAND_STEPS, QUIET_MIN_NS)) {
        demand->watched = (uint32_t)lr_max(demand->watched / 2, LR_DEMAND_STEPS);
        demand->extra /= 2;
        demand->released /= 2;
        demand->quiet_since_ns = now_ns;
    }
    return true;
}

static size_t excess(size_t pages, size_t used_pages) {
    return pages > used_pages ? pages - used_pages : 0;
}

// What the use of the last delay would take back, the less of it the longer ago that was.
static size_t fading_surplus(const struct demand *demand, size_t used_pages) {
    size_t most = 0;
    for (uint32_t i = 0; i < LR_DEMAND_STEPS; i++) {
        size_t more = excess(demand->peaks[(demand->at + PEAKS - i) % PEAKS], used_pages);
        most = lr_max(most, more * (LR_DEMAND_STEPS - i) / LR_DEMAND_STEPS);
    }
    return most;
}

static size_t highest(const size_t *peaks, size_t count) {
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        most = lr_max(most, peaks[i]);
    }
    return most;
}

// What the use of the last `steps` would take back.
static size_t surplus(const struct demand *demand, uint32_t steps, size_t used_pages) {
    size_t recent = lr_min(steps, demand->at + 1U); // up to `at`; the others end the array
    size_t most = lr_max(highest(&demand->peaks[demand->at + 1U - recent], recent),
                         highest(&demand->peaks[PEAKS - (steps - recent)], steps - recent));
    return excess(most, used_pages);
}

// The use is higher than its peak a delay ago.
static bool rises(const struct demand *demand, size_t used_pages) {
    size_t before = demand->peaks[(demand->at + PEAKS - LR_DEMAND_STEPS) % PEAKS];
    return used_pages > before;
}

// What large blocks took in the last half to whole second they may take again: few of them are
// live, so that what they hold falls and rises far within milliseconds. They never need more than
// twice their peak: each is one run, so that about as much lies free between them.
static size_t large_surplus(struct demand *demand, const struct demand_sample *sample) {
    struct demand_large *half = demand->large;
    uint64_t elapsed_ns = sample->now_ns - demand->large_since_ns;
    if (elapsed_ns >= LARGE_HALF_NS) {
        half[1] = elapsed_ns < 2 * LARGE_HALF_NS ? half[0] : (struct demand_large){0};
        half[0] = (struct demand_large){0};
        demand->large_since_ns = sample->now_ns;
    }
    half[0].peak = lr_max(half[0].peak, sample->large_peak);
    half[0].taken += sample->large_taken;
    return lr_min(half[0].taken + half[1].taken,
                  excess(2 * lr_max(half[0].peak, half[1].peak), sample->large_pages));
}

size_t lr_demand_keep(struct demand *demand, const struct demand_sample *sample,
                      uint64_t delay_ns) {
    note_peak(demand, sample, delay_ns);
    bool load = adapt(demand, sample, delay_ns);
    demand->load = load;
    bool learned = demand->watched > LR_DEMAND_STEPS;
    size_t slack = load ? sample->slack_pages : 0;
    size_t wanted = learned ? surplus(demand, demand->watched, sample->used_pages)
                            : fading_surplus(demand, sample->used_pages);
    demand->falling = !learned && wanted > LITTLE;
    size_t large = large_surplus(demand, sample);
    size_t keep = lr_max(wanted + lr_max(demand->extra, slack), delay_ns > 0 ? large : 0);
    demand->swings = false;
    if (!load) {
        return keep;
    }
    size_t longest = surplus(demand, longest_watch(delay_ns), sample->used_pages);
    size_t costly = longest - lr_min(longest, REFAULT_BURST);
    demand->swings = learned || costly > 0 || rises(demand, sample->used_pages);
    return lr_max(keep, lr_max(lr_min(longest, LITTLE), costly));
}

void lr_demand_note_released(struct demand *demand, size_t pages) { demand->released += pages; }
