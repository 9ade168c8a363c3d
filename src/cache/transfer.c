// SPDX-License-Identifier: Apache-2.0
#include "cache/transfer.h"

#include <string.h>

#include "base/bits.h"
#include "cache/central.h"
#include "cache/thread_cache.h"
#include "conf/options.h"
#include "heap/limit.h"
#include "heap/meta.h"
#include "heap/pool.h"
#include "sync/latency.h"

enum {
    ROOM_MIN = 64,
    ROOM_MOST = 65536, // 512 KiB of pointers
    CHUNK = 256,       // objects moved to the central list at once
    QUIET_LOOKS = 3,   // without a request: nobody is there to whom blocks could be on their way
};

#define MS_NS ((uint64_t)1000000)
#define LOOK_NS (2 * MS_NS)
#define AGE_NS (250 * MS_NS)

// One class may hold this many bytes of blocks, or a few blocks if they are large: so far a
// producer gets ahead of a consumer without a lock of the central list.
#define CLASS_BYTES (128 * LR_KIB)
#define CLASS_OBJECTS_MIN 8
// Of larger blocks one class may hold so small a part of the heap: threads that come and go would
// leave more of them here than are in use.
#define LARGER_BYTES (4 * LR_KIB)
#define LARGER_PART 128
// So many when what did not fit was wanted back soon: moving pointers costs a tenth of what it
// costs to find each block's span. Programs that build and tear down trees of 700 KiB gain a
// quarter.
#define CLASS_BYTES_BUSY (4 * LR_MIB)

struct transfer {
    struct lr_lock lock;
    void **slots;     // guarded by: lock
    uint32_t room;    // guarded by: lock; slots there are
    uint32_t lowest;  // guarded by: lock; lowest count since the last ageing
    uint32_t extra;   // guarded by: lock; objects that it may hold beyond CLASS_BYTES
    uint32_t quiet;   // guarded by: lock; looks since a thread last asked for an object
    atomic_u32 asked; // relaxed: a thread has asked since the last look
    // guarded by: lock; read without it to skip a cache that has none
    atomic_u32 count;
    atomic_u32 spilled; // objects that did not fit since the last ageing, and were not wanted back
} LR_CACHE_ALIGNED;

#define TRANSFER_INIT                                                                              \
    { .lock = LR_LOCK_INIT(LR_RANK_TRANSFER) }
static struct transfer caches[LR_CLASS_COUNT] = {[0 ... LR_CLASS_COUNT - 1] = TRANSFER_INIT};
static atomic_sz total_bytes; // blocks in all of them

struct lr_lock *lr_transfer_lock(unsigned size_class) {
    return &caches[size_class].lock;
}

size_t lr_transfer_objects(unsigned size_class) {
    return lr_load_relaxed(&caches[size_class].count);
}

static void set_count(struct transfer *cache, unsigned size_class, uint32_t count) {
    size_t before = lr_load_relaxed(&cache->count);
    lr_store_relaxed(&cache->count, count);
    lr_fetch_add_relaxed(&total_bytes, (count - before) * (size_t)lr_classes[size_class].bytes);
}

// Bytes of blocks of the class that may be here: `usual`, or what the heap's size allows.
static size_t bytes_most(size_t block, size_t usual) {
    return block <= LARGER_BYTES ? usual : lr_min(usual, lr_pool_bytes() / LARGER_PART);
}

// Objects had to be fetched from the central list while some that were given to it had not fitted:
// with more room they would have stayed here.
static void note_wanted_back(struct transfer *cache, unsigned size_class, uint32_t count) {
    lr_lock(&cache->lock);
    uint32_t spilled = lr_load_relaxed(&cache->spilled);
    uint32_t back = (uint32_t)lr_min(spilled, count);
    size_t block = lr_classes[size_class].bytes;
    size_t most = bytes_most(block, CLASS_BYTES_BUSY - CLASS_BYTES) / block;
    lr_store_relaxed(&cache->spilled, spilled - back);
    cache->extra = (uint32_t)lr_min(cache->extra + back, most);
    lr_unlock(&cache->lock);
}

