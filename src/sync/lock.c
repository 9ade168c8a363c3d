// SPDX-License-Identifier: Apache-2.0
#include "sync/lock.h"

#include "os/os.h"
#include "sync/latency.h"

enum {
    // Critical sections last well under a microsecond; a hundred pauses are two to four of them on
    // current x86-64. Longer waits mean that the holder was preempted: sleep and let it run.
    SPIN_COUNT = 100,
};

// Checked builds only: bit r is set while this thread holds a lock of rank r.
static _Thread_local uint32_t held_ranks;

void lr_lock_note_acquire(const struct lr_lock *lock) {
    LR_CHECK(lock->rank > LR_RANK_NONE && lock->rank < LR_RANK_COUNT);
    LR_CHECK((held_ranks >> lock->rank) == 0 && "lock order: an equal or inner lock is held");
    held_ranks |= 1U << lock->rank;
}

void lr_lock_note_release(const struct lr_lock *lock) {
    LR_CHECK((held_ranks & (1U << lock->rank)) != 0 && "released a lock that is not held");
    held_ranks &= ~(1U << lock->rank);
}

bool lr_lock_any_held(void) { return held_ranks != 0; }

_Thread_local uint32_t lr_lock_depth;

atomic_u32 lr_lock_fork_active;
static _Thread_local bool forking_thread;

bool lr_lock_is_forking_thread(void) { return forking_thread; }

void lr_lock_set_forking(bool forking) {
    forking_thread = forking;
    lr_store_relaxed(&lr_lock_fork_active, forking ? 1 : 0);
}

static void end_wait(const struct lr_lock *lock, uint64_t began) {
    if (LR_LIKELY(began == 0)) {
        return;
    }
    if (lock->rank == LR_RANK_CENTRAL) {
        lr_latency_end(LR_LATENCY_CENTRAL_WAIT, began);
    } else if (lock->rank == LR_RANK_SPAN_HEAP) {
        lr_latency_end(LR_LATENCY_SPAN_HEAP_WAIT, began);
    }
}

LR_NOINLINE void lr_lock_slow(struct lr_lock *lock) {
    uint64_t began = lr_latency_begin();
    for (int i = 0; i < SPIN_COUNT; i++) {
        lr_cpu_relax();
        uint32_t unlocked = 0;
        if (lr_load_relaxed(&lock->word) == 0 && lr_cas_acquire(&lock->word, &unlocked, 1)) {
            lr_counter_add(&lock->contended, 1);
            end_wait(lock, began);
            return;
        }
    }
    while (lr_exchange_acquire(&lock->word, 2) != 0) {
        lr_os_futex_wait(&lock->word, 2, UINT64_MAX);
    }
    lr_counter_add(&lock->contended, 1);
    end_wait(lock, began);
}

LR_NOINLINE void lr_unlock_slow(struct lr_lock *lock) { lr_os_futex_wake(&lock->word, 1); }

void lr_lock_for_fork(struct lr_lock *lock) {
    lr_lock_enter();
    uint32_t unlocked = 0;
    if (!lr_cas_acquire(&lock->word, &unlocked, 1)) {
        lr_lock_slow(lock);
    }
}

void lr_unlock_after_fork(struct lr_lock *lock) {
    if (lr_exchange_release(&lock->word, 0) == 2) {
        lr_unlock_slow(lock);
    }
    lr_lock_leave();
}

void lr_lock_reset_in_child(struct lr_lock *lock) {
    held_ranks = 0;
    lr_lock_depth = 0;
    lr_store_relaxed(&lock->word, 0);
}
