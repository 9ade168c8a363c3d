// SPDX-License-Identifier: Apache-2.0
#include "heap/thp.h"

#include "base/config.h"
#include "conf/options.h"
#include "os/os.h"

// Below this a process is small, and up to 2 MiB more would be noticed; from here on it is at most
// an eighth, and mostly soon used.
#define START_BYTES (16 * LR_MIB)

// Relaxed: a stale value only means that a huge page is backed by small pages.
static atomic_u32 mode;
static atomic_u32 decided;
static atomic_u32 larger_filled; // 1: see lr_thp_larger_filled()

enum lr_thp_mode lr_thp_mode(void) { return (enum lr_thp_mode)lr_load_relaxed(&mode); }

static enum lr_thp_mode choose(void) {
    enum lr_os_thp system = lr_os_thp();
    if (lr_opt_thp() == LR_THP_NEVER || system == LR_OS_THP_NEVER) {
        return LR_THP_MODE_SMALL;
    }
    if (lr_opt_thp() == LR_THP_ALWAYS || system == LR_OS_THP_ALWAYS) {
        return LR_THP_MODE_WHOLE;
    }
    return lr_opt_thp() == LR_THP_AUTO ? LR_THP_MODE_ASKING : LR_THP_MODE_SMALL;
}

void lr_thp_decide(size_t pool_bytes) {
    bool now = pool_bytes >= START_BYTES || lr_opt_thp() == LR_THP_ALWAYS;
    if (now && lr_exchange_acquire(&decided, 1) == 0) {
        lr_store_relaxed(&mode, choose());
    }
}

bool lr_thp_larger_filled(void) { return lr_load_relaxed(&larger_filled) != 0; }

void lr_thp_look_at_larger(void *huge, size_t used_bytes) {
    size_t resident = lr_os_touched_bytes(huge, LR_HUGE_BYTES);
    if (resident >= used_bytes / 2 && used_bytes >= LR_HUGE_BYTES / 2) {
        lr_store_relaxed(&larger_filled, 1);
    }
}

void lr_thp_forbid(void) {
    lr_store_relaxed(&decided, 1);
    lr_store_relaxed(&mode, LR_THP_MODE_SMALL);
}
