// SPDX-License-Identifier: Apache-2.0
//
// The reference model of the API: random calls, each compared with what a shadow knows of all live
// blocks (contents, alignment, usable size, no overlap). A wrong answer ends the test.
#ifndef LARDER_TESTS_SHADOW_HEAP_H
#define LARDER_TESTS_SHADOW_HEAP_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "interval_set.h"
#include "support.h"

// What the program may expect of one live block.
struct shadow_block {
    char *address; // NULL: no block in this slot
    size_t bytes;  // requested, and filled with the contents of `seed`
    size_t alignment;
    uint64_t seed;
    bool sized; // may be given to free_sized (or free_aligned_sized): not changed by memalign
};

// Ranges of all live blocks of all threads. A block is added after the call that gave it has
// returned and removed before the call that frees it begins, so whatever overlaps is an error.
struct shadow_map {
    pthread_mutex_t lock;
    struct test_interval_set live; // guarded by: lock
};

struct shadow_heap {
    struct shadow_map *map;
    struct test_rng rng;
    size_t largest_bytes;        // of a request
    unsigned slots;              // of `blocks`
    struct shadow_block *blocks; // of the caller, zero at first
};

void shadow_map_init(struct shadow_map *map, struct test_interval *ranges, size_t capacity);

// One random call on a random slot.
void shadow_heap_step(struct shadow_heap *heap);

// The same block in another thread's hands: checks, frees and forgets it.
void shadow_block_free(struct shadow_map *map, struct shadow_block *block);

// Verifies and frees all blocks.
void shadow_heap_end(struct shadow_heap *heap);

#endif
