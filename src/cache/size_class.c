// SPDX-License-Identifier: Apache-2.0
#include "cache/size_class.h"

#include "base/fail.h"
#include "cache/thread_cache.h"

// A batch is at most 40 KiB of blocks: between a producer and a consumer of messages of up to 1 KiB
// one lock is taken in 70 calls, and half as much memory waits in their bins as with 64 KiB. A bin
// is at most 512 KiB, so that no class eats a whole cache budget, but 1 MiB for small blocks:
// threads that build and tear down trees of 16,000 nodes keep them (src/README.md). Of blocks above
// 10 KiB a batch is four, or 256 KiB: with one at a time every call of a program that cycles
// through more of them than a bin holds takes the locks of two lists.
#define AT_MOST(value, most) ((value) < (most) ? (value) : (most))
#define AT_LEAST(value, least) ((value) > (least) ? (value) : (least))
#define BATCH_LEAST(bytes) AT_MOST(256 * 1024 / (bytes), 4)
#define BATCH(bytes) AT_LEAST(AT_MOST(40 * 1024 / (bytes), 512), BATCH_LEAST(bytes))
#define MOST(bytes) AT_LEAST(AT_MOST(((bytes) <= 256 ? 2048 : 512) * 1024 / (bytes), 32768), 2)
#define RECIPROCAL(bytes) ((uint32_t)((((uint64_t)1 << 31) + (bytes) / 16 - 1) / ((bytes) / 16)))

const struct class_info lr_classes[LR_CLASS_COUNT] = {
#define SIZE_CLASS(number, size, span_pages, count, waste)                                         \
    [number] = {.bytes = (size),                                                                   \
                .reciprocal = RECIPROCAL(size),                                                    \
                .pages = (span_pages),                                                             \
                .objects = (count),                                                                \
                .batch = BATCH(size),                                                              \
                .most = (uint16_t)MOST(size)},
#include "cache/size_class.def"
};

#define SIZE_CLASS(number, size, span_pages, count, waste)                                         \
    static_assert((count) == (span_pages)*LR_PAGE_BYTES / (size), "blocks of class " #number);     \
    static_assert((count) <= LR_CLASS_OBJECTS_MOST, "span_look.h has room for the bits");          \
    static_assert((span_pages) < LR_PAGES_PER_HUGE, "a span lies in one huge page");
#include "cache/size_class.def"

atomic_u16 lr_bin_offsets[LR_FAST_MAX + 1] LR_CACHE_ALIGNED;
uint16_t lr_bin_block_bytes[sizeof(struct thread_cache) / LR_OFFSET_STEP];
atomic_sz lr_pop_below;
atomic_u32 lr_resize_bytes[LR_CLASS_COUNT];

void lr_size_class_init(void) {
    for (size_t size = 0; size <= LR_FAST_MAX; size++) {
        lr_store_relaxed(&lr_bin_offsets[size], lr_bin_offset(lr_class_of(size)));
    }
    for (unsigned c = 1; c < LR_SAMPLE_BINS; c++) {
        lr_bin_block_bytes[lr_bin_offset(c) / LR_OFFSET_STEP] = (uint16_t)lr_classes[c].bytes;
        lr_bin_block_bytes[lr_sample_bin_offset(c) / LR_OFFSET_STEP] =
            (uint16_t)lr_classes[c].bytes;
    }
    lr_store_relaxed(&lr_pop_below, LR_SMALL_MAX + 1);
    lr_size_class_set_in_place(true);
}

void lr_size_class_set_in_place(bool allowed) {
    for (unsigned c = 0; c < LR_CLASS_COUNT; c++) {
        lr_store_relaxed(&lr_resize_bytes[c], allowed ? lr_classes[c].bytes : 0);
    }
}

void lr_size_class_set_sampling(bool on) {
    for (size_t size = 0; size <= LR_FAST_MAX; size++) {
        unsigned size_class = lr_class_of(size);
        lr_store_relaxed(&lr_bin_offsets[size],
                         on ? lr_sample_bin_offset(size_class) : lr_bin_offset(size_class));
    }
    lr_store_relaxed(&lr_pop_below, on ? 0 : LR_SMALL_MAX + 1);
}

unsigned lr_class_of_aligned(size_t size, size_t align) {
    if (align <= LR_MIN_ALIGN) {
        return size <= LR_SMALL_MAX ? lr_class_of(size) : 0;
    }
    if (size > LR_SMALL_MAX || align > LR_PAGE_BYTES) {
        return 0;
    }
    // Spans begin at a page, so all blocks are aligned if their size is: in each doubling,
    // multiples of the step between classes are classes. An alignment above the step makes the size
    // such a multiple; one below the step divides all of them.
    return lr_class_of(lr_align_up(lr_max(size, 1), align));
}

size_t lr_good_size(size_t size, size_t align) {
    if (size > PTRDIFF_MAX - LR_HUGE_BYTES || align > PTRDIFF_MAX - size) {
        return 0;
    }
    unsigned size_class = lr_class_of_aligned(size, align);
    return size_class != 0 ? lr_classes[size_class].bytes
                           : lr_align_up(lr_max(size, 1), LR_PAGE_BYTES);
}
