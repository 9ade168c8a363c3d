// SPDX-License-Identifier: Apache-2.0
// liburcu's barriers are inline assembly that ThreadSanitizer cannot see. This file is therefore
// built without its instrumentation (cmake/Sanitizers.cmake), and tells it the ordering by hand.
#include "sync/rcu.h"

#include <urcu/rculist.h>
#define URCU_INLINE_SMALL_FUNCTIONS // rcu_dereference and the like in line, not from a second
                                    // library
#include <urcu/urcu-bp.h>

#include "base/atomic.h"
#include "base/config.h"
#include "os/os.h"
#include "sync/lock.h"

#if LARDER_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define NOTE_ACQUIRE(p) __tsan_acquire(p)
#define NOTE_RELEASE(p) __tsan_release(p)
#else
#define NOTE_ACQUIRE(p) ((void)(p))
#define NOTE_RELEASE(p) ((void)(p))
#endif

static_assert(sizeof(struct lr_rcu_node) == sizeof(struct cds_list_head), "same layout");
static_assert(offsetof(struct lr_rcu_node, prev) == offsetof(struct cds_list_head, prev), "same");

static char grace_period; // an address that stands for "read-side sections before, reuse after"

// How many threads are inside liburcu on our behalf; the top bit keeps others out during fork().
#define GATE_CLOSED ((uint32_t)1 << 31)
static atomic_u32 gate;
// Who leaves wakes only those whom fork() keeps out.
#define GATE_POLL_NS ((uint64_t)1000000)
static _Thread_local uint32_t depth;

static struct cds_list_head *as_list(struct lr_rcu_node *node) {
    return (struct cds_list_head *)node;
}

// Acquire pairs with the release in lr_rcu_after_fork(); a nested section is inside already.
static void enter_gate(void) {
    // A nested section is inside already. The forking thread has the gate to itself; handlers that
    // the program registered before Larder's first call may bring it here.
    if (depth++ > 0 || lr_lock_is_forking_thread()) {
        return;
    }
    uint32_t inside = lr_load_relaxed(&gate);
    for (;;) {
        if ((inside & GATE_CLOSED) != 0) {
            lr_os_futex_wait(&gate, inside, UINT64_MAX);
            inside = lr_load_relaxed(&gate);
        } else if (lr_cas_acquire(&gate, &inside, inside + 1)) {
            return;
        }
    }
}

static void leave_gate(void) {
    if (--depth == 0 && !lr_lock_is_forking_thread() &&
        lr_fetch_sub_acq_rel(&gate, 1) == (GATE_CLOSED | 1)) {
        lr_os_futex_wake(&gate, INT32_MAX); // threads kept out sleep on the word too
    }
}

void lr_rcu_read_lock(void) {
    enter_gate();
    urcu_bp_read_lock();
}

void lr_rcu_read_unlock(void) {
    NOTE_RELEASE(&grace_period);
    urcu_bp_read_unlock();
    leave_gate();
}

// Without liburcu: until all readers have passed the gate at one moment. Adding 0 puts what was
// unlinked before in front of every section that begins later, which passes the gate too.
static void wait_for_gate(void) {
    uint32_t inside;
    // Behind a closed gate the forking thread may be inside, which is not counted.
    while (!lr_lock_is_forking_thread() && (inside = lr_fetch_add_acq_rel(&gate, 0)) != 0) {
        lr_os_futex_wait(&gate, inside, GATE_POLL_NS);
    }
}

void lr_rcu_synchronize(void) {
    // A filter of system calls that the program has put on since it started may forbid what liburcu
    // took for granted at start: it would end the process.
    if (LR_UNLIKELY(!lr_os_membarrier())) {
        wait_for_gate();
    } else {
        enter_gate();
        urcu_bp_synchronize_rcu();
        leave_gate();
    }
    NOTE_ACQUIRE(&grace_period);
}

bool lr_rcu_is_inside(void) { return depth > 0; }

void lr_rcu_publish_raw(void **slot, void *value) {
    NOTE_RELEASE(slot);
    rcu_assign_pointer(*slot, value);
}

void *lr_rcu_deref_raw(void *const *slot) {
    void *value = rcu_dereference(*slot);
    NOTE_ACQUIRE((void *)(size_t)slot);
    return value;
}

void lr_rcu_list_init(struct lr_rcu_node *head) { CDS_INIT_LIST_HEAD(as_list(head)); }

void lr_rcu_list_add(struct lr_rcu_node *head, struct lr_rcu_node *node) {
    NOTE_RELEASE(node);
    cds_list_add_rcu(as_list(node), as_list(head));
}

void lr_rcu_list_remove(struct lr_rcu_node *node) { cds_list_del_rcu(as_list(node)); }

struct lr_rcu_node *lr_rcu_list_next(const struct lr_rcu_node *node) {
    struct lr_rcu_node *next = rcu_dereference(node->next);
    NOTE_ACQUIRE(next);
    return next;
}

void lr_rcu_before_fork(void) {
    uint32_t inside = lr_load_relaxed(&gate);
    while (!lr_cas_acq_rel(&gate, &inside, inside | GATE_CLOSED)) {
    }
    while ((inside = lr_load_acquire(&gate)) != GATE_CLOSED) {
        lr_os_futex_wait(&gate, inside, UINT64_MAX);
    }
}

void lr_rcu_after_fork(void) {
    lr_store_release(&gate, 0);
    lr_os_futex_wake(&gate, INT32_MAX);
}
