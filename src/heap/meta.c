// SPDX-License-Identifier: Apache-2.0
// Sizes up to 256 bytes are kept in steps of 64 (span descriptors), larger ones in powers of two.
// A free record's first word links to the next: only here, in memory no program pointer leads to.
#include "heap/meta.h"

#include <string.h>

#include "base/bits.h"
#include "heap/window.h"
#include "os/os.h"

enum {
    STEP_LISTS = 4,
    LISTS = STEP_LISTS + 12, // 512 bytes to 1 MiB
};

// The first step is small so that a process that allocates little stays little; mprotect calls
// grow with the metadata so that their number is logarithmic.
#define COMMIT_MIN (64 * LR_KIB)

static struct {
    void *free[LISTS]; // guarded by: lr_meta_lock
    size_t used;       // guarded by: lr_meta_lock; bytes from meta_base
    size_t committed;  // guarded by: lr_meta_lock
} meta;

struct lr_lock lr_meta_lock = LR_LOCK_INIT(LR_RANK_META);

static size_t round_size(size_t bytes) {
    return bytes <= STEP_LISTS * LR_META_GRANULE ? lr_align_up(bytes, LR_META_GRANULE)
                                                 : lr_pow2_ceil(bytes);
}

static unsigned list_of(size_t rounded) {
    if (rounded <= STEP_LISTS * LR_META_GRANULE) {
        return (unsigned)(rounded / LR_META_GRANULE) - 1;
    }
    return STEP_LISTS + lr_log2_floor(rounded) - 9;
}

// Makes [0, end) of the metadata usable.
static bool commit_to(size_t end) {
    if (end <= meta.committed) {
        return true;
    }
    if (end > lr_window.meta_bytes) {
        return false;
    }
    size_t step = lr_align_up(lr_max(end - meta.committed, meta.committed / 8), COMMIT_MIN);
    step = lr_min(step, lr_window.meta_bytes - meta.committed);
    if (!lr_os_commit(lr_window.meta_base + meta.committed, step, lr_window.reserved)) {
        return false;
    }
    meta.committed += step;
    return true;
}

static void *bump(size_t bytes) {
    if (meta.used == 0) {
        meta.used = LR_META_GRANULE; // record 0 would be span id 0, which means none
    }
    // Large records start on their own OS page so that unused tails are never touched by others.
    size_t start = bytes >= 4 * LR_KIB ? lr_align_up(meta.used, 4 * LR_KIB) : meta.used;
    if (!commit_to(start + bytes)) {
        return NULL;
    }
    meta.used = start + bytes;
    return lr_window.meta_base + start;
}

bool lr_meta_prepare(size_t bytes) {
    lr_lock(&lr_meta_lock);
    bool done = commit_to(meta.used + bytes);
    lr_unlock(&lr_meta_lock);
    return done;
}

void *lr_meta_alloc(size_t bytes) {
    LR_ASSERT(bytes > 0 && bytes <= LR_META_LARGEST);
    size_t rounded = round_size(bytes);
    void **list = &meta.free[list_of(rounded)];
    lr_lock(&lr_meta_lock);
    void *record = *list;
    if (record != NULL) {
        *list = *(void **)record;
    } else {
        record = bump(rounded);
    }
    lr_unlock(&lr_meta_lock);
    return record;
}

void lr_meta_free(void *record, size_t bytes) {
    void **list = &meta.free[list_of(round_size(bytes))];
    lr_lock(&lr_meta_lock);
    *(void **)record = *list;
    *list = record;
    lr_unlock(&lr_meta_lock);
}

size_t lr_meta_used_bytes(void) {
    lr_lock(&lr_meta_lock);
    size_t bytes = meta.used;
    lr_unlock(&lr_meta_lock);
    return bytes;
}
