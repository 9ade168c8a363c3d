// SPDX-License-Identifier: Apache-2.0
//
// The reference model of the API: random calls, each compared with what a shadow knows of all live
// blocks (contents, alignment, usable size, no overlap), on one thread and on several that share
// one address space. LARDER_TEST_SECONDS: length of each part (2 unless set).
#include <larder/larder.h>

#include <pthread.h>

#include "../support/crew.h"
#include "../support/interval_set.h"
#include "../support/support.h"

enum { SLOTS = 3000, THREADS = 4, SLOTS_EACH = 800, PASSED = 64 };

static const size_t mib = 1024 * 1024;

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

static void shadow_map_init(struct shadow_map *map, struct test_interval *ranges, size_t capacity) {
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

// The same block in another thread's hands: checks, frees and forgets it.
static void shadow_block_free(struct shadow_map *map, struct shadow_block *block) {
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

// One random call on a random slot.
static void shadow_heap_step(struct shadow_heap *heap) {
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

// Verifies and frees all blocks.
static void shadow_heap_end(struct shadow_heap *heap) {
    for (unsigned i = 0; i < heap->slots; i++) {
        if (heap->blocks[i].address != NULL)
            drop(heap->map, &heap->rng, &heap->blocks[i]);
    }
}

static uint64_t deadline_ms(void) {
    return test_now_ms() + 1000 * test_env_u64("LARDER_TEST_SECONDS", 2);
}

static void run_until(struct shadow_heap *heap, uint64_t deadline) {
    while (test_now_ms() < deadline) {
        for (unsigned i = 0; i < 500; i++)
            shadow_heap_step(heap);
    }
}

static void run_alone(size_t largest_bytes) {
    static struct test_interval ranges[SLOTS];
    static struct shadow_block blocks[SLOTS];
    static struct shadow_map map;
    shadow_map_init(&map, ranges, SLOTS);
    struct shadow_heap heap = {.map = &map,
                               .rng = {test_seed()},
                               .largest_bytes = largest_bytes,
                               .slots = SLOTS,
                               .blocks = blocks};
    run_until(&heap, deadline_ms());
    shadow_heap_end(&heap);
    EXPECT_UINT(map.live.count, ==, 0);
}

START_TEST(test_model_api__small_blocks) { run_alone(32 * 1024); }
END_TEST

START_TEST(test_model_api__all_sizes) { run_alone(4 * mib); }
END_TEST

// Threads share the map of live ranges, and pass blocks to one another to free.
struct shared {
    struct shadow_map map;
    pthread_mutex_t lock;
    struct shadow_block passed[PASSED]; // guarded by: lock
    uint64_t deadline;
};

// Puts a block of this thread into a random place and takes what was there.
static void exchange(struct shared *shared, struct shadow_heap *heap) {
    struct shadow_block *const own = &heap->blocks[test_rng_below(&heap->rng, heap->slots)];
    pthread_mutex_lock(&shared->lock);
    struct shadow_block *const place = &shared->passed[test_rng_below(&heap->rng, PASSED)];
    struct shadow_block taken = *place;
    *place = *own;
    pthread_mutex_unlock(&shared->lock);
    *own = (struct shadow_block){.address = NULL};
    if (taken.address != NULL)
        shadow_block_free(&shared->map, &taken);
}

static void run_thread(struct test_worker *worker) {
    static struct shadow_block blocks[THREADS][SLOTS_EACH];
    struct shared *const shared = worker->shared;
    struct shadow_heap heap = {.map = &shared->map,
                               .rng = {worker->seed},
                               .largest_bytes = 256 * 1024,
                               .slots = SLOTS_EACH,
                               .blocks = blocks[worker->index]};
    while (test_now_ms() < shared->deadline) {
        for (unsigned i = 0; i < 100; i++)
            shadow_heap_step(&heap);
        for (unsigned i = 0; i < 20; i++)
            exchange(shared, &heap);
    }
    shadow_heap_end(&heap);
}

START_TEST(test_model_api__threads_that_pass_blocks) {
    static struct test_interval ranges[THREADS * SLOTS_EACH + PASSED];
    static struct shared shared;
    shadow_map_init(&shared.map, ranges, THREADS * SLOTS_EACH + PASSED);
    EXPECT_INT(pthread_mutex_init(&shared.lock, NULL), ==, 0);
    shared.deadline = deadline_ms();
    test_crew_run(THREADS, run_thread, &shared);
    for (unsigned i = 0; i < PASSED; i++) {
        if (shared.passed[i].address != NULL)
            shadow_block_free(&shared.map, &shared.passed[i]);
    }
    EXPECT_UINT(shared.map.live.count, ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    const unsigned seconds = 60 + 2 * (unsigned)test_env_u64("LARDER_TEST_SECONDS", 2);
    Suite *suite = suite_create("model_api");
    test_add_limit(suite, test_model_api__small_blocks, seconds);
    test_add_limit(suite, test_model_api__all_sizes, seconds);
    test_add_limit(suite, test_model_api__threads_that_pass_blocks, seconds);
    return suite;
}
