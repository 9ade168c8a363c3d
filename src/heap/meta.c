// SPDX-License-Identifier: Apache-2.0
// Records of up to 2 KiB share chunks of 4 KiB with others of their size; larger ones are runs of
// whole chunks. What is needed to know of a chunk lies in a table in front of all records, so that
// a free chunk holds nothing and can go back. Sizes up to 256 bytes are kept in steps of 64 (span
// descriptors), larger ones in powers of two. A free record's first word links to the next: only
// here, in memory no program pointer leads to.
//
//   meta_base
//   | table: 16 B a chunk | chunk | chunk | ... grows upwards
#include "heap/meta.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/fail.h"
#include "heap/release.h"
#include "heap/window.h"
#include "os/os.h"
#include "sync/latency.h"

enum {
    STEPS = 4,
    SMALL_SIZES = STEPS + 3, // 512 bytes to 2 KiB
    RUN_SIZES = 9,           // 4 KiB to 1 MiB
    BATCH = 32,              // runs given back at once
};

#define CHUNK_BYTES (4 * LR_KIB)

// The first step is small so that a process that allocates little stays little; mprotect calls
// grow with the metadata so that their number is logarithmic.
#define COMMIT_MIN (64 * LR_KIB)

// Offsets of records are counted in granules from the start of their chunk.
struct chunk {
    uint16_t used;   // records handed out
    uint8_t fresh;   // records from here on were never handed out
    uint8_t touched; // granules that hold memory
    uint8_t free;    // granule of the first free record plus one; 0: none
    uint8_t listed;  // it is on the list of its size
    uint16_t unused;
    uint32_t next; // chunk numbers from 1 on; 0 ends a list
    uint32_t prev; // of small sizes only
};

static_assert(sizeof(struct chunk) == 16, "1/256 of the metadata");

static struct {
    uint32_t partial[SMALL_SIZES]; // chunks with room
    uint32_t spare[SMALL_SIZES];   // one empty chunk, against ping-pong
    uint32_t dirty[RUN_SIZES];     // free runs that hold memory
    uint32_t clean[RUN_SIZES];     // free runs that hold none
    size_t dirty_bytes;            // in all dirty runs
    size_t lowest_dirty;           // lowest dirty_bytes since the last lr_meta_release()
    bool refused;                  // the kernel did not take what is dirty now
    size_t end;                    // bytes from records() that were ever handed out
    size_t used;                   // bytes of records that hold memory, free ones included
    size_t committed;              // bytes from records() that are usable
    size_t table_committed;
} meta = {.end = CHUNK_BYTES, .committed = CHUNK_BYTES}; // guarded by: lr_meta_lock

struct lr_lock lr_meta_lock = LR_LOCK_INIT(LR_RANK_META);

static struct chunk *chunk_at(size_t number) {
    return (struct chunk *)(void *)lr_window.meta_base + number;
}

static size_t table_bytes(void) {
    return lr_align_up(lr_window.meta_bytes / CHUNK_BYTES * sizeof(struct chunk),
                       lr_os_page_bytes());
}

// Where chunk 0 would be; the first is chunk 1.
static char *records(void) { return lr_window.meta_base + table_bytes() - CHUNK_BYTES; }

static char *chunk_start(size_t number) { return records() + number * CHUNK_BYTES; }

static size_t offset_of(const void *record) { return (size_t)((const char *)record - records()); }

static size_t round_size(size_t bytes) {
    return bytes <= STEPS * LR_META_GRANULE ? lr_align_up(bytes, LR_META_GRANULE)
                                            : lr_pow2_ceil(bytes);
}

static unsigned small_list(size_t rounded) {
    return rounded <= STEPS * LR_META_GRANULE ? (unsigned)(rounded / LR_META_GRANULE) - 1
                                              : STEPS + lr_log2_floor(rounded) - 9;
}

static unsigned run_list(size_t rounded) { return lr_log2_floor(rounded / CHUNK_BYTES); }

// As offsets of records are counted.
static size_t records_end(void) { return lr_window.meta_bytes - table_bytes() + CHUNK_BYTES; }

// Makes the chunks below `end` usable, and the table's entries for them.
static bool commit_to(size_t end) {
    if (end <= meta.committed) {
        return true;
    }
    size_t most = records_end();
    if (end > most) {
        errno = ENOMEM;
        return false;
    }
    size_t step = lr_align_up(lr_max(end - meta.committed, meta.committed / 8), COMMIT_MIN);
    step = lr_min(step, most - meta.committed);
    size_t table = (meta.committed + step) / CHUNK_BYTES * sizeof(struct chunk);
    table = lr_min(lr_align_up(table, lr_os_page_bytes()), table_bytes());
    if (table > meta.table_committed) {
        if (!lr_window_commit(lr_window.meta_base + meta.table_committed,
                              table - meta.table_committed)) {
            return false;
        }
        meta.table_committed = table;
    }
    if (!lr_window_commit(records() + meta.committed, step)) {
        return false;
    }
    meta.committed += step;
    return true;
}

