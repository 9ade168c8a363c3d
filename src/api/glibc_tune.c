// SPDX-License-Identifier: Apache-2.0
// glibc's two ways to steer its malloc: malloc_trim() and mallopt().
#include <errno.h>
#include <larder/ctl.h>
#include <larder/larder.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/override.h"
#include "api/start.h"
#include "base/atomic.h"
#include "base/config.h"
#include "cache/transfer.h"
#include "conf/options.h"
#include "heap/span_heap.h"

int larder_malloc_trim(size_t pad) {
    if (!lr_start()) {
        return 0;
    }
    // Cached blocks first, so that their pages are counted among those the pad is kept from.
    const int saved_errno = errno;
    larder_thread_flush();
    lr_transfer_flush_all();
    errno = saved_errno;
    const size_t free_bytes = lr_span_heap_counts().free_dirty_pages * LR_PAGE_BYTES;
    if (pad == 0) {
        return larder_release(SIZE_MAX) > 0;
    }
    return free_bytes > pad && larder_release(free_bytes - pad) > 0;
}

// Largest values that glibc accepts on 64-bit systems; it refuses more and keeps what it had.
enum {
    MXFAST_MAX = 80 * sizeof(size_t) / 4,
    MMAP_THRESHOLD_MAX = 32 << 20,
};

// The scavenger's mode before M_TRIM_THRESHOLD turned it off, plus 1; 0: it did not.
static atomic_u64 mode_before_off;

// -1 is how programs ask glibc never to shrink the heap by itself. Another threshold takes that
// request back, but changes nothing else: what the operator chose by LARDER_SCAVENGER stands.
static bool set_trim_threshold(int bytes) {
    const uint64_t mode = lr_opt_scavenger();
    if (bytes == -1) {
        if (mode == LR_SCAVENGER_OFF) {
            return true;
        }
        if (larder_option_set("scavenger", LR_SCAVENGER_OFF) != 0) {
            return false;
        }
        // Relaxed here and below: nothing but the number itself is passed on.
        lr_store_relaxed(&mode_before_off, mode + 1);
        return true;
    }
    const uint64_t before = lr_load_relaxed(&mode_before_off);
    lr_store_relaxed(&mode_before_off, 0);
    if (before == 0 || mode != LR_SCAVENGER_OFF) {
        return true;
    }
    return larder_option_set("scavenger", before - 1) == 0;
}

int larder_mallopt(int parameter, int value) {
    switch (parameter) {
    case M_TRIM_THRESHOLD:
        return set_trim_threshold(value);
    case M_MXFAST:
        return value >= 0 && value <= MXFAST_MAX;
    case M_MMAP_THRESHOLD:
        return value >= 0 && value <= MMAP_THRESHOLD_MAX;
    case M_NLBLKS:
    case M_GRAIN:
    case M_KEEP:
    case M_TOP_PAD:
    case M_MMAP_MAX:
    case M_CHECK_ACTION:
    case M_PERTURB:
    case M_ARENA_TEST:
    case M_ARENA_MAX:
        return 1;
    default:
        return 0;
    }
}

LR_OVERRIDES_OF_GLIBC_TUNE(LR_OVERRIDE)
