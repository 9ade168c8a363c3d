// SPDX-License-Identifier: Apache-2.0
// Which thread has which cache: birth, death, and the registry of all caches.
//
// A thread is unborn (no record), live, or dead (its destructors ran; blocks go straight to the
// shared lists). A record is FREE (for the next thread), OWNED, or TAKEN by the scavenger.
#ifndef LARDER_CACHE_THREAD_STATE_H
#define LARDER_CACHE_THREAD_STATE_H

#include "cache/thread_cache.h"
#include "sync/lock.h"
#include "sync/rcu.h"

enum thread_record_state {
    THREAD_FREE,
    THREAD_OWNED,
    THREAD_TAKEN, // the scavenger is emptying the cache; the owner works without one
};

struct thread_record {
    struct thread_cache cache; // first: a cache pointer is a record pointer
    struct lr_rcu_node node;   // in the registry; readers under lr_rcu_read_lock()
    // The owner's lr_thread_cache. Touched by others only while the state is TAKEN.
    _Atomic(struct thread_cache *) *slot;
    atomic_u32 state;       // enum thread_record_state; also the futex of an owner waiting to exit
    atomic_u32 thread_id;   // owner writes; the scavenger reads
    atomic_u32 generation;  // of the process by fork; other values mean the owner is not here
    uint32_t exit_rounds;   // owner thread only
    atomic_u64 signal_mask; // blocked signals when the thread came to Larder
    // Scavenger only.
    uint64_t seen_slow_calls;
    uint64_t seen_print; // fingerprint of the bins
    uint64_t idle_since_ns;
    struct thread_record *next_doomed; // unlinked, waiting for a grace period
};

extern struct lr_lock lr_registry_lock;
extern struct thread_cache lr_empty_cache; // never written
extern struct lr_rcu_node lr_thread_registry;

// Once, before the first thread asks for a cache.
void lr_thread_state_init(void);

// The calling thread's cache, made or taken back; NULL if it has to do without (dead, taken, or no
// memory). Takes no lock of Larder in most cases; may enter libc (pthread_setspecific).
struct thread_cache *lr_thread_cache_acquire(void);

static inline struct thread_record *lr_thread_record_of(struct lr_rcu_node *node) {
    return (struct thread_record *)(void *)((char *)node - offsetof(struct thread_record, node));
}

// Work of threads that have ended.
struct thread_ended_counts {
    uint64_t slow_calls;
    uint64_t refills;
    uint64_t flushes;
};
struct thread_ended_counts lr_thread_ended_counts(void);

// How many times this process has been forked off since the first one.
uint32_t lr_thread_generation(void);
// False in a child that was made without fork's handlers (a raw clone, _Fork): its records speak of
// threads of another process, and nobody may act on them.
bool lr_thread_state_is_ours(void);
void lr_thread_state_after_fork_child(void);

// From now on no thread's pointer leads to its cache, so that all calls take the slow path, where
// the thread finds its cache by lr_thread_cache_acquire(); or they do again, each from its next
// call on. Under lr_trace_lock.
void lr_thread_caches_hide(void);
void lr_thread_caches_show(void);

// Ends a record's use; its cache is empty. `from`: the state it is in now (the scavenger, who has
// it TAKEN) or will be again (its owner, who waits for OWNED).
void lr_thread_record_free(struct thread_record *record, uint32_t from);

// A thread with a cache has ended.
void lr_thread_state_note_end(void);

// Scavenger: unlinks FREE records and recycles them after a grace period. True if any is left.
bool lr_thread_state_reclaim(uint64_t now_ns);

#endif
