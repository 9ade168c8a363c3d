// SPDX-License-Identifier: Apache-2.0
// Files of recorded calls, version 1. All numbers have the byte order of the machine that wrote
// them (little-endian so far).
//
//   struct trace_file_header
//   any number of: struct trace_file_block, `stored` bytes
//   one block of kind TRACE_FILE_END with a struct trace_file_end
//
// A block holds `events` events of one thread in their order, independent of other blocks; `raw`
// bytes, compressed by zlib if `stored` is less. An event is
//
//   a byte     bits 0 to 2 the kind (enum larder_trace_kind); 3: the sequence number is one above
//              the one before; 4: a size follows
//   a varint   unless bit 3: by how much the sequence number grew
//   a varint   by how many nanoseconds the time grew
//   a varint   by how much the address changed: bit 0 clear, in steps of 16 bytes, else in bytes;
//              then zigzag
//   a varint   if bit 4: the size
//   a varint   of an aligned allocation: the logarithm of its alignment
//
// where "before" is the event before in the block, at its begin one of zeroes. A varint has seven
// bits a byte, the lowest first, the eighth set in all but the last. Of events with the same
// sequence number all but one are to be ignored.
//
// A file without its end was cut off: what is there may be used.
#ifndef LARDER_TOOL_TRACE_FILE_H
#define LARDER_TOOL_TRACE_FILE_H

#include <larder/trace.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TRACE_FILE_MAGIC UINT64_C(0x464352545244524c) /* "LRDRTRCF" */

enum {
    TRACE_FILE_VERSION = 1,
    TRACE_FILE_EVENTS = 1, // kinds of blocks; others are to be skipped
    TRACE_FILE_END = 2,
    TRACE_FILE_RAW_MOST = 1 << 20, // bytes of a block
    TRACE_EVENT_BYTES_MOST = 46,
};

struct trace_file_header {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes; // what is beyond those known is skipped
    uint32_t process_id;
    uint32_t from_start; // 1: the recording began with the process
    uint64_t time_ns;    // CLOCK_REALTIME of its begin
    char name[32];       // of the program
};

struct trace_file_block {
    uint32_t kind;
    uint32_t thread;    // 1, 2, 3...; 0: threads that were ending
    uint32_t thread_id; // as the process knew it
    uint32_t events;
    uint32_t raw;
    uint32_t stored;
};

struct trace_file_end {
    uint64_t events;
    uint64_t dropped;
    uint64_t duration_ns;
};

struct trace_event {
    uint64_t sequence;
    uint64_t time_ns;
    uint64_t block;
    uint64_t size;
    uint32_t thread;
    uint8_t kind;
    uint8_t align_log;
    bool has_size;
};

// ---- Writing ----

struct trace_writer {
    FILE *out;
    uint64_t events;
    uint64_t bytes;
    bool failed; // a write did; errno as it left it
};

void lr_trace_writer_begin(struct trace_writer *w, FILE *out,
                           const struct trace_file_header *header);
// Events of one thread in their order.
void lr_trace_writer_add(struct trace_writer *w, uint32_t thread, uint32_t thread_id,
                         const struct trace_event *events, size_t count);
// False if anything could not be written.
bool lr_trace_writer_end(struct trace_writer *w, uint64_t dropped, uint64_t duration_ns);

// ---- Reading ----

struct trace {
    struct trace_file_header header;
    struct trace_event *events; // by sequence
    size_t count;
    uint32_t threads; // one more than the largest number of one
    struct trace_file_end end;
    bool cut_off; // the file ends early, or is damaged from some place on
};

// NULL, or why there is nothing to use. Any bytes: what is wrong ends the reading.
const char *lr_trace_read(FILE *in, struct trace *out);
void lr_trace_free(struct trace *trace);

#endif