unsigned lr_transfer_get(unsigned size_class, void **out, unsigned most) {
    struct transfer *cache = &caches[size_class];
    if (lr_load_relaxed(&cache->asked) == 0) {
        lr_store_relaxed(&cache->asked, 1);
    }
    // A stale 0 only means that the central list is asked instead.
    if (lr_load_relaxed(&cache->count) > 0) {
        lr_lock(&cache->lock);
        uint32_t count = lr_load_relaxed(&cache->count);
        uint32_t taken = (uint32_t)lr_min(count, most);
        if (taken > 0) {
            memcpy(out, cache->slots + (count - taken), taken * sizeof *out);
            set_count(cache, size_class, count - taken);
            cache->lowest = (uint32_t)lr_min(cache->lowest, count - taken);
        }
        lr_unlock(&cache->lock);
        if (taken > 0) {
            return taken;
        }
    }
    uint64_t began = lr_latency_begin();
    unsigned taken = lr_central_remove(size_class, out, most);
    lr_latency_end(LR_LATENCY_CENTRAL, began);
    if (lr_load_relaxed(&cache->spilled) > 0) {
        note_wanted_back(cache, size_class, taken);
    }
    return taken;
}

static size_t left_of(size_t most, size_t used) { return used < most ? most - used : 0; }

// Makes room for `count` objects; how many fit.
static uint32_t make_room(struct transfer *cache, unsigned size_class, uint32_t count) {
    size_t block = lr_classes[size_class].bytes;
    uint32_t held = lr_load_relaxed(&cache->count);
    size_t budget = lr_limit_is_tight() ? 0 : lr_opt_transfer_cache_max();
    size_t most = lr_max(CLASS_BYTES, CLASS_OBJECTS_MIN * block) + cache->extra * block;
    size_t bytes = lr_min(left_of(budget, lr_load_relaxed(&total_bytes)),
                          left_of(bytes_most(block, most), held * block));
    // Mostly all fit, and there is nothing to divide.
    size_t allowed = bytes >= count * block ? count : bytes / block;
    allowed = cache->quiet >= QUIET_LOOKS ? 0 : lr_min(allowed, left_of(ROOM_MOST, held));
    if (held + allowed > cache->room) {
        size_t room = lr_max(lr_pow2_ceil(held + allowed), ROOM_MIN);
        void **slots = lr_meta_alloc(room * sizeof *slots);
        if (slots == NULL) {
            return (uint32_t)lr_min(allowed, cache->room - held);
        }
        if (cache->slots != NULL) {
            memcpy(slots, cache->slots, held * sizeof *slots);
            lr_meta_free(cache->slots, cache->room * sizeof *slots);
        }
        cache->slots = slots;
        cache->room = (uint32_t)room;
    }
    return (uint32_t)allowed;
}

void lr_transfer_put(unsigned size_class, void *const *objects, unsigned count) {
    struct transfer *cache = &caches[size_class];
    lr_lock(&cache->lock);
    uint32_t fits = make_room(cache, size_class, count);
    if (fits > 0) {
        uint32_t held = lr_load_relaxed(&cache->count);
        memcpy(cache->slots + held, objects, fits * sizeof *objects);
        set_count(cache, size_class, held + fits);
    }
    if (fits < count) {
        lr_store_relaxed(&cache->spilled, lr_load_relaxed(&cache->spilled) + count - fits);
    }
    lr_unlock(&cache->lock);
    if (fits < count) {
        lr_central_insert(size_class, objects + fits, count - fits);
    }
}

