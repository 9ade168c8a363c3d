// SPDX-License-Identifier: Apache-2.0
#include "cache/thread_state.h"

#include <pthread.h>
#include <string.h>

#include "cache/trace.h"
#include "heap/meta.h"
#include "heap/scavenger.h"
#include "os/os.h"

enum {
    // glibc calls key destructors in four rounds as long as values are set. Ours waits one round,
    // so
    // that the first destructors of others still find a cache; not more, because a thread whose
    // first call comes from a destructor has fewer left. ThreadSanitizer ends its own view of the
    // thread in the last round: no instrumented code may run after that.
    EXIT_ROUNDS = LARDER_TSAN ? 1 : 2,
};

// How long a record waits for the next thread, with stacks of a useful size.
#define RECORD_KEEP_NS ((uint64_t)2000000000)

struct thread_cache lr_empty_cache;
_Thread_local _Atomic(struct thread_cache *) lr_thread_cache = &lr_empty_cache;

// NULL: unborn. &dead_record: its destructors have run.
static _Thread_local struct thread_record *own_record __attribute__((tls_model("initial-exec")));
static struct thread_record dead_record;

struct lr_lock lr_registry_lock = LR_LOCK_INIT(LR_RANK_REGISTRY);
struct lr_rcu_node lr_thread_registry;
static atomic_u32 live_threads;
static atomic_u32 free_records;
static atomic_u32 generation;
static atomic_u32 process_id;
static atomic_u32 hidden; // 1: pointers stay at the empty cache
static pthread_key_t exit_key;
static bool have_exit_key; // immutable after start

static_assert(offsetof(struct thread_record, cache) == 0, "casts between the two");

bool lr_thread_state_is_ours(void) { return lr_load_relaxed(&process_id) == lr_os_process_id(); }

uint32_t lr_thread_generation(void) { return lr_load_relaxed(&generation); }

static void wait_while_taken(struct thread_record *record) {
    // Acquire pairs with the scavenger's release of the record: the bins it emptied.
    while (lr_load_acquire(&record->state) == THREAD_TAKEN) {
        lr_os_futex_wait(&record->state, THREAD_TAKEN, UINT64_MAX);
    }
}

void lr_thread_record_free(struct thread_record *record, uint32_t from) {
    lr_fetch_add_relaxed(&free_records, 1);
    record->idle_since_ns = 0;
    uint32_t state = from;
    // Release pairs with claim_free_record(): the cache is empty.
    while (!lr_cas_acq_rel(&record->state, &state, THREAD_FREE)) {
        wait_while_taken(record);
        state = from;
    }
}

void lr_thread_state_note_end(void) {
    if (lr_fetch_sub_relaxed(&live_threads, 1) == 1) {
        lr_scavenger_note_last_thread();
    }
}

static void on_thread_exit(void *value) {
    struct thread_record *record = value;
    if (++record->exit_rounds < EXIT_ROUNDS) {
        pthread_setspecific(exit_key, record);
        return;
    }
    // From here on the scavenger gives up on this record: busy is set before the state is looked
    // at, and it looks at busy after a barrier on this thread.
    lr_store_relaxed(&record->cache.busy, 1);
    lr_compiler_fence();
    own_record = &dead_record;
    lr_store_relaxed(&lr_thread_cache, &lr_empty_cache);
    wait_while_taken(record);
    lr_cache_flush(&record->cache, false); // the next thread finds stacks of a useful size
    lr_store_relaxed(&record->cache.busy, 0);
    lr_trace_thread_end();
    lr_thread_record_free(record, THREAD_OWNED);
    lr_thread_state_note_end();
}

void lr_thread_state_init(void) {
    lr_rcu_list_init(&lr_thread_registry);
    lr_store_relaxed(&process_id, lr_os_process_id());
    // Only EAGAIN is possible, with 1,024 keys in use before the first malloc: caches then stay
    // with their records until the scavenger finds that their threads are gone.
    have_exit_key = pthread_key_create(&exit_key, on_thread_exit) == 0;
}

