// SPDX-License-Identifier: Apache-2.0
// THE lock order, outermost first. A thread takes locks in rising rank only; the checked build
// enforces it, and fork takes all of them in this order.
#ifndef LARDER_SYNC_LOCK_RANK_H
#define LARDER_SYNC_LOCK_RANK_H

enum lr_lock_rank {
    LR_RANK_NONE,
    LR_RANK_FORK,      // one fork at a time (api/fork.c)
    LR_RANK_INIT,      // one-time start of the process (api/start.c); not taken by fork
    LR_RANK_OPTIONS,   // publishing a new snapshot of tunables (conf/options.c)
    LR_RANK_TRACE,     // beginning and ending the recording of calls (cache/trace.c)
    LR_RANK_REGISTRY,  // adding and removing thread caches (cache/thread_state.c)
    LR_RANK_SCAVENGER, // starting, stopping the background thread (heap/scavenger.c)
    LR_RANK_RELEASE,   // one batch of pages on its way to the OS (heap/release.c)
    LR_RANK_SAMPLE,    // samples of allocations (prof/sample.c)
    LR_RANK_GUARD,     // places of sampled guards (prof/guard.c)
    LR_RANK_TRANSFER,  // batches of one size class (cache/transfer.c); one of the array at a time
    LR_RANK_CENTRAL,   // spans of one size class (cache/central.c); one of the array at a time
    LR_RANK_GUARDED,   // large blocks and the quarantine of hardened mode (hard/pages.c)
    LR_RANK_POOL,      // obtaining address space (heap/pool.c)
    LR_RANK_SPAN_HEAP, // huge pages and runs (heap/span_heap.c); no system call while held
    LR_RANK_DIRECT,    // blocks outside the window (heap/direct.c)
    LR_RANK_META,      // memory for our own records (heap/meta.c)
    LR_RANK_COUNT
};

#endif
