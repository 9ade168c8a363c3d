// SPDX-License-Identifier: Apache-2.0
// The background thread that returns free memory, also when the process is idle.
//
// It is started from malloc, at a point without locks, once the heap has reached
// LARDER_SCAVENGE_START; it sleeps without a timeout when nothing is left to return; it is gone in
// a forked child and comes back there by the same rule.
#ifndef LARDER_HEAP_SCAVENGER_H
#define LARDER_HEAP_SCAVENGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/attr.h"
#include "heap/span_heap.h"
#include "sync/lock.h"

extern atomic_u32 lr_scavenger_asleep; // 1 while the thread sleeps without a timeout
extern atomic_u32 lr_scavenger_wanted; // 1 when the thread should be started
extern struct lr_lock lr_scavenger_lock;

// A job of the layers above, run on each tick with no lock held. Returns true while there is more
// to do later. Registered before the first thread starts.
typedef bool lr_scavenger_task(uint64_t now_ns);
void lr_scavenger_add_task(lr_scavenger_task *task);

// What the thread does for those outside the process, set before it starts. `publish` runs before
// each tick, when nobody waits for the thread; `serve` also whenever the sleeping thread is woken
// without there being anything to return.
struct lr_scavenger_service {
    void (*publish)(void);
    void (*serve)(void);
    // When serve() has to be called at the latest, as lr_os_now_ns() counts; UINT64_MAX: never.
    uint64_t (*due_ns)(void);
};
void lr_scavenger_set_service(struct lr_scavenger_service service);

// From now on the thread sleeps on `word`, which others may set to other values than 0 and wake (as
// a futex that is not private); NULL: on its own. Only from publish().
void lr_scavenger_sleep_on(atomic_u32 *word);

// For tasks: what may be broken up for the sake of memory, as the last tick found it; LR_BREAK_ANY
// if there is no load on the heap.
enum lr_breaks lr_scavenger_breaks(void);

void lr_scavenger_wake_slow(void);

// Something may have become returnable: a cache was filled, blocks were freed. One load when the
// thread is awake or does not exist.
static inline void lr_scavenger_note_activity(void) {
    if (LR_UNLIKELY(lr_load_relaxed(&lr_scavenger_asleep) != 0)) {
        lr_scavenger_wake_slow();
    }
}

// When this many pages are in use the thread is started, or woken if it sleeps, for the sake of
// serve(), once. SIZE_MAX: never.
void lr_scavenger_alarm_at(size_t pages);

// After pages were freed and `dirty_pages` of them are free and resident in all. No lock held.
void lr_scavenger_note_free(size_t dirty_pages);

// After the span heap grew; called under its lock, so it only remembers.
void lr_scavenger_note_used(size_t used_pages);

// The thread is wanted whatever the size of the heap. Any thread, with any lock.
void lr_scavenger_want(void);

// Starts the thread if it is wanted. Only from a safe point of malloc: no lock held, and never from
// free, which libc calls with a lock held that pthread_create() takes.
void lr_scavenger_start(void);
static inline bool lr_scavenger_is_wanted(void) {
    return lr_load_relaxed(&lr_scavenger_wanted) != 0;
}

// The last thread known to have used Larder has ended: if no other is left, the scavenger ends too,
// so that the process ends as POSIX says when its last thread does.
void lr_scavenger_note_last_thread(void);
void lr_scavenger_note_first_thread(void); // another one came after all

void lr_scavenger_after_fork_child(void);

// Waits until no tick is under way; none begins until lr_scavenger_let_go(). False, and nothing to
// let go, if that takes longer than `wait_ns`.
bool lr_scavenger_hold(uint64_t wait_ns);
void lr_scavenger_let_go(void);

struct scavenger_counts {
    uint64_t ticks;
    uint64_t cpu_ns;
    bool running;
};
struct scavenger_counts lr_scavenger_counts(void);

#endif
