// SPDX-License-Identifier: Apache-2.0
#include "prof/profile.h"

#include "conf/options.h"
#include "prof/sample.h"

static uint64_t wanted_mean(void) { return lr_opt_profile() != 0 ? lr_opt_profile_interval() : 0; }

void lr_profile_follow_options(void) {
    uint64_t mean;
    do {
        mean = wanted_mean();
        lr_sample_set_mean(LR_SAMPLE_PROFILE, mean);
        // Again if another thread changed an option and applied it before this store.
    } while (mean != wanted_mean());
}
