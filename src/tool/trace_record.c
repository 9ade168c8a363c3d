// SPDX-License-Identifier: Apache-2.0
#include "tool/trace_record.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "tool/memory_file.h"
#include "tool/tool.h"

#define MEMORY_BYTES ((size_t)64 << 20)
#define KEEP_NS UINT64_C(250000000)

enum {
    WAIT_MS = 2000,   // of a process that was started to be recorded, for a free chunk
    LAST_MOVES = 100, // one does, unless the process goes on writing
};

static uint64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static bool map(struct trace_recorder *r, size_t bytes) {
    r->bytes = bytes;
    r->chunks = (uint32_t)(bytes / LARDER_TRACE_CHUNK_BYTES) - 1;
    r->read = calloc(r->chunks, sizeof *r->read);
    r->header = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
    if (r->read == NULL || r->header == MAP_FAILED) {
        lr_tool_error("no memory to record in: %s", strerror(errno));
        free(r->read);
        close(r->fd);
        return false;
    }
    return true;
}

bool lr_trace_record_create(struct trace_recorder *r) {
    *r = (struct trace_recorder){.from_start = true};
    r->fd = lr_memory_file_make(LARDER_TRACE_NAME);
    if (r->fd < 0 || fchmod(r->fd, S_IRUSR | S_IWUSR) != 0 ||
        ftruncate(r->fd, (off_t)MEMORY_BYTES) != 0 ||
        fcntl(r->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        lr_tool_error("no memory to record in: %s", strerror(errno));
        return false;
    }
    if (!map(r, MEMORY_BYTES)) {
        return false;
    }
    r->header->magic = LARDER_TRACE_MAGIC;
    r->header->chunks = r->chunks;
    r->header->wait_ms = WAIT_MS;
    r->begin_ns = now_ns(CLOCK_MONOTONIC); // before the process begins
    r->header->alive_ns = r->begin_ns;
    return true;
}

// A file in memory that nobody can shorten, as the process said; -1: it is something else.
static int open_memory(pid_t pid, uint64_t number, size_t *bytes) {
    char path[64];
    struct stat status;
    snprintf(path, sizeof path, "/proc/%d/fd/%u", (int)pid, (unsigned)number);
    const int fd = lr_memory_file_open(AT_FDCWD, path, LARDER_TRACE_NAME, O_RDWR);
    if (fd < 0) {
        return -1;
    }
    const bool good =
        fstat(fd, &status) == 0 && (fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK) != 0 &&
        status.st_size >= (off_t)4 * LARDER_TRACE_CHUNK_BYTES &&
        status.st_size <= (off_t)(LARDER_TRACE_CHUNKS_MOST + 1) * LARDER_TRACE_CHUNK_BYTES;
    if (!good) {
        close(fd);
        return -1;
    }
    *bytes = (size_t)status.st_size;
    return fd;
}

bool lr_trace_record_attach(struct trace_recorder *r, pid_t pid, uint64_t number) {
    size_t bytes = 0;
    *r = (struct trace_recorder){0};
    r->fd = open_memory(pid, number, &bytes);
    if (r->fd < 0) {
        lr_tool_error("process %d: the memory it records in cannot be used", (int)pid);
        return false;
    }
    if (!map(r, bytes)) {
        return false;
    }
    lr_store_relaxed((atomic_u32 *)&r->header->wait_ms, 0); // it was there before us
    r->begin_ns = lr_load_relaxed((atomic_u64 *)&r->header->begin_ns);
    return true;
}

bool lr_trace_record_open(struct trace_recorder *r, const char *path, pid_t pid, const char *name) {
    FILE *out = fopen(path, "we");
    if (out == NULL) {
        lr_tool_error("cannot write '%s': %s", path, strerror(errno));
        return false;
    }
    struct trace_file_header header = {.process_id = (uint32_t)pid,
                                       .from_start = r->from_start,
                                       .time_ns = now_ns(CLOCK_REALTIME)};
    snprintf(header.name, sizeof header.name, "%s", name);
    r->path = path;
    r->kept_ns = now_ns(CLOCK_MONOTONIC);
    lr_trace_writer_begin(&r->writer, out, &header);
    return true;
}

static atomic_u32 *state_of(const struct trace_recorder *r, uint32_t chunk) {
    return (atomic_u32 *)(void *)((char *)r->header + LARDER_TRACE_STATES) + chunk;
}

static struct larder_trace_chunk *chunk_at(const struct trace_recorder *r, uint32_t chunk) {
    return (void *)((char *)r->header + (size_t)(chunk + 1) * LARDER_TRACE_CHUNK_BYTES);
}

static void take_event(const struct trace_recorder *r, const struct larder_trace_event *raw,
                       struct trace_event *out) {
    const uint8_t kind = (uint8_t)(raw->what >> 56);
    *out = (struct trace_event){.sequence = raw->sequence,
                                .time_ns = raw->time_ns - r->begin_ns,
                                .block = raw->block & ((UINT64_C(1) << 60) - 1),
                                .size = raw->what & ((UINT64_C(1) << 48) - 1),
                                .kind = kind,
                                .align_log = (uint8_t)(raw->what >> 48)};
    // Sizes of frees are only needed for blocks whose allocation was not seen.
    out->has_size =
        kind != LARDER_TRACE_REALLOC_END && !(kind == LARDER_TRACE_DEALLOC && r->from_start);
}

// What a chunk has got since the last look.
static void move_chunk(struct trace_recorder *r, uint32_t number) {
    static struct trace_event events[LARDER_TRACE_EVENTS];
    struct larder_trace_chunk *chunk = chunk_at(r, number);
    // Acquire pairs with the writer's release: the events are there.
    const uint32_t written = lr_load_acquire((atomic_u32 *)&chunk->written);
    size_t count = 0;
    for (uint32_t i = r->read[number]; i < written && i < LARDER_TRACE_EVENTS; i++) {
        // A copy: the process may change it while we look, whatever the contract says.
        const struct larder_trace_event raw =
            *(const volatile struct larder_trace_event *)&chunk->events[i];
        if (raw.sequence != 0 && raw.time_ns >= r->begin_ns) { // else of an earlier recording
            take_event(r, &raw, &events[count++]);
        }
        r->read[number] = i + 1;
    }
    if (count > 0) {
        lr_trace_writer_add(&r->writer, chunk->thread, chunk->thread_id, events, count);
    }
}

bool lr_trace_record_move(struct trace_recorder *r, bool all) {
    const uint64_t now = now_ns(CLOCK_MONOTONIC);
    uint32_t freed = 0;
    lr_store_relaxed((atomic_u64 *)&r->header->alive_ns, now);
    if (now - r->kept_ns >= KEEP_NS) {
        r->kept_ns = now;
        all = true;
    }
    for (uint32_t i = 0; i < r->chunks; i++) {
        // Acquire pairs with the writer's release: FULL comes after the last event.
        const uint32_t state = lr_load_acquire(state_of(r, i));
        if (state == LARDER_TRACE_FULL || (all && state == LARDER_TRACE_OWNED)) {
            move_chunk(r, i);
        }
        if (state == LARDER_TRACE_FULL) {
            r->read[i] = 0;
            lr_store_relaxed((atomic_u32 *)&chunk_at(r, i)->written, 0);
            // Pairs with the acquire of the next writer: we have read it.
            lr_store_release(state_of(r, i), LARDER_TRACE_FREE);
            freed++;
        }
    }
    if (freed > 0) {
        atomic_u32 *word = (atomic_u32 *)&r->header->freed;
        lr_store_release(word, lr_load_relaxed(word) + 1); // pairs with those who wait for chunks
        syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    }
    return freed > 0;
}

void lr_trace_record_drop(struct trace_recorder *r) {
    munmap(r->header, r->bytes);
    close(r->fd);
    free(r->read);
}

bool lr_trace_record_close(struct trace_recorder *r) {
    for (int i = 0; i < LAST_MOVES && lr_trace_record_move(r, true); i++) {
    }
    const uint64_t dropped = lr_load_relaxed((atomic_u64 *)&r->header->dropped);
    const uint64_t duration_ns = now_ns(CLOCK_MONOTONIC) - r->begin_ns;
    bool good = lr_trace_writer_end(&r->writer, dropped, duration_ns);
    good &= fclose(r->writer.out) == 0;
    if (!good) {
        lr_tool_error("cannot write '%s': %s", r->path, strerror(errno));
    } else {
        fprintf(stderr, "larder: %ju events in %.1f s, %ju dropped; %s: %ju bytes",
                (uintmax_t)r->writer.events, (double)duration_ns / 1e9, (uintmax_t)dropped, r->path,
                (uintmax_t)r->writer.bytes);
        if (r->writer.events > 0) {
            fprintf(stderr, ", %.1f an event", (double)r->writer.bytes / (double)r->writer.events);
        }
        fputc('\n', stderr);
    }
    lr_store_relaxed((atomic_u64 *)&r->header->dropped, 0);
    if (!r->from_start) {
        // The process keeps the memory for the next recording, empty.
        (void)fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, LARDER_TRACE_CHUNK_BYTES,
                        (off_t)(r->bytes - LARDER_TRACE_CHUNK_BYTES));
    }
    lr_trace_record_drop(r);
    return good;
}