static struct thread_record *claim_free_record(void) {
    lr_lock_assert_held(&lr_registry_lock);
    if (lr_load_relaxed(&free_records) == 0) {
        return NULL;
    }
    for (struct lr_rcu_node *node = lr_thread_registry.next; node != &lr_thread_registry;
         node = node->next) {
        struct thread_record *record = lr_thread_record_of(node);
        if (lr_load_acquire(&record->state) == THREAD_FREE) {
            lr_fetch_sub_relaxed(&free_records, 1);
            return record;
        }
    }
    return NULL;
}

static atomic_u64 ended_slow_calls;
static atomic_u64 ended_refills;
static atomic_u64 ended_flushes;

struct thread_ended_counts lr_thread_ended_counts(void) {
    return (struct thread_ended_counts){.slow_calls = lr_load_relaxed(&ended_slow_calls),
                                        .refills = lr_load_relaxed(&ended_refills),
                                        .flushes = lr_load_relaxed(&ended_flushes)};
}

static void keep_counts(const struct thread_record *record) {
    lr_fetch_add_relaxed(&ended_slow_calls, lr_load_relaxed(&record->cache.slow_calls));
    lr_fetch_add_relaxed(&ended_refills, lr_load_relaxed(&record->cache.refills));
    lr_fetch_add_relaxed(&ended_flushes, lr_load_relaxed(&record->cache.flushes));
}

static struct thread_record *new_record(void) {
    struct thread_record *record = lr_meta_alloc(sizeof *record);
    if (record != NULL) {
        memset(record, 0, sizeof *record);
        lr_rcu_list_add(&lr_thread_registry, &record->node);
    }
    return record;
}

// Puts the calling thread's cache where its fast paths look. If lr_thread_caches_hide() runs at the
// same time either we see the mark, or it comes to our pointer after us: both sides write one and
// read, or write, the other in one order of all.
static void put_in_place(struct thread_cache *cache) {
    if (LR_UNLIKELY(lr_load_relaxed(&hidden) != 0)) {
        return;
    }
    lr_store_seq_cst(&lr_thread_cache, cache);
    if (LR_UNLIKELY(lr_load_seq_cst(&hidden) != 0)) {
        lr_store_relaxed(&lr_thread_cache, &lr_empty_cache);
    }
}

void lr_thread_caches_show(void) { lr_store_relaxed(&hidden, 0); }

// A thread may be in its fast path, with a pointer that it has read before, and may finish on its
// cache: nothing is taken from it. TAKEN only keeps it from ending, and its pointer with it.
void lr_thread_caches_hide(void) {
    lr_store_seq_cst(&hidden, 1);
    bool can_ask = lr_os_proc_is_ours();
    lr_lock(&lr_registry_lock);
    for (struct lr_rcu_node *node = lr_thread_registry.next; node != &lr_thread_registry;
         node = node->next) {
        struct thread_record *record = lr_thread_record_of(node);
        uint32_t owned = THREAD_OWNED;
        if (lr_load_relaxed(&record->generation) != lr_load_relaxed(&generation) ||
            (can_ask &&
             lr_os_thread_activity(lr_load_relaxed(&record->thread_id), 0) == LR_OS_THREAD_GONE) ||
            // Acquire pairs with be_born(): slot is valid.
            !lr_cas_acq_rel(&record->state, &owned, THREAD_TAKEN)) {
            continue;
        }
        lr_store_seq_cst(record->slot, &lr_empty_cache);
        lr_store_release(&record->state, THREAD_OWNED); // pairs with the owner's acquire
        lr_os_futex_wake(&record->state, 1);
    }
    lr_unlock(&lr_registry_lock);
}

