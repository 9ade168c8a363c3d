// SPDX-License-Identifier: Apache-2.0
// Heap profiles: what the samples of LR_SAMPLE_PROFILE add up to, call stack by call stack.
#ifndef LARDER_PROF_PROFILE_H
#define LARDER_PROF_PROFILE_H

#include <stdint.h>

struct lr_sample;

// Makes sampling what LARDER_PROFILE and LARDER_PROFILE_INTERVAL say now. Any thread, no lock held.
void lr_profile_follow_options(void);

// ---- By sample.c ----

// A sample of the profile, on the thread that allocates it and before others know it: who called.
void lr_profile_begin(struct lr_sample *sample, uint64_t mean);
// It enters, or leaves, the table of live samples; lr_sample_lock is held.
void lr_profile_add_locked(struct lr_sample *sample);
void lr_profile_remove_locked(struct lr_sample *sample);

struct lr_stack;
// Brings the stack's share of the peak up to date; lr_sample_lock is held.
void lr_profile_note_peak_locked(struct lr_stack *stack);

#endif
