// SPDX-License-Identifier: Apache-2.0
// One-time start of the process.
#ifndef LARDER_API_START_H
#define LARDER_API_START_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/attr.h"

extern atomic_u32 lr_started;
bool lr_start_slow(void);

// Makes Larder usable; false if there is no address space for it. Any thread, any time; called by
// the first request, which may come before any constructor has run.
static inline bool lr_start(void) {
    // Acquire pairs with the release in lr_start_slow(): window, tables and options are set.
    return LR_LIKELY(lr_load_acquire(&lr_started) != 0) || lr_start_slow();
}

// fork.c
void lr_fork_install_handlers(void);
// True if each lock that fork() would take was seen free within `wait_ns`: none is held for ever.
bool lr_no_lock_is_stuck(uint64_t wait_ns);

#endif
