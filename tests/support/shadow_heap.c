// SPDX-License-Identifier: Apache-2.0
//
// Random calls against the reference model: see shadow_heap.h.
#include "shadow_heap.h"

#include <larder/larder.h>

void shadow_map_init(struct shadow_map *map, struct test_interval *ranges, size_t capacity) {
    EXPECT_INT(pthread_mutex_init(&map->lock, NULL), ==, 0);
    map->live = (struct test_interval_set){.ranges = ranges, .capacity = capacity};
}

static void map_add(struct shadow_map *map, const void *p, size_t bytes) {
    pthread_mutex_lock(&map->lock);
    const bool added = test_interval_add(&map->live, p, bytes);
    pthread_mutex_unlock(&map->lock);
    EXPECT(added);
}

static void map_remove(struct shadow_map *map, const void *p) {
    pthread_mutex_lock(&map->lock);
    const bool removed = test_interval_remove(&map->live, p);
    pthread_mutex_unlock(&map->lock);
    EXPECT(removed);
}

// A block has come: checks what holds at once and takes it over.
static void adopt(struct shadow_heap *heap, struct shadow_block *block, void *address, size_t bytes,
                  size_t alignment) {
    EXPECT(address != NULL);
    EXPECT_ALIGNED(address, alignment);
    const size_t usable = larder_malloc_usable_size(address);
    EXPECT_UINT(usable, >=, bytes);
    map_add(heap->map, address, usable);
    block->address = address;
    block->bytes = bytes;
    block->alignment = alignment;
    block->seed = test_rng_next(&heap->rng);
}

static void fill_block(const struct shadow_block *block) {
    test_fill(block->address, block->bytes, block->seed);
}

static void do_malloc(struct shadow_heap *heap, struct shadow_block *block, size_t bytes) {
    adopt(heap, block, larder_malloc(bytes), bytes, 16);
    block->sized = true;
}

static void do_calloc(struct shadow_heap *heap, struct shadow_block *block, size_t bytes) {
    const size_t count = 1 + test_rng_below(&heap->rng, 8);
    adopt(heap, block, larder_calloc(count, bytes / count), bytes / count * count, 16);
    EXPECT_ZERO(block->address, block->bytes);
    block->sized = true;
}

static void do_aligned(struct shadow_heap *heap, struct shadow_block *block, size_t bytes) {
    const size_t alignment = (size_t)1 << test_rng_below(&heap->rng, 15);
    const bool by_c11 = test_rng_below(&heap->rng, 2) == 0;
    void *address = NULL;
    if (by_c11)
        address = larder_aligned_alloc(alignment, bytes);
    else if (alignment >= sizeof(void *))
        EXPECT_INT(larder_posix_memalign(&address, alignment, bytes), ==, 0);
    else
        address = larder_memalign(alignment, bytes);
    adopt(heap, block, address, bytes, alignment < 16 ? 16 : alignment);
    block->sized = by_c11 && alignment >= 16;
}

static void do_realloc(struct shadow_heap *heap, struct shadow_block *block, size_t bytes) {
    const struct shadow_block old = *block;
    const size_t kept = old.bytes < bytes ? old.bytes : bytes;
    map_remove(heap->map, old.address);
    *block = (struct shadow_block){.address = NULL};
    void *const address = larder_realloc(old.address, bytes);
    if (bytes == 0) {
        EXPECT_PTR(address, ==, NULL);
        return;
    }
    adopt(heap, block, address, bytes, 16);
    // `kept` may end in the middle of a word of the pattern, which is verified bytewise all the
    // same.
    EXPECT_FILLED(block->address, kept, old.seed);
    block->sized = false; // an aligned block may have stayed where it was
}

static void free_in_some_way(struct test_rng *rng, const struct shadow_block *block) {
    const bool by_size = block->sized && rng != NULL && test_rng_below(rng, 3) == 0;
    if (!by_size)
        larder_free(block->address);
    else if (block->alignment > 16)
        larder_free_aligned_sized(block->address, block->alignment, block->bytes);
    else
        larder_free_sized(block->address, block->bytes);
}

static void drop(struct shadow_map *map, struct test_rng *rng, struct shadow_block *block) {
    EXPECT_FILLED(block->address, block->bytes, block->seed);
    map_remove(map, block->address);
    free_in_some_way(rng, block);
    *block = (struct shadow_block){.address = NULL};
}

void shadow_block_free(struct shadow_map *map, struct shadow_block *block) {
    drop(map, NULL, block);
}

// Rare calls that must change nothing that the program sees.
static void do_housekeeping(struct test_rng *rng) {
    switch (test_rng_below(rng, 4)) {
    case 0:
        larder_thread_flush();
        break;
    case 1:
        larder_release(test_rng_size(rng, (size_t)64 << 20));
        break;
    case 2:
        larder_malloc_trim(test_rng_size(rng, (size_t)64 << 20));
        break;
    default:
        EXPECT_UINT(larder_mallinfo2().hblks, <, 1u << 30);
    }
}

void shadow_heap_step(struct shadow_heap *heap) {
    struct test_rng *const rng = &heap->rng;
    struct shadow_block *const block = &heap->blocks[test_rng_below(rng, heap->slots)];
    // Mostly small, as programs are; one in sixteen up to the largest.
    const size_t largest = test_rng_below(rng, 16) == 0 ? heap->largest_bytes : 4096;
    const size_t bytes = test_rng_size(rng, largest);
    if (test_rng_below(rng, 5000) == 0)
        do_housekeeping(rng);
    if (block->address != NULL) {
        EXPECT_FILLED(block->address, block->bytes, block->seed);
        if (test_rng_below(rng, 3) != 0) {
            drop(heap->map, rng, block);
            return;
        }
        do_realloc(heap, block, bytes);
        if (block->address == NULL)
            return;
    } else {
        switch (test_rng_below(rng, 4)) {
        case 0:
            do_calloc(heap, block, bytes);
            break;
        case 1:
            do_aligned(heap, block, bytes);
            break;
        default:
            do_malloc(heap, block, bytes);
        }
    }
    fill_block(block);
}

void shadow_heap_end(struct shadow_heap *heap) {
    for (unsigned i = 0; i < heap->slots; i++) {
        if (heap->blocks[i].address != NULL)
            drop(heap->map, &heap->rng, &heap->blocks[i]);
    }
}
