// SPDX-License-Identifier: Apache-2.0
#include "prof/pace.h"

#include "base/bits.h"
#include "base/config.h"
#include "cache/sampler.h"
#include "conf/options.h"
#include "heap/scavenger.h"
#include "os/os.h"
#include "prof/sample.h"

enum {
    PARTS_MOST = 64,        // of the time, one of which is sampled
    MEAN_LEAST = 128 << 10, // guards closer than that cost more than the counting
};

#define PART_NS (10 * UINT64_C(1000000))
#define IDLE_NS (10 * PART_NS)

enum phase {
    ALWAYS, // picked all the time: nobody is there who would end it
    OFF,    // not picked until due_ns
    ON,     // picked until due_ns, and until somebody has allocated
};

static struct {
    atomic_u32 phase;  // enum phase
    atomic_u64 due_ns; // relaxed
} pace;

// How many times as densely blocks are picked in the one part of the time; 1: always alike.
static uint64_t parts(void) {
    bool alone = lr_sample_mean(LR_SAMPLE_PROFILE) == 0; // else threads count anyway
    bool thread = lr_opt_scavenger() == LR_SCAVENGER_THREAD;
    return alone && thread ? lr_max(lr_min(lr_opt_guard_sample() / MEAN_LEAST, PARTS_MOST), 1) : 1;
}

uint64_t lr_pace_mean(void) {
    bool always = lr_load_relaxed(&pace.phase) == ALWAYS;
    return always ? lr_opt_guard_sample() : lr_opt_guard_sample() / parts();
}

static uint64_t wanted_mean(void) {
    return lr_load_relaxed(&pace.phase) == OFF ? 0 : lr_pace_mean();
}

// Of several who call it the last one finds what all of them have changed.
static void apply(void) {
    uint64_t mean;
    do {
        mean = wanted_mean();
        lr_sample_set_mean(LR_SAMPLE_GUARD, mean);
    } while (mean != wanted_mean());
}

static void enter(enum phase phase, uint64_t due_ns) {
    lr_store_relaxed(&pace.due_ns, due_ns);
    lr_store_relaxed(&pace.phase, phase);
    apply();
}

void lr_pace_follow_options(void) { enter(ALWAYS, 0); }

void lr_pace_note_guarded(void) {
    if (lr_load_relaxed(&pace.phase) == ALWAYS && parts() > 1) {
        lr_scavenger_want();
    }
}

// An idle process is not woken: the thread that allocates next wakes the background thread.
uint64_t lr_pace_due_ns(void) {
    uint64_t due_ns = lr_load_relaxed(&pace.due_ns);
    bool idle =
        due_ns <= lr_os_now_ns() && lr_load_relaxed(&pace.phase) == ON && !lr_sampler_is_followed();
    return parts() == 1 || idle ? UINT64_MAX : due_ns;
}

// Of `parts` of the time the number of one at random.
static uint64_t random_part(uint64_t now_ns) {
    return (now_ns * 0x9E3779B97F4A7C15ULL >> 32) % parts();
}

void lr_pace_serve(void) {
    uint64_t now = lr_os_now_ns();
    uint32_t phase = lr_load_relaxed(&pace.phase);
    if (parts() == 1) {
        if (phase != ALWAYS) {
            enter(ALWAYS, 0);
        }
        return;
    }
    if (lr_pace_due_ns() > now) {
        return;
    }
    // A program that was idle goes on at any point of a round: one that only ever works for a
    // moment is sampled in one of many of them.
    bool was_idle = now - lr_load_relaxed(&pace.due_ns) > IDLE_NS;
    uint64_t part = was_idle ? random_part(now) : phase == ON ? parts() - 1 : 0;
    if (part == 0) {
        enter(ON, now + PART_NS);
    } else {
        enter(OFF, now + part * PART_NS);
    }
}

void lr_pace_after_fork_child(void) { enter(ALWAYS, 0); }
