// SPDX-License-Identifier: Apache-2.0
// Nothing that is read from the shared memory decides where this process writes: others may change
// it at any time.
#include "cache/trace.h"

#include <errno.h>

#include "base/bits.h"
#include "cache/size_class.h"
#include "cache/thread_state.h"
#include "os/os.h"

enum { WAIT_STEP_MS = 10, WAIT_MOST_MS = 10000 };
#define MS_NS ((uint64_t)1000000)
#define GONE_NS (10000 * MS_NS) // a reader that was not there for so long

// Where a thread writes.
struct writer {
    struct larder_trace_chunk *chunk; // NULL: none
    uint32_t number;                  // of the chunk
    uint32_t written;
    uint32_t thread; // as in the chunk; 0: not given yet
    bool ended;
};

struct lr_lock lr_trace_lock = LR_LOCK_INIT(LR_RANK_TRACE);
atomic_u32 lr_trace_active;

static _Thread_local struct writer own_writer __attribute__((tls_model("initial-exec")));

static struct {
    struct larder_trace_header *header; // NULL: no memory yet; does not change while active
    uint32_t chunks;                    // the same
    int fd;                             // guarded by: lr_trace_lock
    struct lr_os_file_id file;          // guarded by: lr_trace_lock
    size_t bytes;                       // guarded by: lr_trace_lock
    struct writer late;                 // guarded by: lr_trace_lock; of threads that have ended
    atomic_u64 sequence;                // several writers
    atomic_u32 threads;                 // several writers
    atomic_u64 full_at; // `freed` when no chunk was FREE, and 2^32; a hint that saves looking again
} trace;

static atomic_u32 *state_of(uint32_t chunk) {
    return (atomic_u32 *)(void *)((char *)trace.header + LARDER_TRACE_STATES) + chunk;
}

static struct larder_trace_chunk *chunk_at(uint32_t chunk) {
    return (void *)((char *)trace.header + (size_t)(chunk + 1) * LARDER_TRACE_CHUNK_BYTES);
}

static_assert(sizeof(struct larder_trace_chunk) <= LARDER_TRACE_CHUNK_BYTES &&
                  LARDER_TRACE_STATES + LARDER_TRACE_CHUNKS_MOST * sizeof(uint32_t) <=
                      LARDER_TRACE_CHUNK_BYTES &&
                  sizeof(struct larder_trace_header) <= LARDER_TRACE_STATES,
              "all parts are where larder/trace.h says");

static void give(struct writer *writer) {
    if (writer->chunk != NULL) {
        // Pairs with the reader's look at the state: all events and their count are there.
        lr_store_release(state_of(writer->number), LARDER_TRACE_FULL);
        writer->chunk = NULL;
    }
}

static bool take(struct writer *writer) {
    for (uint32_t i = 0; i < trace.chunks; i++) {
        uint32_t number = (writer->number + i) % trace.chunks;
        uint32_t unused = LARDER_TRACE_FREE;
        // Acquire pairs with the reader's FREE: it has read what is overwritten now.
        if (lr_load_relaxed(state_of(number)) == LARDER_TRACE_FREE &&
            lr_cas_acquire(state_of(number), &unused, LARDER_TRACE_OWNED)) {
            writer->chunk = chunk_at(number);
            writer->number = number;
            writer->written = 0;
            writer->chunk->thread = writer->thread;
            writer->chunk->thread_id = writer->ended ? 0 : lr_os_thread_id();
            lr_store_relaxed((atomic_u32 *)&writer->chunk->written, 0);
            return true;
        }
    }
    return false;
}

static void end_locked(void) {
    lr_store_relaxed(&lr_trace_active, 0);
    lr_size_class_set_in_place(true);
    lr_thread_caches_show();
}

void lr_trace_end(void) {
    lr_lock(&lr_trace_lock);
    if (lr_trace_on()) {
        end_locked();
    }
    lr_unlock(&lr_trace_lock);
}

static bool reader_is_gone(void) {
    return lr_os_now_ns() - lr_load_relaxed((atomic_u64 *)&trace.header->alive_ns) > GONE_NS;
}

// Takes a chunk; false if there is none, and if none came while it was right to wait.
static bool take_or_wait(struct writer *writer) {
    atomic_u32 *freed = (atomic_u32 *)&trace.header->freed;
    uint32_t wait_ms = lr_load_relaxed((atomic_u32 *)&trace.header->wait_ms);
    uint32_t left_ms = writer->ended ? 0 : (uint32_t)lr_min(wait_ms, WAIT_MOST_MS);
    for (;;) {
        // Before the look, so that a chunk that comes free after it changes the number.
        uint32_t seen = lr_load_acquire(freed);
        uint64_t mark = ((uint64_t)1 << 32) | seen;
        if (lr_load_relaxed(&trace.full_at) != mark) {
            if (take(writer)) {
                return true;
            }
            lr_store_relaxed(&trace.full_at, mark);
        }
        if (left_ms == 0 || reader_is_gone()) {
            return false;
        }
        lr_os_futex_wait_shared(freed, seen, WAIT_STEP_MS * MS_NS);
        left_ms -= (uint32_t)lr_min(left_ms, WAIT_STEP_MS);
    }
}

static void append(struct writer *writer, uint64_t block, uint64_t what) {
    if (writer->chunk == NULL && !take_or_wait(writer)) {
        lr_fetch_add_relaxed((atomic_u64 *)&trace.header->dropped, 1);
        if (reader_is_gone() && !writer->ended) {
            lr_trace_end();
        }
        return;
    }
    // Relaxed: a free comes after the allocation of its block, and an allocation after the free
    // that left it the address, by what the program and the caches order; two operations on one
    // atomic keep that order.
    writer->chunk->events[writer->written++] =
        (struct larder_trace_event){.sequence = lr_fetch_add_relaxed(&trace.sequence, 1) + 1,
                                    .time_ns = lr_os_now_ns(),
                                    .block = block,
                                    .what = what};
    // Pairs with the reader's load of the count: the event is there.
    lr_store_release((atomic_u32 *)&writer->chunk->written, writer->written);
    if (writer->written == LARDER_TRACE_EVENTS) {
        give(writer);
    }
}

