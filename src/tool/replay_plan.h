// SPDX-License-Identifier: Apache-2.0
// A recording made ready to be run again: for each thread what it does, with places for blocks
// instead of addresses. It lies in one piece of shared memory, so that the process that runs it
// needs no memory of its own, and finds room for its results there.
#ifndef LARDER_TOOL_REPLAY_PLAN_H
#define LARDER_TOOL_REPLAY_PLAN_H

#include "base/atomic.h"
#include "tool/trace_file.h"

// How far threads may be apart, in events of the recording: all that came more than this before an
// event has been done when it is.
#define PLAN_WINDOW UINT64_C(65536)

enum plan_touch {
    PLAN_TOUCH_PAGES, // the first byte, and one in each 4 KiB
    PLAN_TOUCH_FIRST,
    PLAN_TOUCH_ALL,
};

struct plan_op {
    uint64_t size;
    uint64_t order; // number of the event
    uint32_t slot;
    uint32_t to;   // of a realloc: where the block is then
    uint32_t kind; // MALLOC, CALLOC, ALIGNED, DEALLOC or REALLOC of enum larder_trace_kind
    uint32_t align_log;
};

struct plan_thread {
    uint64_t first; // of its operations
    uint64_t count;
};

struct plan_before { // a block that was there when the recording began
    uint64_t size;
    uint64_t slot;
};

struct plan_result {
    uint64_t wall_ns;
    uint64_t cpu_ns;
    uint64_t peak_bytes; // resident, beyond what was before the first operation
    uint64_t end_bytes;  // the same after the last one
    uint64_t rest_bytes; // the same rest_ms later
    uint64_t faults;
    uint64_t live_blocks;
    uint64_t live_bytes;   // usable
    uint64_t failed;       // allocations that failed
    uint32_t done;         // 1: all of this is there
    char malloc_file[236]; // whose malloc it was
};

struct plan {
    uint64_t bytes; // of the whole piece
    uint64_t op_count;
    uint64_t before_count;
    uint64_t slot_count;
    uint64_t threads_at; // offsets
    uint64_t ops_at;
    uint64_t before_at;
    uint64_t slots_at;
    uint32_t thread_count;
    uint32_t touch;       // enum plan_touch
    uint64_t rest_ms;     // after the last operation, before rest_bytes
    uint64_t live_blocks; // at the end, as recorded
    uint64_t live_bytes;  // asked for
    uint64_t peak_bytes;  // asked for, at most
    uint64_t allocations;
    uint64_t frees;
    uint64_t reallocs;
    uint64_t unseen; // frees of blocks whose allocation was not recorded; they are made before
    uint64_t lost;   // blocks whose address was handed out again without a free
    struct plan_result result;
};

static inline struct plan_thread *lr_plan_threads(struct plan *p) {
    return (void *)((char *)p + p->threads_at);
}
static inline struct plan_op *lr_plan_ops(struct plan *p) {
    return (void *)((char *)p + p->ops_at);
}
static inline struct plan_before *lr_plan_before(struct plan *p) {
    return (void *)((char *)p + p->before_at);
}
static inline atomic_u64 *lr_plan_slots(struct plan *p) {
    return (void *)((char *)p + p->slots_at);
}

// Makes one from a recording, in memory behind the descriptor *fd; NULL, with a line said, if there
// is no memory for it.
struct plan *lr_plan_make(const struct trace *trace, int *fd);
// Reads the recording too; NULL, with a line said, if it is none. Says a line if it is cut off.
struct plan *lr_plan_load(const char *path, int *fd);
// The calling process becomes what runs the plan behind the descriptor; an exit status.
int lr_plan_run(int fd);

#endif