// Takes `count` of the oldest objects, or as many as there are, out of the cache; returns how many
// are in *taken, which is `chunk`, or else *slots slots for the caller to free.
static uint32_t take_oldest(struct transfer *cache, uint32_t count, void **chunk, void ***taken,
                            uint32_t *slots) {
    uint32_t held = lr_load_relaxed(&cache->count);
    *taken = chunk;
    *slots = 0;
    if (count >= held && held > CHUNK) { // all: the array itself
        *taken = cache->slots;
        *slots = cache->room;
        cache->slots = NULL;
        cache->room = 0;
        return held;
    }
    uint32_t part = (uint32_t)lr_min(count, held);
    if (part > CHUNK) {
        // At once: what stays is moved down once.
        *taken = lr_meta_alloc(part * sizeof **taken);
        *slots = part;
        if (*taken == NULL) {
            *taken = chunk;
            *slots = 0;
            part = CHUNK;
        }
    }
    if (part > 0) {
        memcpy(*taken, cache->slots, part * sizeof **taken);
        memmove(cache->slots, cache->slots + part, (held - part) * sizeof **taken);
    }
    return part;
}

// Moves `count` of the oldest objects, or as many as there are, to the central list.
static void move_oldest(unsigned size_class, uint32_t count) {
    struct transfer *cache = &caches[size_class];
    while (count > 0) {
        void *chunk[CHUNK];
        void **taken;
        uint32_t slots;
        lr_lock(&cache->lock);
        uint32_t part = take_oldest(cache, count, chunk, &taken, &slots);
        uint32_t left = lr_load_relaxed(&cache->count) - part;
        set_count(cache, size_class, left);
        cache->lowest = (uint32_t)lr_min(cache->lowest, left);
        lr_unlock(&cache->lock);
        if (part == 0) {
            return;
        }
        lr_central_insert(size_class, taken, part);
        if (slots > 0) {
            lr_meta_free(taken, slots * sizeof *taken);
        }
        count -= part;
    }
}

// True if nobody has asked for the class in a while. What only comes in would keep the spans of all
// blocks in use.
static bool is_quiet(struct transfer *cache) {
    lr_lock(&cache->lock);
    cache->quiet = lr_load_relaxed(&cache->asked) != 0 ? 0 : cache->quiet + 1;
    bool quiet = cache->quiet >= QUIET_LOOKS;
    lr_unlock(&cache->lock);
    lr_store_relaxed(&cache->asked, 0);
    return quiet;
}

static void age(struct transfer *cache, unsigned size_class) {
    lr_lock(&cache->lock);
    uint32_t unused = cache->lowest;
    cache->lowest = lr_load_relaxed(&cache->count) - unused;
    cache->extra -= (uint32_t)lr_min(cache->extra, unused);
    lr_store_relaxed(&cache->spilled, 0);
    lr_unlock(&cache->lock);
    move_oldest(size_class, unused);
}

bool lr_transfer_age(uint64_t now_ns) {
    // Ticks exclude each other, so plain.
    static uint64_t looked_ns;
    static uint64_t aged_ns;
    static bool left;
    if (now_ns - looked_ns < LOOK_NS) {
        return left;
    }
    looked_ns = now_ns;
    bool due = now_ns - aged_ns >= AGE_NS;
    aged_ns = due ? now_ns : aged_ns;
    left = false;
    lr_fetch_add_relaxed(&lr_cache_looks, 1);
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        struct transfer *cache = &caches[c];
        bool quiet = is_quiet(cache);
        if (lr_load_relaxed(&cache->count) == 0 && lr_load_relaxed(&cache->spilled) == 0) {
            continue;
        }
        if (quiet) {
            move_oldest(c, UINT32_MAX);
        }
        if (due) {
            age(cache, c);
        }
        left |= lr_load_relaxed(&cache->count) > 0;
    }
    if (!left) {
        lr_central_release_spares();
    }
    return left;
}

void lr_transfer_flush_all(void) {
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        move_oldest(c, UINT32_MAX);
    }
    lr_central_release_spares();
}
