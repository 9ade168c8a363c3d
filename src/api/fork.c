// SPDX-License-Identifier: Apache-2.0
// fork() in a multithreaded process: all locks are held across it, so that the child finds every
// tier between two operations. Caches of threads that do not exist in the child are taken over by
// its scavenger, when it has one (cache/idle.c); one that was inside a slow path is lost to it.
#include <pthread.h>
#include <sys/single_threaded.h>

#include "api/start.h"
#include "cache/central.h"
#include "cache/thread_state.h"
#include "cache/trace.h"
#include "cache/transfer.h"
#include "conf/options.h"
#include "diag/channel.h"
#include "diag/metrics_file.h"
#include "diag/profile_alarm.h"
#include "hard/pages.h"
#include "hard/slab.h"
#include "heap/direct.h"
#include "heap/meta.h"
#include "heap/release.h"
#include "heap/scavenger.h"
#include "heap/span_heap.h"
#include "os/os.h"
#include "prof/guard.h"
#include "prof/pace.h"
#include "prof/sample.h"

static struct lr_lock fork_lock = LR_LOCK_INIT(LR_RANK_FORK);

// In rising rank, as sync/lock_rank.h lists them.
static void for_each_lock(void (*visit)(struct lr_lock *)) {
    visit(&lr_options_lock);
    visit(&lr_trace_lock);
    visit(&lr_registry_lock);
    visit(&lr_scavenger_lock);
    visit(&lr_release_lock);
    visit(&lr_sample_lock);
    visit(&lr_guard_lock);
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        visit(lr_transfer_lock(c));
    }
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        visit(lr_central_lock(c));
    }
    for (unsigned c = 1; c < LR_SLAB_CLASSES; c++) {
        visit(lr_slab_lock(c));
    }
    visit(&lr_pages_lock);
    visit(&lr_pool_lock);
    visit(&lr_span_heap_lock);
    visit(&lr_direct_lock);
    visit(&lr_meta_lock);
}

// Statics, because for_each_lock() has no argument to pass: exit() runs once.
static uint64_t naps_left; // counted, because a clock may stand still (libfaketime)
static bool stuck;

enum { NAP_NS = 200000 };

static void wait_until_free(struct lr_lock *lock) {
    enum { SPIN_COUNT = 100 };
    for (int i = 0; lr_load_relaxed(&lock->word) != 0 && !stuck; i++) {
        if (i < SPIN_COUNT) {
            lr_cpu_relax();
            continue;
        }
        uint32_t never_woken = 0;
        lr_os_futex_wait(&never_woken, 0, NAP_NS);
        stuck = naps_left-- == 0;
    }
}

bool lr_no_lock_is_stuck(uint64_t wait_ns) {
    naps_left = wait_ns / NAP_NS;
    stuck = lr_lock_depth > 0; // held by this thread, or what it interrupted
    for_each_lock(wait_until_free);
    return !stuck;
}

// glibc's lock of the list of streams. fflush(NULL) holds it while it waits for a stream, whose
// holder may wait for one of ours in malloc: glibc's fork takes it before the locks of its own
// malloc, but after the handlers (its bug 19431). Taken by us first, glibc takes it again: it is
// recursive.
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

static _Thread_local bool streams_locked;

// With one thread nobody waits, and glibc's fork leaves the lock alone.
static void lock_streams(void) {
    streams_locked = !__libc_single_threaded && _IO_list_lock != NULL && _IO_list_unlock != NULL &&
                     _IO_list_resetlock != NULL;
    if (streams_locked) {
        _IO_list_lock();
    }
}

static void unlock_streams(void) {
    if (streams_locked) {
        _IO_list_unlock();
    }
}

static void reset_streams_in_child(void) {
    if (streams_locked) {
        _IO_list_resetlock(); // as glibc did a moment ago
    }
}

// From 16 MiB of heap on every process has a second thread, and glibc's fork then keeps locks that
// are not recursive from here to after_fork_in_parent(): a handler that forks there would wait for
// itself.
static _Thread_local uint64_t signals_before;
static _Thread_local uint32_t forks_under_way; // more than one if the handler of a fault forks

static void block_signals(void) {
    if (forks_under_way++ == 0) {
        signals_before = lr_os_signals_block();
    }
}

static void restore_signals(void) {
    if (--forks_under_way == 0) {
        lr_os_signals_restore(signals_before);
    }
}

// A signal handler may fork while its thread has some of the locks, or is in a fork. Nothing can be
// waited for then, and the child has the heap as it is: like that of any handler it is not to use
// it.
static _Thread_local uint32_t nested; // such forks under way

static bool is_nested(void) {
    bool result = nested > 0;
    nested -= result;
    return result;
}

static void before_fork(void) {
    block_signals();
    if (lr_lock_depth > 0 || lr_rcu_is_inside()) {
        nested++;
        return;
    }
    lock_streams();
    lr_lock_for_fork(&fork_lock);
    // RCU next: its readers may take locks of ours, never the other way round.
    lr_rcu_before_fork();
    for_each_lock(lr_lock_for_fork);
    lr_lock_set_forking(true);
}

static void unlock_in_parent(void) {
    lr_lock_set_forking(false);
    for_each_lock(lr_unlock_after_fork);
    lr_rcu_after_fork();
    lr_unlock_after_fork(&fork_lock);
    unlock_streams();
}

static void after_fork_in_parent(void) {
    if (!is_nested()) {
        unlock_in_parent();
    }
    restore_signals();
}

static void reset_in_child(void) {
    lr_lock_set_forking(false);
    for_each_lock(lr_lock_reset_in_child);
    lr_rcu_after_fork();
    lr_lock_reset_in_child(&fork_lock);
    reset_streams_in_child();
    lr_scavenger_after_fork_child();
    lr_channel_after_fork_child();
    lr_guard_after_fork_child();
    lr_pace_after_fork_child();
    lr_trace_after_fork_child();
    lr_metrics_file_after_fork_child();
    lr_profile_alarm_after_fork_child();
    lr_thread_state_after_fork_child();
}

static void after_fork_in_child(void) {
    if (!is_nested()) {
        reset_in_child();
    }
    restore_signals();
}

void lr_fork_install_handlers(void) {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}