static struct thread_cache *be_born(void) {
    lr_lock(&lr_registry_lock);
    struct thread_record *record = claim_free_record();
    if (record == NULL) {
        record = new_record();
    }
    if (record != NULL) {
        record->slot = &lr_thread_cache;
        record->exit_rounds = 0;
        record->idle_since_ns = 0;
        lr_store_relaxed(&record->thread_id, lr_os_thread_id());
        lr_store_relaxed(&record->signal_mask, lr_os_signal_mask());
        lr_store_relaxed(&record->generation, lr_load_relaxed(&generation));
        // Release pairs with the scavenger's take: slot, thread id and mask are there.
        lr_store_release(&record->state, THREAD_OWNED);
    }
    lr_unlock(&lr_registry_lock);
    if (record == NULL) {
        return NULL;
    }
    if (lr_fetch_add_relaxed(&live_threads, 1) == 0) {
        lr_scavenger_note_first_thread();
    }
    own_record = record;
    put_in_place(&record->cache);
    // After the cache is in place: with many keys in use glibc allocates here, by malloc.
    if (have_exit_key) {
        pthread_setspecific(exit_key, record);
    }
    return &record->cache;
}

struct thread_cache *lr_thread_cache_acquire(void) {
    struct thread_record *record = own_record;
    if (record == NULL) {
        return be_born();
    }
    if (record == &dead_record) {
        return NULL;
    }
    // Busy first, then the state; the scavenger changes the state first and looks at busy after a
    // barrier on this thread, so one of the two sees the other. Proven by tests/model/model_idle.c.
    lr_store_relaxed(&record->cache.busy, 1);
    lr_compiler_fence();
    // Acquire pairs with the scavenger's release of the record: the bins it emptied.
    bool taken = lr_load_acquire(&record->state) == THREAD_TAKEN;
    if (!taken) {
        put_in_place(&record->cache);
    }
    lr_compiler_fence();
    lr_store_relaxed(&record->cache.busy, 0);
    return taken ? NULL : &record->cache;
}

static uint32_t count_free_records(void) {
    uint32_t count = 0;
    for (struct lr_rcu_node *node = lr_thread_registry.next; node != &lr_thread_registry;
         node = node->next) {
        count += lr_load_relaxed(&lr_thread_record_of(node)->state) == THREAD_FREE;
    }
    return count;
}

void lr_thread_state_after_fork_child(void) {
    // The thread that was between counting and freeing a record does not exist here.
    lr_store_relaxed(&free_records, count_free_records());
    lr_store_relaxed(&process_id, lr_os_process_id());
    lr_store_relaxed(&generation, lr_load_relaxed(&generation) + 1);
    lr_store_relaxed(&live_threads, 0);
    struct thread_record *record = own_record;
    if (record != NULL && record != &dead_record) {
        lr_store_relaxed(&live_threads, 1);
        lr_store_relaxed(&record->thread_id, lr_os_thread_id());
        lr_store_relaxed(&record->generation, lr_load_relaxed(&generation));
        lr_store_relaxed(&record->state, THREAD_OWNED);
    }
}

// True if a FREE record has waited long enough for the next thread.
static bool has_expired(struct thread_record *record, uint64_t now_ns) {
    if (record->idle_since_ns == 0) {
        record->idle_since_ns = now_ns;
    }
    return now_ns - record->idle_since_ns >= RECORD_KEEP_NS;
}

static struct thread_record *unlink_expired(uint64_t now_ns) {
    struct thread_record *doomed = NULL;
    lr_lock(&lr_registry_lock);
    struct lr_rcu_node *next;
    for (struct lr_rcu_node *node = lr_thread_registry.next; node != &lr_thread_registry;
         node = next) {
        next = node->next;
        struct thread_record *record = lr_thread_record_of(node);
        if (lr_load_acquire(&record->state) == THREAD_FREE && has_expired(record, now_ns)) {
            lr_rcu_list_remove(node);
            lr_fetch_sub_relaxed(&free_records, 1);
            record->next_doomed = doomed;
            doomed = record;
        }
    }
    lr_unlock(&lr_registry_lock);
    return doomed;
}

bool lr_thread_state_reclaim(uint64_t now_ns) {
    if (lr_load_relaxed(&free_records) == 0) {
        return false;
    }
    struct thread_record *doomed = unlink_expired(now_ns);
    if (doomed != NULL) {
        lr_rcu_synchronize();
    }
    while (doomed != NULL) {
        struct thread_record *record = doomed;
        doomed = record->next_doomed;
        keep_counts(record);
        lr_cache_flush(&record->cache, true);
        lr_meta_free(record, sizeof *record);
    }
    return lr_load_relaxed(&free_records) > 0;
}
