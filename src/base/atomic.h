// SPDX-License-Identifier: Apache-2.0
// The only file that spells memory orders: an operation's name carries its order.
#ifndef LARDER_BASE_ATOMIC_H
#define LARDER_BASE_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef _Atomic(uint8_t) atomic_u8;
typedef _Atomic(uint16_t) atomic_u16;
typedef _Atomic(uint32_t) atomic_u32;
typedef _Atomic(uint64_t) atomic_u64;
typedef _Atomic(size_t) atomic_sz;

#define lr_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define lr_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
// A relaxed load that the compiler may fold into the instruction that uses the value, which it does
// not do with an atomic one. For the fast path: an aligned word, read once (the goldens of
// tests/golden would show a second read).
#if LARDER_TSAN
#define lr_load_folded(p) ((size_t)lr_load_relaxed(p))
#define lr_load_folded_u16(p) lr_load_relaxed(p)
#else
typedef size_t __attribute__((may_alias)) lr_any_word;
typedef uint16_t __attribute__((may_alias)) lr_any_u16;
#define lr_load_folded(p) (*(const lr_any_word *)(size_t)(p))
#define lr_load_folded_u16(p) (*(const lr_any_u16 *)(size_t)(p))
#endif
#define lr_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define lr_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
// One order of all these operations that every thread agrees on: a store and a load of another
// object that follows it cannot pass each other.
#define lr_load_seq_cst(p) atomic_load_explicit((p), memory_order_seq_cst)
#define lr_store_seq_cst(p, v) atomic_store_explicit((p), (v), memory_order_seq_cst)
#define lr_exchange_acquire(p, v) atomic_exchange_explicit((p), (v), memory_order_acquire)
#define lr_exchange_release(p, v) atomic_exchange_explicit((p), (v), memory_order_release)
#define lr_exchange_acq_rel(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define lr_fetch_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define lr_fetch_add_acq_rel(p, v) atomic_fetch_add_explicit((p), (v), memory_order_acq_rel)
#define lr_fetch_or_relaxed(p, v) atomic_fetch_or_explicit((p), (v), memory_order_relaxed)
#define lr_fetch_sub_relaxed(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_relaxed)
#define lr_fetch_sub_acq_rel(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_acq_rel)
#define lr_cas_acquire(p, expected, desired)                                                       \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_acquire,      \
                                            memory_order_relaxed)
#define lr_cas_acq_rel(p, expected, desired)                                                       \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_acq_rel,      \
                                            memory_order_acquire)
#define lr_cas_relaxed(p, expected, desired)                                                       \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_relaxed,      \
                                            memory_order_relaxed)
// Orders this thread's accesses for a signal handler, or for another thread that issues
// membarrier().
#define lr_compiler_fence() atomic_signal_fence(memory_order_seq_cst)

// Between processes, which ThreadSanitizer does not see; it has no fences.
#if LARDER_TSAN
#define lr_fence_acquire() lr_compiler_fence()
#define lr_fence_release() lr_compiler_fence()
#else
#define lr_fence_acquire() atomic_thread_fence(memory_order_acquire)
#define lr_fence_release() atomic_thread_fence(memory_order_release)
#endif

// A counter with one writer at a time (its owner, or whoever holds its lock) and any readers:
// a plain add compiled to no locked instruction.
#define lr_counter_add(p, v) lr_store_relaxed((p), lr_load_relaxed(p) + (v))
#define lr_counter_sub(p, v) lr_store_relaxed((p), lr_load_relaxed(p) - (v))

// Tells the CPU that this is a spin loop.
static inline void lr_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif
