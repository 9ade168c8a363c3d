// SPDX-License-Identifier: Apache-2.0
// Empties the caches of threads that are idle, without their help.
#ifndef LARDER_CACHE_IDLE_H
#define LARDER_CACHE_IDLE_H

#include <stdbool.h>
#include <stdint.h>

// Scavenger task. True while some cache still holds blocks and may become idle.
bool lr_idle_drain(uint64_t now_ns);

// For the next second a tenth of a second without use is enough, not LARDER_IDLE_THREAD_MS.
void lr_idle_hurry(void);

struct idle_counts {
    uint64_t drains;
    uint64_t refusals; // the thread was running after all
};
struct idle_counts lr_idle_counts(void);

#endif
