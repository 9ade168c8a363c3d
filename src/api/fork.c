// SPDX-License-Identifier: Apache-2.0
// fork() in a multithreaded process: all locks are held across it, so that the child finds every
// tier between two operations. Caches of threads that do not exist in the child are taken over by
// its scavenger, when it has one (cache/idle.c); one that was inside a slow path is lost to it.
#include <pthread.h>

#include "api/start.h"
#include "cache/central.h"
#include "cache/thread_state.h"
#include "cache/transfer.h"
#include "conf/options.h"
#include "diag/channel.h"
#include "hard/pages.h"
#include "hard/slab.h"
#include "heap/direct.h"
#include "heap/meta.h"
#include "heap/release.h"
#include "heap/scavenger.h"
#include "heap/span_heap.h"
#include "prof/guard.h"
#include "prof/sample.h"

static struct lr_lock fork_lock = LR_LOCK_INIT(LR_RANK_FORK);

// In rising rank, as sync/lock_rank.h lists them.
static void for_each_lock(void (*visit)(struct lr_lock *)) {
    visit(&lr_options_lock);
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

static uint32_t held;
static void count_held(struct lr_lock *lock) { held += lr_load_relaxed(&lock->word) != 0; }

bool lr_no_lock_is_held(void) {
    held = 0; // a static, because for_each_lock() has no argument to pass: exit() runs once
    for_each_lock(count_held);
    return held == 0;
}

static void before_fork(void) {
    lr_lock_for_fork(&fork_lock);
    // RCU next: its readers may take locks of ours, never the other way round.
    lr_rcu_before_fork();
    for_each_lock(lr_lock_for_fork);
    lr_lock_set_forking(true);
}

static void after_fork_in_parent(void) {
    lr_lock_set_forking(false);
    for_each_lock(lr_unlock_after_fork);
    lr_rcu_after_fork();
    lr_unlock_after_fork(&fork_lock);
}

static void after_fork_in_child(void) {
    lr_lock_set_forking(false);
    for_each_lock(lr_lock_reset_in_child);
    lr_rcu_after_fork();
    lr_lock_reset_in_child(&fork_lock);
    lr_scavenger_after_fork_child();
    lr_channel_after_fork_child();
    lr_guard_after_fork_child();
    lr_thread_state_after_fork_child();
}

void lr_fork_install_handlers(void) {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}