// The same, for a record. The first thing that lies in a window is a record, so before it the
// window may still go where the program has left address space: it was planned when the process
// began.
static bool commit_or_move(size_t end) {
    if (commit_to(end)) {
        return true;
    }
    if (errno != EEXIST || meta.end > CHUNK_BYTES || lr_load_relaxed(&lr_window.pages) != 0) {
        return false;
    }
    if (meta.table_committed > 0) {
        lr_os_unmap(lr_window.meta_base, meta.table_committed);
        meta.table_committed = 0;
    }
    return lr_window_move() && commit_to(end);
}

static void dirty_changed(size_t bytes) {
    meta.dirty_bytes += bytes;
    meta.refused = false;
    meta.lowest_dirty = lr_min(meta.lowest_dirty, meta.dirty_bytes);
}

// A run of `bytes`, memory that is there first; its chunk's number, 0: out of memory.
static uint32_t take_run(size_t bytes) {
    unsigned list = run_list(bytes);
    uint32_t *head = meta.dirty[list] != 0 ? &meta.dirty[list] : &meta.clean[list];
    uint32_t number = *head;
    if (number != 0) {
        *head = chunk_at(number)->next;
        if (head == &meta.dirty[list]) {
            dirty_changed(0 - bytes);
        }
        return number;
    }
    if (!commit_or_move(meta.end + bytes)) {
        return 0;
    }
    number = (uint32_t)(meta.end / CHUNK_BYTES);
    meta.end += bytes;
    return number;
}

static void give_run(uint32_t number, size_t bytes) {
    unsigned list = run_list(bytes);
    chunk_at(number)->next = meta.dirty[list];
    meta.dirty[list] = number;
    dirty_changed(bytes);
}

static void *run_alloc(size_t bytes) {
    uint32_t number = take_run(bytes);
    if (number == 0) {
        return NULL;
    }
    struct chunk *chunk = chunk_at(number);
    if (chunk->touched == 0) {
        chunk->touched = CHUNK_BYTES / LR_META_GRANULE;
        meta.used += bytes;
    } else if (bytes == CHUNK_BYTES) { // it may have held a few small records only
        meta.used += bytes - chunk->touched * LR_META_GRANULE;
        chunk->touched = CHUNK_BYTES / LR_META_GRANULE;
    }
    return chunk_start(number);
}

static void link_chunk(unsigned list, uint32_t number) {
    struct chunk *chunk = chunk_at(number);
    chunk->listed = 1;
    chunk->prev = 0;
    chunk->next = meta.partial[list];
    if (chunk->next != 0) {
        chunk_at(chunk->next)->prev = number;
    }
    meta.partial[list] = number;
}

static void unlink_chunk(unsigned list, uint32_t number) {
    struct chunk *chunk = chunk_at(number);
    chunk->listed = 0;
    if (chunk->next != 0) {
        chunk_at(chunk->next)->prev = chunk->prev;
    }
    if (chunk->prev != 0) {
        chunk_at(chunk->prev)->next = chunk->next;
    } else {
        meta.partial[list] = chunk->next;
    }
}

// A chunk with room for a record of the size, on its list. 0: out of memory.
static uint32_t small_chunk(unsigned list) {
    if (meta.partial[list] != 0) {
        return meta.partial[list];
    }
    uint32_t number = meta.spare[list];
    meta.spare[list] = 0;
    if (number == 0) {
        number = take_run(CHUNK_BYTES);
        if (number == 0) {
            return 0;
        }
        struct chunk *chunk = chunk_at(number);
        chunk->used = 0;
        chunk->fresh = 0;
        chunk->free = 0;
    }
    link_chunk(list, number);
    return number;
}

static void *small_alloc(size_t bytes) {
    unsigned list = small_list(bytes);
    uint32_t number = small_chunk(list);
    if (number == 0) {
        return NULL;
    }
    struct chunk *chunk = chunk_at(number);
    char *record;
    if (chunk->free != 0) {
        record = chunk_start(number) + (chunk->free - 1U) * LR_META_GRANULE;
        chunk->free = *(uint8_t *)record;
    } else {
        record = chunk_start(number) + chunk->fresh * bytes;
        chunk->fresh++;
        size_t touched = chunk->fresh * bytes / LR_META_GRANULE;
        if (touched > chunk->touched) {
            meta.used += (touched - chunk->touched) * LR_META_GRANULE;
            chunk->touched = (uint8_t)touched;
        }
    }
    chunk->used++;
    if (chunk->free == 0 && chunk->fresh == CHUNK_BYTES / bytes) {
        unlink_chunk(list, number);
    }
    return record;
}

static void small_free(void *record, size_t bytes) {
    unsigned list = small_list(bytes);
    size_t offset = offset_of(record);
    uint32_t number = (uint32_t)(offset / CHUNK_BYTES);
    struct chunk *chunk = chunk_at(number);
    *(uint8_t *)record = chunk->free;
    chunk->free = (uint8_t)(offset % CHUNK_BYTES / LR_META_GRANULE + 1);
    chunk->used--;
    if (chunk->used == 0) {
        if (chunk->listed) {
            unlink_chunk(list, number);
        }
        if (meta.spare[list] == 0) {
            meta.spare[list] = number;
        } else {
            give_run(number, CHUNK_BYTES);
        }
    } else if (!chunk->listed) {
        link_chunk(list, number);
    }
}

