// SPDX-License-Identifier: Apache-2.0
#include "prof/profile.h"

#include "cache/sampler.h"
#include "conf/options.h"
#include "os/os.h"
#include "prof/frames.h"
#include "prof/stack_table.h"
#include "prof/unwind.h"

// The peak. Whenever the live bytes of all stacks reach a new height a new peak begins, which a
// number stands for. A stack's own part in it is what it has live then: it is written down when
// that changes for the first time afterwards, so that a peak costs no walk through all stacks.
static double live_bytes;      // guarded by: lr_sample_lock
static double peak_live_bytes; // guarded by: lr_sample_lock
static uint64_t peak = 1;      // guarded by: lr_sample_lock

void lr_profile_follow_options(void) {
    bool wanted = lr_opt_profile() != 0 || lr_opt_leak_check() != 0 ||
                  (lr_opt_profile_at() != 0 && lr_opt_profile_file() != 0);
    lr_sample_set_mean(LR_SAMPLE_PROFILE, wanted ? lr_opt_profile_interval() : 0);
}

void lr_profile_note_peak_locked(struct lr_stack *stack) {
    if (stack->peak != peak) {
        stack->peak = peak;
        stack->sums.peak_objects = stack->sums.live_objects;
        stack->sums.peak_bytes = stack->sums.live_bytes;
    }
}

void lr_profile_begin(struct lr_sample *sample, uint64_t mean) {
    size_t pcs[LR_UNWIND_MOST];
    unsigned depth = lr_unwind(pcs, LR_UNWIND_MOST);
    unsigned own = lr_frames_own(pcs, depth);
    sample->weight = mean != 0 ? 1 / lr_sample_chance(sample->bytes, mean) : 1;
    sample->born_ns = lr_os_now_ns();
    lr_lock(&lr_sample_lock);
    sample->stack = lr_stack_find_locked(pcs + own, depth - own);
    lr_unlock(&lr_sample_lock);
}

void lr_profile_add_locked(struct lr_sample *sample) {
    struct lr_stack *stack = sample->stack;
    if (stack == NULL) {
        return;
    }
    double bytes = sample->weight * (double)sample->size;
    lr_profile_note_peak_locked(stack);
    stack->sums.objects += sample->weight;
    stack->sums.bytes += bytes;
    stack->sums.live_objects += sample->weight;
    stack->sums.live_bytes += bytes;
    live_bytes += bytes;
    if (live_bytes > peak_live_bytes) {
        peak_live_bytes = live_bytes;
        peak++;
    }
}

static unsigned lifetime_index(uint64_t ns) {
    unsigned index = 0;
    for (uint64_t limit = 1000000; ns >= limit && index + 1 < LR_LIFETIMES; limit *= 10) {
        index++;
    }
    return index;
}

void lr_profile_remove_locked(struct lr_sample *sample) {
    struct lr_stack *stack = sample->stack;
    if (stack == NULL) {
        return;
    }
    double bytes = sample->weight * (double)sample->size;
    uint64_t lifetime_ns = lr_os_now_ns() - sample->born_ns;
    lr_profile_note_peak_locked(stack);
    stack->sums.live_objects -= sample->weight;
    stack->sums.live_bytes -= bytes;
    live_bytes -= bytes;
    stack->sums.freed_objects += sample->weight;
    stack->sums.freed_bytes += bytes;
    stack->sums.lifetime_ns += sample->weight * (double)lifetime_ns;
    stack->sums.lifetimes[lifetime_index(lifetime_ns)] += sample->weight;
}
