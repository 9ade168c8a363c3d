// SPDX-License-Identifier: Apache-2.0
// A lock that spins shortly, then sleeps on a futex. Acquire/release order; not recursive.
//
// States of `word`: 0 free, 1 held, 2 held and somebody may sleep. Sleepers set 2 before they sleep
// and the holder who swaps a 2 out wakes one of them, so a wake-up is never lost.
#ifndef LARDER_SYNC_LOCK_H
#define LARDER_SYNC_LOCK_H

#include "base/atomic.h"
#include "base/attr.h"
#include "base/fail.h"
#include "sync/lock_rank.h"

struct lr_lock {
    atomic_u32 word;
    uint32_t rank;        // enum lr_lock_rank, immutable
    atomic_u64 takes;     // guarded by: the lock itself (counted while held)
    atomic_u64 contended; // guarded by: the lock itself
};

#define LR_LOCK_INIT(r)                                                                            \
    { .rank = (r) }

// Not 0 while a thread forks: it holds all locks, and passes through them when fork handlers that
// the program registered before Larder's first call allocate.
extern atomic_u32 lr_lock_fork_active;
bool lr_lock_is_forking_thread(void);
// By the forking thread, when it has all locks (true), and before it releases the first (false).
void lr_lock_set_forking(bool forking);

// Locks that the calling thread holds or is about to take. A signal handler that forks sees by it
// that it interrupted the heap (api/fork.c), so it is raised before a lock is taken, lowered after.
extern _Thread_local uint32_t lr_lock_depth LR_HIDDEN;

static inline void lr_lock_enter(void) {
    lr_lock_depth++;
    lr_compiler_fence(); // only the thread's own handlers look
}

static inline void lr_lock_leave(void) {
    lr_compiler_fence();
    lr_lock_depth--;
}

void lr_lock_slow(struct lr_lock *lock);
void lr_unlock_slow(struct lr_lock *lock);
// Checked builds: per-thread record of held ranks.
void lr_lock_note_acquire(const struct lr_lock *lock);
void lr_lock_note_release(const struct lr_lock *lock);
// True if the calling thread holds any lock of Larder (always false in unchecked builds).
bool lr_lock_any_held(void);
// Around fork(), by the forking thread, which takes all locks in their order; arrays of one rank
// too.
void lr_lock_for_fork(struct lr_lock *lock);
void lr_unlock_after_fork(struct lr_lock *lock);
// In a forked child: makes the lock free whatever its state; no other thread exists then.
void lr_lock_reset_in_child(struct lr_lock *lock);

static inline bool lr_lock_passes(void) {
    return LR_UNLIKELY(lr_load_relaxed(&lr_lock_fork_active) != 0) && lr_lock_is_forking_thread();
}

static inline void lr_lock(struct lr_lock *lock) {
    if (lr_lock_passes()) {
        return;
    }
    if (LARDER_CHECKED) {
        lr_lock_note_acquire(lock);
    }
    lr_lock_enter();
    uint32_t unlocked = 0;
    // Acquire pairs with the release in lr_unlock(): the previous holder's writes are seen.
    if (LR_UNLIKELY(!lr_cas_acquire(&lock->word, &unlocked, 1))) {
        lr_lock_slow(lock);
    }
    lr_counter_add(&lock->takes, 1);
}

static inline bool lr_trylock(struct lr_lock *lock) {
    if (lr_lock_passes()) {
        return true;
    }
    lr_lock_enter();
    uint32_t unlocked = 0;
    if (!lr_cas_acquire(&lock->word, &unlocked, 1)) {
        lr_lock_leave();
        return false;
    }
    if (LARDER_CHECKED) {
        lr_lock_note_acquire(lock);
    }
    lr_counter_add(&lock->takes, 1);
    return true;
}

static inline void lr_unlock(struct lr_lock *lock) {
    if (lr_lock_passes()) {
        return;
    }
    if (LARDER_CHECKED) {
        lr_lock_note_release(lock);
    }
    if (LR_UNLIKELY(lr_exchange_release(&lock->word, 0) == 2)) {
        lr_unlock_slow(lock);
    }
    lr_lock_leave();
}

static inline void lr_lock_assert_held(struct lr_lock *lock) {
    LR_ASSERT(lr_load_relaxed(&lock->word) != 0);
}

#endif