static void append_late(uint64_t block, uint64_t what) {
    lr_lock(&lr_trace_lock);
    trace.late.ended = true;
    append(&trace.late, block, what);
    lr_unlock(&lr_trace_lock);
}

static LR_NOINLINE void record(uint64_t block, uint64_t what) {
    // Acquire pairs with begin_locked(): the memory is there.
    if (lr_load_acquire(&lr_trace_active) == 0) {
        return;
    }
    if (lr_lock_passes() && !lr_thread_state_is_ours()) {
        return; // the child's handlers of fork: the memory is the parent's
    }
    struct writer *writer = &own_writer;
    if (LR_UNLIKELY(writer->ended)) {
        append_late(block, what);
        return;
    }
    if (LR_UNLIKELY(writer->thread == 0)) {
        writer->thread = lr_fetch_add_relaxed(&trace.threads, 1) + 1;
    }
    append(writer, block, what);
}

static uint64_t word(enum larder_trace_kind kind, size_t size, unsigned align_log) {
    return (uint64_t)kind << 56 | (uint64_t)align_log << 48 | (size & (((uint64_t)1 << 48) - 1));
}

void lr_trace_alloc(enum larder_trace_kind kind, const void *block, size_t size, size_t align) {
    record((uint64_t)block, word(kind, size, lr_log2_floor(align)));
}

void lr_trace_block(enum larder_trace_kind kind, const void *block, size_t size) {
    record((uint64_t)block, word(kind, size, 0));
}

// Writers of an earlier recording may still hold chunks of the same memory, and go on with them.
static void begin_locked(void) {
    lr_store_relaxed((atomic_u32 *)&trace.header->process_id, lr_os_process_id());
    lr_store_relaxed((atomic_u64 *)&trace.header->begin_ns, lr_os_now_ns());
    lr_store_relaxed((atomic_u64 *)&trace.header->alive_ns, lr_os_now_ns());
    lr_store_relaxed(&trace.full_at, 0);
    lr_store_release(&lr_trace_active, 1); // pairs with record()
    lr_size_class_set_in_place(false);
    lr_thread_caches_hide();
}

static bool map_locked(int fd, size_t bytes) {
    if (!lr_os_file_identify(fd, &trace.file)) {
        return false;
    }
    struct larder_trace_header *header = lr_os_share_map(fd, bytes, NULL);
    if (header == NULL) {
        return false;
    }
    trace.header = header;
    trace.fd = fd;
    trace.bytes = bytes;
    trace.chunks = (uint32_t)(bytes / LARDER_TRACE_CHUNK_BYTES) - 1;
    return true;
}

static int make_locked(uint64_t bytes) {
    const uint64_t most = (LARDER_TRACE_CHUNKS_MOST + 1) * (uint64_t)LARDER_TRACE_CHUNK_BYTES;
    bytes = lr_min(lr_max(bytes, 4 * (uint64_t)LARDER_TRACE_CHUNK_BYTES), most);
    bytes = bytes / LARDER_TRACE_CHUNK_BYTES * LARDER_TRACE_CHUNK_BYTES;
    const int fd = lr_os_share_create(LARDER_TRACE_NAME, bytes);
    if (fd < 0) {
        return fd;
    }
    if (!map_locked(fd, bytes)) {
        lr_os_close(fd);
        return -ENOMEM;
    }
    trace.header->magic = LARDER_TRACE_MAGIC;
    trace.header->chunks = trace.chunks;
    return 0;
}

int lr_trace_begin(uint64_t bytes, uint64_t *descriptor) {
    int error = 0;
    lr_lock(&lr_trace_lock);
    if (lr_trace_on() && !reader_is_gone()) {
        error = -EBUSY;
    } else if (trace.header == NULL) {
        error = make_locked(bytes);
    } else if (!lr_os_file_is(trace.fd, &trace.file)) {
        error = -EBADF; // the program has closed it; threads may still write there
    }
    if (error == 0) {
        begin_locked();
        *descriptor = (uint64_t)trace.fd;
    }
    lr_unlock(&lr_trace_lock);
    return error;
}

bool lr_trace_begin_with(int fd) {
    struct larder_trace_header header;
    const size_t bytes = lr_os_share_bytes(fd);
    if (bytes < 4 * (size_t)LARDER_TRACE_CHUNK_BYTES ||
        bytes > (LARDER_TRACE_CHUNKS_MOST + 1) * (size_t)LARDER_TRACE_CHUNK_BYTES ||
        !lr_os_read_at(fd, &header, sizeof header, 0) || header.magic != LARDER_TRACE_MAGIC) {
        return false;
    }
    lr_lock(&lr_trace_lock);
    const bool done = trace.header == NULL && map_locked(fd, bytes);
    if (done) {
        begin_locked();
    }
    lr_unlock(&lr_trace_lock);
    return done;
}

void lr_trace_thread_end(void) {
    give(&own_writer);
    own_writer.ended = true;
}

void lr_trace_after_fork_child(void) {
    own_writer.chunk = NULL;
    own_writer.thread = 0;
    trace.late.chunk = NULL;
    if (trace.header == NULL) {
        return;
    }
    end_locked();
    lr_os_unmap(trace.header, trace.bytes);
    trace.header = NULL;
    if (lr_os_file_is(trace.fd, &trace.file)) {
        lr_os_close(trace.fd);
    }
}
