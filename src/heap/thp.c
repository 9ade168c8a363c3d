// SPDX-License-Identifier: Apache-2.0
#include "heap/thp.h"

#include "base/bits.h"
#include "base/config.h"
#include "conf/options.h"
#include "os/os.h"

// Below this a process is small, and up to 2 MiB more would be noticed; from here on it is at most
// an eighth, and mostly soon used.
#define START_BYTES (16 * LR_MIB)

enum {
    // Bytes of the longest block of a kind; the first has a part in the waste at its span's tail.
    SMALL_MOST = 19 << 9,
    LARGER_MOST = 64 << 10,
    BUFFERS_MOST = 512 << 10,
    LARGE_SIZES = 66,    // by binary digits, and one at each end that nobody asks for
    FILLED_PAGES = 1024, // of large blocks, that decide about their size
    PARTS_MOST = 32,     // of a block that are looked at
    PAUSE_MOST = 1023,   // blocks between two looks where they are not filled
};

// Relaxed: a stale value only means that a huge page is backed by small pages.
static atomic_u32 mode;
static atomic_u32 decided;
static atomic_u32 kind_filled[LR_THP_KINDS] = {[LR_THP_SMALL] = 1}; // 1: see lr_thp_filled()

enum lr_thp_mode lr_thp_mode(void) { return (enum lr_thp_mode)lr_load_relaxed(&mode); }

enum lr_thp_kind lr_thp_kind_of(size_t block_bytes) {
    if (block_bytes <= SMALL_MOST) {
        return LR_THP_SMALL;
    }
    if (block_bytes <= LARGER_MOST) {
        return LR_THP_LARGER;
    }
    return block_bytes <= BUFFERS_MOST ? LR_THP_BUFFERS : LR_THP_LARGE;
}

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

bool lr_thp_filled(enum lr_thp_kind kind) { return lr_load_relaxed(&kind_filled[kind]) != 0; }

void lr_thp_look_at(enum lr_thp_kind kind, void *huge, size_t used_bytes) {
    size_t resident = lr_os_touched_bytes(huge, LR_HUGE_BYTES);
    if (resident >= used_bytes / 2 && used_bytes >= LR_HUGE_BYTES / 2) {
        lr_store_relaxed(&kind_filled[kind], 1);
    }
}

// By the number of binary digits of their pages. Relaxed: what a race loses is a look.
static struct {
    atomic_u32 filled; // pages of blocks that were found filled since one was not
    struct pace {
        atomic_u32 wait;  // blocks until the next look
        atomic_u32 pause; // what `wait` begins with
    } live, freed;
} large[LARGE_SIZES];

static unsigned size_of(size_t pages) { return 1 + lr_log2_floor(pages); }

static bool known_filled(unsigned size) {
    return lr_load_relaxed(&large[size].filled) >= FILLED_PAGES;
}

bool lr_thp_large_filled(size_t pages) { return known_filled(size_of(pages)); }

// True if huge pages would not have made much more of the block resident than is.
static bool is_filled(char *start, size_t bytes) {
    size_t resident = 0;
    size_t whole = 0;
    size_t steps = (bytes + LR_HUGE_BYTES - 1) / LR_HUGE_BYTES;
    size_t stride = (steps + PARTS_MOST - 1) / PARTS_MOST;
    for (size_t at = 0; at < bytes; at += stride * LR_HUGE_BYTES) {
        size_t part = lr_min(bytes - at, LR_HUGE_BYTES);
        size_t touched = lr_os_touched_bytes(start + at, part);
        resident += touched;
        whole += touched > 0 ? part : 0;
    }
    return resident > 0 && resident >= whole - whole / 8;
}

static void add_filled(unsigned size, size_t pages) {
    size_t filled = lr_load_relaxed(&large[size].filled) + pages;
    lr_store_relaxed(&large[size].filled, (uint32_t)lr_min(filled, FILLED_PAGES));
}

static bool undecided(unsigned size) {
    return lr_thp_mode() == LR_THP_MODE_ASKING && !known_filled(size);
}

static bool note_if_filled(char *start, size_t pages) {
    unsigned size = size_of(pages);
    bool filled = is_filled(start, pages << LR_PAGE_SHIFT);
    if (filled) {
        add_filled(size, pages);
        add_filled(size - 1, pages / 2);
        add_filled(size + 1, pages / 2);
    }
    return filled;
}

static bool is_due(struct pace *pace) {
    uint32_t wait = lr_load_relaxed(&pace->wait);
    if (wait > 0) {
        lr_store_relaxed(&pace->wait, wait - 1);
    }
    return wait == 0;
}

static void pause_looks(struct pace *pace) {
    uint32_t pause = (uint32_t)lr_min(2 * lr_load_relaxed(&pace->pause) + 1, PAUSE_MOST);
    lr_store_relaxed(&pace->pause, pause);
    lr_store_relaxed(&pace->wait, pause);
}

void lr_thp_look_at_live(char *start, size_t pages) {
    unsigned size = size_of(pages);
    if (!undecided(size) || !is_due(&large[size].live)) {
        return;
    }
    // The end first: a block that is still being filled tells nothing.
    char *end = start + (pages << LR_PAGE_SHIFT);
    if (lr_os_touched_bytes(end - LR_PAGE_BYTES, LR_PAGE_BYTES) == 0 ||
        !note_if_filled(start, pages)) {
        pause_looks(&large[size].live);
    }
}

void lr_thp_look_at_freed(char *start, size_t pages) {
    unsigned size = size_of(pages);
    if (undecided(size) && is_due(&large[size].freed) && !note_if_filled(start, pages)) {
        lr_store_relaxed(&large[size].filled, 0);
        pause_looks(&large[size].freed);
    }
}

void lr_thp_forbid(void) {
    lr_store_relaxed(&decided, 1);
    lr_store_relaxed(&mode, LR_THP_MODE_SMALL);
}
