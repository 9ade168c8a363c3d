// SPDX-License-Identifier: Apache-2.0
// Asks a running process for its profile.
#ifndef LARDER_TOOL_PROFILE_FETCH_H
#define LARDER_TOOL_PROFILE_FETCH_H

#include <sys/types.h>

#include "tool/profile_data.h"

// Two profiles of the process, from the begin and the end of `seconds` of sampling; an empty base
// if `seconds` is 0 and it samples already. What was switched on is switched off again. `interval`:
// LARDER_PROFILE_INTERVAL, or NULL. TOOL_OK, or another status with a line said.
int lr_profile_fetch(pid_t pid, const char *interval, double seconds, struct profile *out,
                     struct profile *base);

#endif
