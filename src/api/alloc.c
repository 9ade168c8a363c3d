// SPDX-License-Identifier: Apache-2.0
// The malloc family. Each function is its fast path and a tail call; what the fast path assumes is
// written in cache/thread_cache.h.
#include <larder/larder.h>

#include <errno.h>
#include <string.h>

#include "api/override.h"
#include "api/slow.h"
#include "api/start.h"
#include "base/bits.h"
#include "cache/misuse.h"
#include "cache/sampler.h"
#include "cache/thread_cache.h"
#include "cache/trace.h"
#include "hard/hard.h"
#include "os/os.h"
#include "prof/guard.h"

LR_HOT void *larder_malloc(size_t size) {
    void *block;
    if (LR_LIKELY(lr_alloc_fast(size, &block))) {
        return block;
    }
    return lr_alloc_slow(size);
}

LR_HOT void larder_free(void *block) {
    if (LR_UNLIKELY(!lr_free_fast(block))) {
        lr_free_slow(block);
    }
}

void larder_cfree(void *block) { larder_free(block); }

// True if a small block of `bytes` may have been requested, or left in place by realloc, with
// `size`: realloc keeps what is about half used, so that shrinking in steps does not copy each
// time. The addend lets all sizes of the smallest class pass, but not 0, which is realloc's way to
// free.
static LR_ALWAYS_INLINE bool size_fits(size_t bytes, size_t size) {
    return size - 1 < bytes && 2 * size + LR_MIN_ALIGN > bytes;
}

// True if a block of `bytes` may have been requested with `size`.
static bool may_be_size(size_t bytes, size_t size) {
    if (bytes <= LR_SMALL_MAX) {
        return size_fits(bytes, size) || lr_good_size(size, LR_MIN_ALIGN) == bytes;
    }
    // realloc cuts large blocks to size: to whole pages, or OS pages outside the window.
    return size <= bytes && bytes - size < lr_max(LR_PAGE_BYTES, lr_os_page_bytes());
}

static LR_NOINLINE void free_sized_slow(void *block, size_t size) {
    if (LR_UNLIKELY(lr_hardened) && lr_hard_owns(block)) {
        lr_hard_free_sized(block, size, 1);
        return;
    }
    size_t bytes = block == NULL ? 0 : lr_block_bytes(block);
    bool checked = LARDER_CHECKED ? bytes > 0 : bytes > LR_SMALL_MAX;
    if (checked && !may_be_size(bytes, size)) {
        lr_misuse_report_size(block, size, bytes);
    }
    larder_free(block);
}

// The bin comes from the block, not from the size. Believing the size would save an instruction
// and let one wrong size, which other allocators ignore, put a block where larger ones are handed
// out. It is looked at where that costs nothing: for large blocks, which all take the slow path.
void larder_free_sized(void *block, size_t size) {
    if (LR_UNLIKELY(LARDER_CHECKED || !lr_free_fast(block))) {
        free_sized_slow(block, size);
    }
}

void larder_free_aligned_sized(void *block, size_t alignment, size_t size) {
    if (LR_UNLIKELY(lr_hardened) && lr_hard_owns(block)) {
        lr_hard_free_sized(block, size, alignment);
        return;
    }
    size_t bytes = block == NULL ? 0 : lr_block_bytes(block);
    if (LR_UNLIKELY(bytes != 0 && (size > bytes || ((size_t)block & (alignment - 1)) != 0))) {
        lr_misuse_report_size(block, size, bytes);
    }
    larder_free(block);
}

static LR_NOINLINE void *calloc_slow(size_t bytes) {
    bool zeroed;
    void *block = lr_alloc_maybe_zeroed(bytes, &zeroed);
    if (block != NULL && !zeroed) {
        memset(block, 0, lr_block_bytes(block));
    }
    if (LR_UNLIKELY(lr_trace_on()) && block != NULL) {
        lr_trace_alloc(LARDER_TRACE_CALLOC, block, bytes, 1);
    }
    return block;
}