bool lr_meta_prepare(size_t more, size_t all) {
    lr_lock(&lr_meta_lock);
    bool done = commit_to(lr_min(lr_max(meta.end + more, CHUNK_BYTES + all), records_end()));
    lr_unlock(&lr_meta_lock);
    return done;
}

void *lr_meta_alloc(size_t bytes) {
    LR_ASSERT(bytes > 0 && bytes <= LR_META_LARGEST);
    size_t rounded = round_size(bytes);
    lr_lock(&lr_meta_lock);
    void *record = rounded < CHUNK_BYTES ? small_alloc(rounded) : run_alloc(rounded);
    lr_unlock(&lr_meta_lock);
    return record;
}

void lr_meta_free(void *record, size_t bytes) {
    size_t rounded = round_size(bytes);
    lr_lock(&lr_meta_lock);
    if (rounded < CHUNK_BYTES) {
        small_free(record, rounded);
    } else {
        give_run((uint32_t)(offset_of(record) / CHUNK_BYTES), rounded);
    }
    lr_unlock(&lr_meta_lock);
}

struct run {
    uint32_t number;
    size_t bytes;
};

// Takes dirty runs of up to `most` bytes in all off their lists.
static size_t claim_runs(struct run runs[BATCH], size_t most) {
    size_t count = 0;
    lr_lock(&lr_meta_lock);
    for (unsigned list = RUN_SIZES; list-- > 0;) {
        size_t bytes = CHUNK_BYTES << list;
        while (bytes <= most && count < BATCH && meta.dirty[list] != 0 &&
               bytes % lr_os_page_bytes() == 0) {
            runs[count++] = (struct run){.number = meta.dirty[list], .bytes = bytes};
            meta.dirty[list] = chunk_at(meta.dirty[list])->next;
            dirty_changed(0 - bytes);
            most -= bytes;
        }
    }
    lr_unlock(&lr_meta_lock);
    return count;
}

static size_t put_back(const struct run *run, bool returned) {
    struct chunk *chunk = chunk_at(run->number);
    size_t held = run->bytes == CHUNK_BYTES ? chunk->touched * LR_META_GRANULE : run->bytes;
    if (!returned) {
        give_run(run->number, run->bytes);
        return 0;
    }
    unsigned list = run_list(run->bytes);
    chunk->touched = 0;
    chunk->next = meta.clean[list];
    meta.clean[list] = run->number;
    meta.used -= held;
    return held;
}

// One batch; false if there is nothing left or the kernel refuses.
static bool release_batch(size_t most, size_t *released) {
    struct run runs[BATCH];
    struct lr_os_range ranges[BATCH];
    lr_lock(&lr_release_lock);
    size_t count = claim_runs(runs, most);
    for (size_t i = 0; i < count; i++) {
        ranges[i] =
            (struct lr_os_range){.addr = chunk_start(runs[i].number), .bytes = runs[i].bytes};
    }
    uint64_t calls = 0;
    uint64_t began = count == 0 ? 0 : lr_latency_begin();
    size_t done = count == 0 ? 0 : lr_os_purge_ranges(ranges, count, &calls);
    lr_latency_end(LR_LATENCY_RELEASE, began);
    lr_lock(&lr_meta_lock);
    for (size_t i = 0; i < count; i++) {
        *released += put_back(&runs[i], i < done);
    }
    lr_unlock(&lr_meta_lock);
    lr_unlock(&lr_release_lock);
    return count == BATCH && done == count;
}

size_t lr_meta_release(bool all) {
    lr_lock(&lr_meta_lock);
    for (unsigned list = 0; all && list < SMALL_SIZES; list++) {
        if (meta.spare[list] != 0) {
            give_run(meta.spare[list], CHUNK_BYTES);
            meta.spare[list] = 0;
        }
    }
    size_t most = all ? meta.dirty_bytes : meta.lowest_dirty;
    lr_unlock(&lr_meta_lock);
    size_t released = 0;
    while (most > released && release_batch(most - released, &released)) {
    }
    lr_lock(&lr_meta_lock);
    meta.lowest_dirty = meta.dirty_bytes;
    meta.refused = most > 0 && released == 0;
    lr_unlock(&lr_meta_lock);
    return released;
}

size_t lr_meta_dirty_bytes(void) {
    lr_lock(&lr_meta_lock);
    size_t bytes = meta.refused ? 0 : meta.dirty_bytes;
    lr_unlock(&lr_meta_lock);
    return bytes;
}

size_t lr_meta_used_bytes(void) {
    lr_lock(&lr_meta_lock);
    size_t bytes = meta.used + meta.end / CHUNK_BYTES * sizeof(struct chunk);
    lr_unlock(&lr_meta_lock);
    return bytes;
}
