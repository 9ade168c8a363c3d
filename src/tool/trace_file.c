// SPDX-License-Identifier: Apache-2.0
#include "tool/trace_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#if LARDER_TOOL_ZLIB
#include <zlib.h>
#endif

enum {
    BATCH = 4096, // events of a block
    THREADS_MOST = 1 << 20,
    SAME_STEP = 8, // bits of an event's first byte
    HAS_SIZE = 16,
    KIND_BITS = 7,
};

#define SEQUENCE_MOST (UINT64_C(1) << 60) // more is no count of calls, and readers add to it

static_assert((int)BATCH * TRACE_EVENT_BYTES_MOST <= TRACE_FILE_RAW_MOST, "a block fits");

static void write_all(struct trace_writer *w, const void *bytes, size_t count) {
    if (!w->failed && count > 0 && fwrite(bytes, count, 1, w->out) != 1) {
        w->failed = true;
    }
    w->bytes += count;
}

void lr_trace_writer_begin(struct trace_writer *w, FILE *out,
                           const struct trace_file_header *header) {
    *w = (struct trace_writer){.out = out};
    struct trace_file_header copy = *header;
    copy.magic = TRACE_FILE_MAGIC;
    copy.version = TRACE_FILE_VERSION;
    copy.header_bytes = sizeof copy;
    write_all(w, &copy, sizeof copy);
}

static uint8_t *put_varint(uint8_t *at, uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
        *at++ = (uint8_t)(value | 0x80);
    }
    *at++ = (uint8_t)value;
    return at;
}

static uint64_t zigzag(uint64_t difference) {
    return (difference << 1) ^ (uint64_t)((int64_t)difference >> 63);
}

static uint64_t unzigzag(uint64_t value) { return (value >> 1) ^ (0 - (value & 1)); }

static uint8_t *put_event(uint8_t *at, const struct trace_event *event,
                          const struct trace_event *before) {
    const uint64_t step = event->sequence - before->sequence;
    const uint64_t moved = event->block - before->block;
    *at++ = (uint8_t)((event->kind & KIND_BITS) | (step == 1 ? SAME_STEP : 0) |
                      (event->has_size ? HAS_SIZE : 0));
    if (step != 1) {
        at = put_varint(at, step);
    }
    at = put_varint(at, event->time_ns - before->time_ns);
    if (moved % 16 == 0) {
        at = put_varint(at, zigzag((uint64_t)((int64_t)moved / 16)) << 1);
    } else {
        at = put_varint(at, zigzag(moved) << 1 | 1);
    }
    if (event->has_size) {
        at = put_varint(at, event->size);
    }
    return event->kind == LARDER_TRACE_ALIGNED ? put_varint(at, event->align_log) : at;
}

static void write_block(struct trace_writer *w, struct trace_file_block *block,
                        const uint8_t *raw) {
    const uint8_t *stored = raw;
    block->stored = block->raw;
#if LARDER_TOOL_ZLIB
    static uint8_t packed[TRACE_FILE_RAW_MOST];
    uLongf length = block->raw; // larger is of no use
    if (block->raw > 0 && compress2(packed, &length, raw, block->raw, 1) == Z_OK &&
        length < block->raw) {
        stored = packed;
        block->stored = (uint32_t)length;
    }
#endif
    write_all(w, block, sizeof *block);
    write_all(w, stored, block->stored);
}

void lr_trace_writer_add(struct trace_writer *w, uint32_t thread, uint32_t thread_id,
                         const struct trace_event *events, size_t count) {
    static uint8_t raw[TRACE_FILE_RAW_MOST];
    while (count > 0) {
        const size_t batch = count < BATCH ? count : BATCH;
        struct trace_event before = {0};
        uint8_t *at = raw;
        for (size_t i = 0; i < batch; i++) {
            at = put_event(at, &events[i], &before);
            before = events[i];
        }
        struct trace_file_block block = {.kind = TRACE_FILE_EVENTS,
                                         .thread = thread,
                                         .thread_id = thread_id,
                                         .events = (uint32_t)batch,
                                         .raw = (uint32_t)(at - raw)};
        write_block(w, &block, raw);
        w->events += batch;
        events += batch;
        count -= batch;
    }
}

bool lr_trace_writer_end(struct trace_writer *w, uint64_t dropped, uint64_t duration_ns) {
    const struct trace_file_end end = {
        .events = w->events, .dropped = dropped, .duration_ns = duration_ns};
    struct trace_file_block block = {.kind = TRACE_FILE_END, .raw = sizeof end};
    write_block(w, &block, (const uint8_t *)&end);
    if (fflush(w->out) != 0) {
        w->failed = true;
    }
    return !w->failed;
}

// What is left of a block's bytes.
struct input {
    const uint8_t *at;
    const uint8_t *end;
    bool short_of; // something was missing
};

static uint64_t get_varint(struct input *in) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (in->at == in->end) {
            break;
        }
        const uint8_t byte = *in->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
    in->short_of = true;
    return 0;
}

