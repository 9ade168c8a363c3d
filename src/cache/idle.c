// SPDX-License-Identifier: Apache-2.0
// The hand-over of an idle thread's cache to the scavenger, which adds nothing to malloc or free.
//
//   scavenger                                  owner, fast path        owner, slow path
//   1 state = TAKEN                            load lr_thread_cache    busy = 1
//   2 *slot = empty cache                      use that cache          if state != TAKEN:
//   3 membarrier: every thread of the process                              lr_thread_cache = own
//     has passed a full barrier                                        busy = 0
//   4 the owner is inside a system call now,
//     busy is 0 and *slot is still empty?
//   5 yes: the cache is the scavenger's
//
// Why it is right. The fast path makes no system call, so an owner that is inside one at step 4 has
// finished every fast path it began; those that begin later load the empty cache (2 precedes 3). An
// owner in its slow path shows busy, set before it looks at the state: either it saw TAKEN and
// leaves the cache alone, or the barrier makes its busy visible, or it has finished and put its
// cache back, which the last look at *slot finds. tests/model/model_idle.c walks all interleavings.
//
// Where it would break. (a) A child of vfork or clone(CLONE_VM) runs on its parent's thread
// pointer while the parent is inside the call: such calls count as running. (b) A signal handler
// that interrupted malloc and then blocks: the handler's signal is blocked meanwhile, and a thread
// that blocks more signals than it did when it came to Larder is left alone. What remains is a
// handler that interrupts malloc and then sleeps, for seconds or 100 ms, with its signal not
// blocked: installed with SA_NODEFER, or sleeping in sigsuspend() or ppoll() with another mask.
#include "cache/idle.h"

#include "base/bits.h"
#include "cache/thread_state.h"
#include "conf/options.h"
#include "heap/limit.h"
#include "heap/scavenger.h"
#include "os/os.h"

#define MS_NS ((uint64_t)1000000)
enum { LOOKS = 8 }; // at a thread within LARDER_IDLE_THREAD_MS

#define HURRY_NS (100 * MS_NS)
#define HURRY_FOR_NS (1000 * MS_NS)

static atomic_u64 hurry_until_ns;

// How long a thread must have been idle. Not less than HURRY_NS: what is said above about signal
// handlers rests on it.
static uint64_t idle_ns(uint64_t now_ns) {
    uint64_t ns = lr_opt_idle_thread_ms() * MS_NS;
    bool hurry = lr_limit_is_tight() || now_ns < lr_load_relaxed(&hurry_until_ns);
    return hurry ? lr_min(ns, HURRY_NS) : ns;
}

void lr_idle_hurry(void) {
    lr_store_relaxed(&hurry_until_ns, lr_os_now_ns() + HURRY_FOR_NS);
    lr_scavenger_note_activity();
}

static atomic_u64 drains;
static atomic_u64 refusals;

// Changes when a bin is used, except when as many blocks were taken as given.
LR_NO_TSAN static uint64_t fingerprint(const struct thread_cache *cache) {
    uint64_t print = 0;
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        const volatile struct bin *bin = &cache->bins[c];
        print = print * 31 + (size_t)bin->top;
    }
    for (unsigned c = 1; c < LR_SAMPLE_BINS; c++) {
        const volatile struct sample_bin *bin = &cache->sample_bins[c];
        print = print * 31 + (size_t)bin->top;
    }
    return print;
}

static void release_record(struct thread_record *record) {
    // Pairs with the owner's acquire in lr_thread_cache_acquire() and at its exit.
    lr_store_release(&record->state, THREAD_OWNED);
    lr_os_futex_wake(&record->state, 1);
}

static void empty_cache(struct thread_record *record) {
    lr_cache_flush(&record->cache, true);
    lr_counter_add(&drains, 1);
}

// The record is the scavenger's (TAKEN) and its owner does not exist in this process: left behind
// by fork, or by a thread that ended without its destructors. Nobody else touches it; a cache
// caught in a slow path stays as it is.
static void adopt(struct thread_record *record) {
    if (lr_load_relaxed(&record->cache.busy) == 0) {
        empty_cache(record);
        lr_thread_record_free(record, THREAD_TAKEN);
    }
}

// A record's owner as it was looked at, before the record was taken.
struct sighting {
    uint32_t thread_id;
    uint64_t idle_since_ns;
};

