// SPDX-License-Identifier: Apache-2.0
// When blocks are picked for guards. Counting what threads allocate costs more than the guards do,
// so it is done for a part of the time only, and as much more densely: a part that the background
// thread begins and ends, whatever the program does.
#ifndef LARDER_PROF_PACE_H
#define LARDER_PROF_PACE_H

#include <stdint.h>

// Applies LARDER_GUARD_SAMPLE as it is now, all the time until the background thread takes over.
void lr_pace_follow_options(void);
// Mean bytes from one guarded block to the next while they are picked.
uint64_t lr_pace_mean(void);
// A block was guarded: the background thread is wanted, if it is not there.
void lr_pace_note_guarded(void);

// Of the background thread, as struct lr_scavenger_service says.
void lr_pace_serve(void);
uint64_t lr_pace_due_ns(void);

void lr_pace_after_fork_child(void);

#endif
