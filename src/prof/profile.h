// SPDX-License-Identifier: Apache-2.0
// Heap profiles: what the samples of LR_SAMPLE_PROFILE say.
#ifndef LARDER_PROF_PROFILE_H
#define LARDER_PROF_PROFILE_H

// Makes sampling what LARDER_PROFILE and LARDER_PROFILE_INTERVAL say now. Any thread, no lock held.
void lr_profile_follow_options(void);

#endif
