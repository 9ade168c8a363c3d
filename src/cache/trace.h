// SPDX-License-Identifier: Apache-2.0
// Records the calls of malloc and free while somebody reads them (larder/trace.h), at no cost while
// nobody does.
//
// While it is on, each thread's pointer to its cache leads to the static empty cache, so that every
// call takes the slow path, which finds the thread's own cache by its record, works as ever, and
// writes the call down. realloc in place, which looks at no bin, is led astray by its table of
// block sizes (lr_resize_bytes). The thread writes to shared memory and makes no system call for
// it, except where it was told to wait for the reader.
#ifndef LARDER_CACHE_TRACE_H
#define LARDER_CACHE_TRACE_H

#include <larder/trace.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "sync/lock.h"

extern struct lr_lock lr_trace_lock;
extern atomic_u32 lr_trace_active;

static inline bool lr_trace_on(void) { return lr_load_relaxed(&lr_trace_active) != 0; }

// ---- For the slow path of malloc and free: any thread, no lock held; errno is kept ----

// An allocation that succeeded; `align` is a power of two.
void lr_trace_alloc(enum larder_trace_kind kind, const void *block, size_t size, size_t align);
// All other kinds. A free before it is done.
void lr_trace_block(enum larder_trace_kind kind, const void *block, size_t size);

// ---- Around it ----

// Begins with memory of its own, `bytes` of it rounded to whole chunks if there is none from
// before, and says the descriptor of its file. 0; -EBUSY: somebody records already; another
// negative errno.
int lr_trace_begin(uint64_t bytes, uint64_t *descriptor);
// The same with a file that was made by another process; false, with nothing done, if it is none.
bool lr_trace_begin_with(int fd);
// The memory stays; events that are under way may still be written.
void lr_trace_end(void);

// The calling thread's destructors have run.
void lr_trace_thread_end(void);
// Only the parent's calls are recorded. The child has one thread.
void lr_trace_after_fork_child(void);

#endif
