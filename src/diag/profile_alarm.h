// SPDX-License-Identifier: Apache-2.0
// LARDER_PROFILE_AT: a heap profile in a file, once, before a heap that grows has grown too far.
#ifndef LARDER_DIAG_PROFILE_ALARM_H
#define LARDER_DIAG_PROFILE_ALARM_H

// Applies the options as they are now. Any thread.
void lr_profile_alarm_follow_options(void);

// Writes the profile if it is due. Scavenger thread only.
void lr_profile_alarm_serve(void);

// A child writes one of its own if the name has a %p, else none.
void lr_profile_alarm_after_fork_child(void);

#endif