// Takes the record. False, with the record as it was, if another thread has it now: the owner seen
// may have ended and the next one have been given its record in between.
static bool take_as_seen(struct thread_record *record, const struct sighting *seen) {
    uint32_t owned = THREAD_OWNED;
    // Acquire pairs with be_born(): slot is valid. The owner cannot exit while the state is TAKEN.
    if (!lr_cas_acq_rel(&record->state, &owned, THREAD_TAKEN)) {
        return false;
    }
    if (lr_load_relaxed(&record->thread_id) != seen->thread_id ||
        record->idle_since_ns != seen->idle_since_ns) {
        release_record(record);
        return false;
    }
    return true;
}

// Steps 1 to 5. True if the cache was emptied.
static bool try_take(struct thread_record *record, const struct sighting *seen, uint64_t mask) {
    if (!take_as_seen(record, seen)) {
        return false;
    }
    lr_store_relaxed(record->slot, &lr_empty_cache);
    bool mine = lr_os_membarrier() &&
                lr_os_thread_activity(seen->thread_id, mask) == LR_OS_THREAD_BLOCKED &&
                lr_load_relaxed(&record->cache.busy) == 0 &&
                lr_load_relaxed(record->slot) == &lr_empty_cache;
    if (mine) {
        empty_cache(record);
    } else {
        lr_counter_add(&refusals, 1);
    }
    release_record(record);
    return mine;
}

// True while the cache holds blocks that may become idle later.
static bool look_at(struct thread_record *record, uint64_t now_ns) {
    if (lr_load_acquire(&record->state) != THREAD_OWNED) {
        return false;
    }
    if (lr_load_relaxed(&record->generation) != lr_thread_generation()) {
        lr_store_relaxed(&record->state, THREAD_TAKEN); // no other thread knows it
        adopt(record);
        return false;
    }
    bool filled = lr_cache_bytes_racy(&record->cache) > 0;
    uint64_t slow_calls = lr_load_relaxed(&record->cache.slow_calls);
    uint64_t print = fingerprint(&record->cache);
    if (slow_calls != record->seen_slow_calls || print != record->seen_print ||
        record->idle_since_ns == 0) {
        record->seen_slow_calls = slow_calls;
        record->seen_print = print;
        record->idle_since_ns = now_ns;
        return filled;
    }
    if (now_ns - record->idle_since_ns < idle_ns(now_ns)) {
        return filled;
    }
    struct sighting seen = {.idle_since_ns = record->idle_since_ns,
                            .thread_id = lr_load_relaxed(&record->thread_id)};
    uint64_t mask = lr_load_relaxed(&record->signal_mask);
    // Asked first without disturbing a thread that runs on its cached blocks.
    enum lr_os_thread_activity activity = lr_os_thread_activity(seen.thread_id, mask);
    if (filled && activity == LR_OS_THREAD_BLOCKED && try_take(record, &seen, mask)) {
        return false;
    }
    if (activity == LR_OS_THREAD_GONE) {
        if (take_as_seen(record, &seen)) {
            lr_thread_state_note_end();
            adopt(record);
        }
        return false;
    }
    record->idle_since_ns = now_ns; // not before another period has passed
    return filled;
}

bool lr_idle_drain(uint64_t now_ns) {
    static atomic_u32 barrier_state; // 0 unknown, 1 registered, 2 the kernel has none
    if (lr_load_relaxed(&barrier_state) == 0) {
        lr_store_relaxed(&barrier_state, lr_os_membarrier_register() ? 1 : 2);
    }
    if (lr_load_relaxed(&barrier_state) != 1 || lr_opt_idle_thread_ms() == 0) {
        return false;
    }
    // Ticks exclude each other, so plain.
    static uint64_t looked_ns;
    static bool more;
    if (now_ns - looked_ns < idle_ns(now_ns) / LOOKS) {
        return more;
    }
    looked_ns = now_ns;
    more = false;
    if (!lr_thread_state_is_ours() || !lr_os_proc_is_ours()) {
        return false;
    }
    struct lr_rcu_node *node = &lr_thread_registry;
    do {
        // The lock is held for one record at a time: fork() takes it too and so never meets a TAKEN
        // record, and threads that are born wait for one look only. What is linked stays linked in
        // between, because records are removed by ticks only. (Not a read-side section: in inline
        // mode this is a thread of the program, and liburcu aborts if it has no memory left to
        // register it.)
        lr_lock(&lr_registry_lock);
        node = node->next;
        if (node != &lr_thread_registry) {
            more |= look_at(lr_thread_record_of(node), now_ns);
        }
        lr_unlock(&lr_registry_lock);
    } while (node != &lr_thread_registry);
    return more;
}

struct idle_counts lr_idle_counts(void) {
    return (struct idle_counts){.drains = lr_load_relaxed(&drains),
                                .refusals = lr_load_relaxed(&refusals)};
}