static LR_COLD void *fail(int error) {
    errno = error;
    return NULL;
}

// Zero as far as malloc_usable_size() reaches, as with other allocators: programs that use a block
// to that end, or have realloc() grow it in place, count on it.
void *larder_calloc(size_t count, size_t size) {
    size_t bytes;
    if (LR_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        return fail(ENOMEM);
    }
    void *block;
    size_t usable;
    if (LR_LIKELY(lr_alloc_fast_usable(bytes, &block, &usable))) {
        return memset(block, 0, usable);
    }
    return calloc_slow(bytes);
}

// What grows by small steps gets a quarter more than it had, so that it is copied half as often and
// passes through half as many size classes. Not where blocks are as long as they were asked for,
// which is what hardened mode and guards watch, samples count, and records hold.
static void *alloc_to_grow(size_t old_bytes, size_t size) {
    size_t roomy = old_bytes + old_bytes / 4;
    if (size <= old_bytes || size >= roomy || roomy > LR_SMALL_MAX || LR_UNLIKELY(lr_hardened) ||
        LR_UNLIKELY(lr_sampling_on()) || LR_UNLIKELY(lr_trace_on())) {
        return larder_malloc(size);
    }
    const int saved_errno = errno;
    void *block = larder_malloc(roomy);
    if (LR_LIKELY(block != NULL)) {
        return block;
    }
    errno = saved_errno;
    return larder_malloc(size);
}

// A block of another size with the old one's contents; the old one is gone, unless memory ran out.
static LR_NOINLINE void *move_block(void *block, size_t old_bytes, size_t size) {
    void *moved = alloc_to_grow(old_bytes, size);
    if (moved != NULL) {
        memcpy(moved, block, lr_min(old_bytes, size));
        larder_free(block);
    }
    return moved;
}

// Longer, with room to get longer still; NULL, and the block as it was, if that cannot be had.
static void *grow_hardened(void *block, size_t bytes, size_t size) {
    void *moved = lr_hard_alloc_to_grow(size);
    if (moved != NULL) {
        if (LR_UNLIKELY(lr_trace_on())) {
            lr_trace_alloc(LARDER_TRACE_MALLOC, moved, size, 1);
        }
        memcpy(moved, block, bytes);
        larder_free(block);
    }
    return moved;
}

static LR_COLD void *realloc_hardened(void *block, size_t size) {
    const int saved_errno = errno;
    size_t bytes;
    if (!lr_hard_bytes(block, "realloc", &bytes)) {
        return fail(EINVAL);
    }
    void *resized = lr_hard_resize(block, size) ? block : NULL;
    if (resized == NULL && size > bytes) {
        resized = grow_hardened(block, bytes, size);
    }
    errno = saved_errno;
    return resized != NULL ? resized : move_block(block, bytes, size);
}

static void *resize(void *block, size_t size) {
    if (LR_UNLIKELY(lr_hardened) && lr_hard_owns(block)) {
        return realloc_hardened(block, size);
    }
    size_t bytes = lr_block_bytes(block);
    if (LR_UNLIKELY(bytes == 0)) {
        if (!lr_guard_report_free(block)) {
            lr_misuse_report(LR_MISUSE_REALLOC, block);
        }
        return fail(EINVAL);
    }
    if (lr_good_size(size, LR_MIN_ALIGN) == bytes) {
        return block;
    }
    if (bytes > LR_SMALL_MAX && size > LR_SMALL_MAX) {
        int saved_errno = errno;
        void *resized = lr_resize_large(block, size);
        errno = saved_errno;
        if (resized != NULL) {
            return resized;
        }
    }
    if (bytes <= LR_SMALL_MAX && size_fits(bytes, size)) {
        return block;
    }
    return move_block(block, bytes, size);
}

// The allocation and the free inside, if it moves, are recorded as what they are.
static LR_NOINLINE void *resize_recorded(void *block, size_t size) {
    lr_trace_block(LARDER_TRACE_REALLOC, block, size);
    void *resized = resize(block, size);
    lr_trace_block(LARDER_TRACE_REALLOC_END, resized != NULL ? resized : block, size);
    return resized;
}

