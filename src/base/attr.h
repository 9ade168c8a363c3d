// SPDX-License-Identifier: Apache-2.0
// Compiler attributes, spelt once.
#ifndef LARDER_BASE_ATTR_H
#define LARDER_BASE_ATTR_H

#define LR_LIKELY(x) __builtin_expect(!!(x), 1)
#define LR_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define LR_COLD __attribute__((cold))
#define LR_HOT __attribute__((hot))
#define LR_NOINLINE __attribute__((noinline))
#define LR_ALWAYS_INLINE inline __attribute__((always_inline))
// For data in other files that the fast path reads: without it the compiler loads the address
// first.
#define LR_HIDDEN __attribute__((visibility("hidden")))
// For statistics that read what its owner writes without atomics: any value they get is harmless.
#define LR_NO_TSAN __attribute__((noinline, no_sanitize("thread")))
#define LR_PRINTF(text_index, first_index) __attribute__((format(printf, text_index, first_index)))
#define LR_CACHE_LINE 64 // bytes
#define LR_CACHE_ALIGNED __attribute__((aligned(LR_CACHE_LINE)))

#endif
