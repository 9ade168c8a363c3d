// SPDX-License-Identifier: Apache-2.0
#include "heap/direct.h"

#include "base/bits.h"
#include "heap/meta.h"
#include "os/os.h"

enum { BUCKETS = 256 };

struct direct_block {
    void *start;
    size_t bytes;
    struct direct_block *next;
};

static struct direct_block *buckets[BUCKETS]; // guarded by: lr_direct_lock
static atomic_sz block_count;                 // guarded by: lr_direct_lock; read racily
static atomic_sz block_bytes;                 // the same
struct lr_lock lr_direct_lock = LR_LOCK_INIT(LR_RANK_DIRECT);

static struct direct_block **bucket_of(const void *start) {
    return &buckets[((size_t)start >> 16) % BUCKETS];
}

void *lr_direct_alloc(size_t bytes, size_t align) {
    struct direct_block *block = lr_meta_alloc(sizeof *block);
    bytes = lr_align_up(bytes, lr_os_page_bytes());
    void *start = block == NULL ? NULL : lr_os_map(bytes, align);
    if (start == NULL) {
        if (block != NULL) {
            lr_meta_free(block, sizeof *block);
        }
        return NULL;
    }
    *block = (struct direct_block){.start = start, .bytes = bytes};
    lr_lock(&lr_direct_lock);
    block->next = *bucket_of(start);
    *bucket_of(start) = block;
    lr_counter_add(&block_count, 1);
    lr_counter_add(&block_bytes, bytes);
    lr_unlock(&lr_direct_lock);
    return start;
}

// The link that leads to the block; its target is NULL if there is none. Caller holds the lock.
static struct direct_block **find(const void *start) {
    struct direct_block **link = bucket_of(start);
    while (*link != NULL && (*link)->start != start) {
        link = &(*link)->next;
    }
    return link;
}

bool lr_direct_free(void *start) {
    if (lr_load_relaxed(&block_count) == 0) {
        return false;
    }
    lr_lock(&lr_direct_lock);
    struct direct_block **link = find(start);
    struct direct_block *block = *link;
    if (block != NULL) {
        *link = block->next;
        lr_counter_sub(&block_count, 1);
        lr_counter_sub(&block_bytes, block->bytes);
    }
    lr_unlock(&lr_direct_lock);
    if (block == NULL) {
        return false;
    }
    lr_os_unmap(block->start, block->bytes);
    lr_meta_free(block, sizeof *block);
    return true;
}

void *lr_direct_resize(void *start, size_t bytes) {
    if (lr_load_relaxed(&block_count) == 0) {
        return NULL;
    }
    bytes = lr_align_up(bytes, lr_os_page_bytes());
    // The lock is held over the system call: a child forked in between would not know the block,
    // and the address it leaves may be another block's at once.
    lr_lock(&lr_direct_lock);
    struct direct_block **link = find(start);
    struct direct_block *block = *link;
    void *now = NULL;
    if (block != NULL) {
        now = bytes == block->bytes ? start : lr_os_remap(start, block->bytes, bytes);
    }
    if (now != NULL) {
        *link = block->next;
        lr_counter_add(&block_bytes, bytes - block->bytes);
        *block = (struct direct_block){.start = now, .bytes = bytes, .next = *bucket_of(now)};
        *bucket_of(now) = block;
    }
    lr_unlock(&lr_direct_lock);
    return now;
}

size_t lr_direct_bytes(const void *start) {
    if (lr_load_relaxed(&block_count) == 0) {
        return 0;
    }
    lr_lock(&lr_direct_lock);
    const struct direct_block *block = *find(start);
    size_t bytes = block == NULL ? 0 : block->bytes;
    lr_unlock(&lr_direct_lock);
    return bytes;
}

size_t lr_direct_bytes_from(const void *inside) {
    if (lr_load_relaxed(&block_count) == 0) {
        return 0;
    }
    size_t bytes = 0;
    lr_lock(&lr_direct_lock);
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (const struct direct_block *b = buckets[i]; b != NULL; b = b->next) {
            size_t offset = (size_t)inside - (size_t)b->start;
            bytes = offset < b->bytes ? b->bytes - offset : bytes;
        }
    }
    lr_unlock(&lr_direct_lock);
    return bytes;
}

bool lr_direct_next(struct direct_cursor *cursor) {
    const struct direct_block *next = NULL;
    lr_lock(&lr_direct_lock);
    while (next == NULL && cursor->bucket < BUCKETS) {
        for (struct direct_block *b = buckets[cursor->bucket]; b != NULL; b = b->next) {
            bool later = (size_t)b->start > (size_t)cursor->start;
            if (later && (next == NULL || (size_t)b->start < (size_t)next->start)) {
                next = b;
            }
        }
        if (next == NULL) {
            cursor->bucket++;
            cursor->start = NULL;
        }
    }
    if (next != NULL) {
        cursor->start = next->start;
        cursor->bytes = next->bytes;
    }
    lr_unlock(&lr_direct_lock);
    return next != NULL;
}

struct direct_counts lr_direct_counts(void) {
    lr_lock(&lr_direct_lock);
    struct direct_counts counts = {.blocks = lr_load_relaxed(&block_count),
                                   .bytes = lr_load_relaxed(&block_bytes)};
    lr_unlock(&lr_direct_lock);
    return counts;
}

size_t lr_direct_held_pages(void) { return lr_load_relaxed(&block_bytes) >> LR_PAGE_SHIFT; }