static LR_NOINLINE void *realloc_slow(void *block, size_t size) {
    if (block == NULL) {
        return larder_malloc(size);
    }
    if (size == 0) {
        larder_free(block); // as glibc: errno stays, NULL is not an error
        return NULL;
    }
    if (size > PTRDIFF_MAX) {
        return fail(ENOMEM);
    }
    return LR_UNLIKELY(lr_trace_on()) ? resize_recorded(block, size) : resize(block, size);
}

void *larder_realloc(void *block, size_t size) {
    size_t page = lr_page_of(block);
    if (LR_LIKELY(lr_page_in_window(page))) {
        size_t offset = lr_load_relaxed(lr_class_map(page));
        size_t bytes = lr_load_relaxed(&lr_resize_bytes[offset / LR_BIN_BYTES]); // 0 for large ones
        if (LR_LIKELY(size_fits(bytes, size))) {
            return block;
        }
    }
    return realloc_slow(block, size);
}

void *larder_reallocarray(void *block, size_t count, size_t size) {
    size_t bytes;
    if (LR_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        return fail(ENOMEM);
    }
    return larder_realloc(block, bytes);
}

// `alignment` is a power of two. A block for a multiple of an alignment up to a page is aligned by
// itself, see lr_class_of_aligned(); large ones begin at a page.
static void *alloc_aligned(size_t alignment, size_t size) {
    void *block;
    if (LR_LIKELY(alignment <= LR_PAGE_BYTES && size <= LR_SMALL_MAX) &&
        LR_LIKELY(lr_alloc_fast(lr_align_up(lr_max(size, 1), alignment), &block))) {
        return block;
    }
    return lr_alloc_aligned_slow(alignment, size);
}

int larder_posix_memalign(void **out, size_t alignment, size_t size) {
    if (alignment < sizeof(void *) || !lr_is_pow2(alignment)) {
        return EINVAL;
    }
    int saved_errno = errno;
    void *block = alloc_aligned(alignment, size);
    if (block == NULL) {
        return ENOMEM; // *out stays as it was; errno is set too, as glibc does
    }
    errno = saved_errno;
    *out = block;
    return 0;
}

void *larder_aligned_alloc(size_t alignment, size_t size) {
    if (!lr_is_pow2(alignment)) {
        return fail(EINVAL);
    }
    return alloc_aligned(alignment, size);
}

void *larder_memalign(size_t alignment, size_t size) {
    // glibc rounds other alignments up to a power of two, and refuses those it cannot round.
    if (alignment > SIZE_MAX / 2 + 1) {
        return fail(EINVAL);
    }
    return alloc_aligned(lr_pow2_ceil(alignment), size);
}

static size_t os_page(void) { return lr_start() ? lr_os_page_bytes() : LR_PAGE_BYTES; }

void *larder_valloc(size_t size) { return alloc_aligned(os_page(), size); }

void *larder_pvalloc(size_t size) {
    size_t page = os_page();
    if (size > PTRDIFF_MAX) {
        return fail(ENOMEM);
    }
    return alloc_aligned(page, lr_align_up(lr_max(size, 1), page));
}

static LR_COLD LR_NOINLINE size_t unusual_usable_size(const void *block) {
    size_t bytes = 0;
    if (lr_hardened && block != NULL) {
        lr_hard_bytes(block, "malloc_usable_size", &bytes);
    } else if (block != NULL) {
        lr_misuse_report(LR_MISUSE_USABLE, block);
    }
    return bytes;
}

size_t larder_malloc_usable_size(void *block) {
    size_t bytes = block == NULL ? 0 : lr_block_bytes(block);
    return LR_LIKELY(bytes != 0) ? bytes : unusual_usable_size(block);
}

LR_OVERRIDES_OF_ALLOC(LR_OVERRIDE)
LR_CXX_OVERRIDES_OF_ALLOC(LR_OVERRIDE_CXX)
