/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Larder - the memory through which a process hands its calls of malloc and free to a recorder,
 * such as `larder trace PID`. The process only writes to memory: what becomes of the events is up
 * to the recorder, which may be slow, stopped or gone.
 *
 * A file in memory, sealed against another size: made by the process when it is asked to
 * (LARDER_PAGE_TRACE of larder/page.h), or by who starts it and passes the descriptor as
 * LARDER_TRACE_FD. At its begin are the header and the states of all chunks, then the chunks.
 *
 * A thread takes a FREE chunk, writes events, and counts `written` up after each; it makes the
 * chunk FULL when it is, or when the thread ends, and takes another. The recorder may read what is
 * written at any time; it makes a FULL chunk FREE when it has read it, with `written` 0, and then
 * counts `freed` up and wakes those who wait there (FUTEX_WAKE, not private). Without a FREE chunk
 * a thread waits for at most `wait_ms`, then drops its events and counts them. `alive_ns`
 * (CLOCK_MONOTONIC) says when the recorder was there last: a process that has no FREE chunk and
 * finds it ten seconds old ends the recording.
 *
 * Events of a thread are in order. Those of all threads are by `sequence`, which has no gaps but
 * for what a process had not finished writing when it ended: an allocation takes its number when it
 * has the block, a free before it gives the block away. So a block is free in that order before its
 * address is handed out again.
 */
#ifndef LARDER_TRACE_H
#define LARDER_TRACE_H

#include <stdint.h>

#define LARDER_TRACE_NAME "larder-trace"
#define LARDER_TRACE_MAGIC UINT64_C(0x304352545244524c) /* "LRDRTRC0" */
#define LARDER_TRACE_CHUNK_BYTES 65536
#define LARDER_TRACE_STATES                                                                        \
    4096 /* offset of the states, 32 bits each; chunks begin at                                    \
            LARDER_TRACE_CHUNK_BYTES */
#define LARDER_TRACE_CHUNKS_MOST 15360
#define LARDER_TRACE_EVENTS 2046 /* of a chunk */

struct larder_trace_header {
    uint64_t magic;
    uint32_t chunks;
    uint32_t process_id; /* as the process knows it; 0 until it has seen this memory */
    uint64_t begin_ns;   /* when recording began last, CLOCK_MONOTONIC; earlier events are old */
    uint64_t dropped;    /* events */
    uint64_t alive_ns;   /* the recorder writes it */
    uint32_t wait_ms;    /* the recorder writes it */
    uint32_t freed;      /* the recorder counts it up; futex */
};

enum larder_trace_state {
    LARDER_TRACE_FREE,
    LARDER_TRACE_OWNED, /* a thread writes to it */
    LARDER_TRACE_FULL,
};

enum larder_trace_kind {
    LARDER_TRACE_MALLOC = 1,
    LARDER_TRACE_CALLOC,
    LARDER_TRACE_ALIGNED,
    LARDER_TRACE_DEALLOC, /* size: of the block as malloc_usable_size() says */
    /* A realloc: the old block with the size asked for; if it moves a MALLOC and a DEALLOC may
       follow; then the END with the block in which the contents are now. Of the same thread, with
       nothing else of it in between. */
    LARDER_TRACE_REALLOC,
    LARDER_TRACE_REALLOC_END,
};

struct larder_trace_event {
    uint64_t sequence; /* 1, 2, 3... in the process; 0: there is no event here */
    uint64_t time_ns;  /* CLOCK_MONOTONIC */
    uint64_t block;
    uint64_t what; /* bits 0 to 47 the size in bytes, 48 to 55 the logarithm of the alignment asked
                      for, 56 to 63 the kind */
};

struct larder_trace_chunk {
    uint32_t written; /* events */
    uint32_t thread;  /* 1, 2, 3... in the process; 0: threads whose destructors have run */
    uint32_t thread_id;
    uint32_t reserved[13];
    struct larder_trace_event events[LARDER_TRACE_EVENTS];
};

#endif