// False: it is not there, or is none.
static bool get_event(struct input *in, struct trace_event *event) {
    if (in->at == in->end) {
        return false;
    }
    const uint8_t first = *in->at++;
    event->kind = first & KIND_BITS;
    event->has_size = (first & HAS_SIZE) != 0;
    event->sequence += (first & SAME_STEP) != 0 ? 1 : get_varint(in);
    event->time_ns += get_varint(in);
    const uint64_t moved = get_varint(in);
    event->block += (moved & 1) != 0 ? unzigzag(moved >> 1) : unzigzag(moved >> 1) * 16;
    event->size = event->has_size ? get_varint(in) : 0;
    event->align_log = 0;
    if (event->kind == LARDER_TRACE_ALIGNED) {
        const uint64_t log = get_varint(in);
        if (log > 47) {
            return false;
        }
        event->align_log = (uint8_t)log;
    }
    return !in->short_of && event->kind >= LARDER_TRACE_MALLOC &&
           event->kind <= LARDER_TRACE_REALLOC_END && event->size < UINT64_C(1) << 48 &&
           event->sequence < SEQUENCE_MOST;
}

static bool grow(struct trace *out, size_t *room, size_t more) {
    if (out->count + more <= *room) {
        return true;
    }
    const size_t wanted = out->count + more > 2 * *room ? out->count + more : 2 * *room;
    struct trace_event *events = realloc(out->events, wanted * sizeof *events);
    if (events == NULL) {
        return false;
    }
    out->events = events;
    *room = wanted;
    return true;
}

// The bytes of a block, unpacked; false if they are not there or not what they should be.
static bool read_bytes(FILE *in, const struct trace_file_block *block, uint8_t *out) {
    static uint8_t stored[TRACE_FILE_RAW_MOST];
    if (block->raw > TRACE_FILE_RAW_MOST || block->stored > block->raw) {
        return false;
    }
    if (block->stored > 0 && fread(stored, block->stored, 1, in) != 1) {
        return false;
    }
    if (block->stored == block->raw) {
        memcpy(out, stored, block->raw);
        return true;
    }
#if LARDER_TOOL_ZLIB
    uLongf length = block->raw;
    return uncompress(out, &length, stored, block->stored) == Z_OK && length == block->raw;
#else
    return false;
#endif
}

static bool decode(const struct trace_file_block *block, const uint8_t *bytes, struct trace *out,
                   size_t *room) {
    struct input in = {.at = bytes, .end = bytes + block->raw};
    struct trace_event event = {.thread = block->thread};
    // Each event has three bytes at least, so that a hostile count cannot make us ask for memory.
    if (block->thread >= THREADS_MOST || block->events > block->raw ||
        !grow(out, room, block->events)) {
        return false;
    }
    if (block->thread >= out->threads) {
        out->threads = block->thread + 1;
    }
    for (uint32_t i = 0; i < block->events; i++) {
        if (!get_event(&in, &event)) {
            return false;
        }
        out->events[out->count++] = event;
    }
    return true;
}

static int by_sequence(const void *a, const void *b) {
    const struct trace_event *x = a;
    const struct trace_event *y = b;
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

static void sort(struct trace *out) {
    bool sorted = true;
    for (size_t i = 1; i < out->count && sorted; i++) {
        sorted = out->events[i - 1].sequence < out->events[i].sequence;
    }
    if (!sorted) {
        qsort(out->events, out->count, sizeof *out->events, by_sequence);
    }
    size_t kept = 0;
    for (size_t i = 0; i < out->count; i++) {
        if (kept == 0 || out->events[kept - 1].sequence != out->events[i].sequence) {
            out->events[kept++] = out->events[i];
        }
    }
    out->count = kept;
}

static bool skip(FILE *in, size_t bytes) {
    for (; bytes > 0; bytes--) {
        if (getc(in) == EOF) {
            return false;
        }
    }
    return true;
}

const char *lr_trace_read(FILE *in, struct trace *out) {
    static uint8_t bytes[TRACE_FILE_RAW_MOST];
    struct trace_file_block block;
    size_t room = 0;
    *out = (struct trace){.cut_off = true};
    if (fread(&out->header, sizeof out->header, 1, in) != 1 ||
        out->header.magic != TRACE_FILE_MAGIC) {
        return "it is no recording of larder trace";
    }
    if (out->header.version != TRACE_FILE_VERSION) {
        return "it is of a version that this command does not know";
    }
    if (out->header.header_bytes < sizeof out->header || out->header.header_bytes > 1 << 16 ||
        !skip(in, out->header.header_bytes - sizeof out->header)) {
        return "its header is damaged";
    }
    out->header.name[sizeof out->header.name - 1] = '\0';
    while (fread(&block, sizeof block, 1, in) == 1 && read_bytes(in, &block, bytes)) {
        if (block.kind == TRACE_FILE_END && block.raw >= sizeof out->end) {
            memcpy(&out->end, bytes, sizeof out->end);
            out->cut_off = false;
            break;
        }
        if (block.kind == TRACE_FILE_EVENTS && !decode(&block, bytes, out, &room)) {
            break;
        }
    }
    sort(out);
    return NULL;
}

void lr_trace_free(struct trace *trace) {
    free(trace->events);
    *trace = (struct trace){0};
}
