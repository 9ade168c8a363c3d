// SPDX-License-Identifier: Apache-2.0
// Power-of-two arithmetic.
#ifndef LARDER_BASE_BITS_H
#define LARDER_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool lr_is_pow2(size_t x) { return x != 0 && (x & (x - 1)) == 0; }

// `align` is a power of two; the caller has excluded overflow.
static inline size_t lr_align_up(size_t x, size_t align) { return (x + align - 1) & ~(align - 1); }

static inline size_t lr_align_down(size_t x, size_t align) { return x & ~(align - 1); }

// Index of the highest set bit; x is not 0.
static inline unsigned lr_log2_floor(size_t x) { return 63U - (unsigned)__builtin_clzl(x); }

// Smallest power of two >= x; x is at least 1 and at most 2^63.
static inline size_t lr_pow2_ceil(size_t x) {
    return x <= 1 ? 1 : (size_t)1 << (lr_log2_floor(x - 1) + 1);
}

static inline size_t lr_min(size_t a, size_t b) { return a < b ? a : b; }

static inline size_t lr_max(size_t a, size_t b) { return a > b ? a : b; }

#endif
