// SPDX-License-Identifier: Apache-2.0
// The seam to liburcu (flavour bp); rcu.c is the only file that includes its headers.
//
// Rules. Readers are control and the scavenger, never malloc or free. Writers publish
// and unlink under a lock of theirs. Nobody holds a lock of Larder across lr_rcu_synchronize().
// liburcu's call_rcu is never used, because it allocates.
#ifndef LARDER_SYNC_RCU_H
#define LARDER_SYNC_RCU_H

#include <stdbool.h>
#include <stddef.h>

// A node in an RCU list; layout of liburcu's cds_list_head.
struct lr_rcu_node {
    struct lr_rcu_node *next;
    struct lr_rcu_node *prev;
};

// Read-side section: what was reachable inside stays valid until it ends. May be nested. The first
// one of a thread registers it with liburcu, which maps memory but does not call malloc.
void lr_rcu_read_lock(void);
void lr_rcu_read_unlock(void);
// Waits until every read-side section that was open at the call has ended.
void lr_rcu_synchronize(void);

// True while the calling thread is between the calls of a pair above, or in one of them.
bool lr_rcu_is_inside(void);

// Publication of one pointer. Everything written to the object before is seen by whoever derefs.
void lr_rcu_publish_raw(void **slot, void *value);
void *lr_rcu_deref_raw(void *const *slot);
#define lr_rcu_publish(slot, value) lr_rcu_publish_raw((void **)(slot), (value))

// Lists. Writers exclude each other by their own lock.
void lr_rcu_list_init(struct lr_rcu_node *head);
void lr_rcu_list_add(struct lr_rcu_node *head, struct lr_rcu_node *node);
void lr_rcu_list_remove(
    struct lr_rcu_node *node); // the node is reusable after lr_rcu_synchronize()
struct lr_rcu_node *lr_rcu_list_next(const struct lr_rcu_node *node); // readers

// Around fork(): waits until no thread is inside a read-side section or a grace period, and keeps
// them out until one of the others was called. The child then finds liburcu's locks free and its
// dead readers quiescent. liburcu's own fork handlers are not used: they would deadlock in programs
// that use the same flavour and call them around fork() as liburcu tells them to.
void lr_rcu_before_fork(void);
void lr_rcu_after_fork(void);

#endif
