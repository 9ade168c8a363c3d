// SPDX-License-Identifier: Apache-2.0
// Files are read anew by each look, not kept open or armed as triggers: a descriptor would have to
// survive programs that close all they know, and a process that has nothing to return does not look
// and so is not woken by short memory, to which it could add nothing.
#include "heap/limit.h"

#include "base/bits.h"
#include "conf/options.h"
#include "heap/release.h"
#include "os/os.h"

#define MS_NS ((uint64_t)1000000)
#define ALLOWED_NS (1000 * MS_NS) // between looks at control groups: limits seldom change
#define LOOK_NS (100 * MS_NS)

enum {
    // Above the limit free pages go back in parts of this share of it, not one by one.
    PART = 64,
    PART_PAGES_MIN = 64,
    // Caches may grow again, and no more goes back, once resident memory is so much below it.
    CALM = 32,
    // Memory is short when threads waited for it for so many percent of the time.
    STALLED_PERCENT = 10,
    // Or when the control group ran into its limit, and this process holds at least such a part of
    // what is allowed. Otherwise it is the page cache, which gives way by itself, or others.
    HOLDER = 2,
};

atomic_u32 lr_limit_tight;

static struct {
    atomic_sz allowed_bytes; // by control groups
    atomic_u64 soft_hits;
    atomic_u64 refused;
    atomic_u64 shortages;
    const char *root;
    // One caller at a time.
    uint64_t allowed_ns; // of the last look at control groups; 0: none so far
    uint64_t looked_ns;
    uint64_t trouble_ns;
    uint64_t full_ns; // when the control group was last seen to have run into its limit
    struct lr_os_memory_trouble trouble;
} limit = {.allowed_bytes = SIZE_MAX, .root = ""};

void lr_limit_set_root(const char *root) {
    limit.root = root;
    limit.allowed_ns = limit.looked_ns = limit.trouble_ns = limit.full_ns = 0;
}

size_t lr_limit_soft_bytes(void) {
    if (lr_opt_soft_limit() != 0) {
        return lr_opt_soft_limit();
    }
    size_t allowed = lr_load_relaxed(&limit.allowed_bytes);
    size_t percent = lr_opt_soft_limit_percent();
    return allowed == SIZE_MAX || percent == 0 ? SIZE_MAX : allowed / 100 * percent;
}

size_t lr_limit_hard_excess(size_t pages) {
    size_t most = lr_opt_heap_limit() >> LR_PAGE_SHIFT;
    return lr_opt_heap_limit() == 0 || pages <= most ? 0 : pages - most;
}

void lr_limit_note_refused(void) { lr_fetch_add_relaxed(&limit.refused, 1); }

void lr_limit_note_held(size_t held, size_t dirty) {
    size_t most = lr_limit_soft_bytes() >> LR_PAGE_SHIFT;
    size_t all = held + dirty;
    if (LR_UNLIKELY(all > most) && dirty >= lr_max(most / PART, PART_PAGES_MIN)) {
        lr_release_pages(lr_min(all - most, dirty), LR_BREAK_ANY);
    }
}

static size_t over_soft_limit(void) {
    size_t most = lr_limit_soft_bytes();
    if (most == SIZE_MAX) {
        lr_store_relaxed(&lr_limit_tight, 0);
        return 0;
    }
    size_t resident = lr_os_resident_bytes();
    size_t calm = most - most / CALM;
    if (resident <= most) {
        if (resident <= calm) {
            lr_store_relaxed(&lr_limit_tight, 0);
        }
        return 0;
    }
    lr_store_relaxed(&lr_limit_tight, 1);
    lr_fetch_add_relaxed(&limit.soft_hits, 1);
    return resident - calm;
}

// The group with much page cache stays at its limit, so this is answered once a second.
static bool group_is_full(uint64_t now_ns) {
    size_t allowed = lr_load_relaxed(&limit.allowed_bytes);
    if ((limit.full_ns != 0 && now_ns - limit.full_ns < ALLOWED_NS) ||
        lr_os_resident_bytes() < allowed / HOLDER) {
        return false;
    }
    limit.full_ns = now_ns;
    return true;
}

static bool memory_is_short(uint64_t now_ns) {
    struct lr_os_memory_trouble before = limit.trouble;
    uint64_t before_ns = limit.trouble_ns;
    limit.trouble = lr_os_memory_trouble(limit.root);
    limit.trouble_ns = now_ns;
    if (before_ns == 0 || now_ns - before_ns > 2 * ALLOWED_NS) {
        return false; // what happened in a long time says little about now
    }
    // Another group's counters, after the process was moved, may be lower.
    bool stalled = limit.trouble.stalled_us > before.stalled_us &&
                   (limit.trouble.stalled_us - before.stalled_us) * 1000 * 100 >=
                       (now_ns - before_ns) * STALLED_PERCENT;
    if (stalled || (limit.trouble.limit_hits > before.limit_hits && group_is_full(now_ns))) {
        lr_fetch_add_relaxed(&limit.shortages, 1);
        return true;
    }
    return false;
}

size_t lr_limit_look(uint64_t now_ns) {
    if (limit.looked_ns != 0 && now_ns - limit.looked_ns < LOOK_NS) {
        return 0;
    }
    limit.looked_ns = now_ns;
    if (limit.allowed_ns == 0 || now_ns - limit.allowed_ns >= ALLOWED_NS) {
        limit.allowed_ns = now_ns;
        lr_store_relaxed(&limit.allowed_bytes, lr_os_memory_allowed(limit.root));
    }
    bool is_short = lr_opt_watch_memory() != 0 && memory_is_short(now_ns);
    size_t over = over_soft_limit();
    return is_short ? SIZE_MAX : over;
}

struct limit_counts lr_limit_counts(void) {
    return (struct limit_counts){.soft_hits = lr_load_relaxed(&limit.soft_hits),
                                 .refused = lr_load_relaxed(&limit.refused),
                                 .shortages = lr_load_relaxed(&limit.shortages)};
}
