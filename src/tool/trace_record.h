// SPDX-License-Identifier: Apache-2.0
// The recorder's side of <larder/trace.h>. What the process wrote there is not trusted.
#ifndef LARDER_TOOL_TRACE_RECORD_H
#define LARDER_TOOL_TRACE_RECORD_H

#include <sys/types.h>

#include "tool/trace_file.h"

struct trace_recorder {
    struct larder_trace_header *header; // the memory shared with the process
    size_t bytes;
    int fd;
    uint32_t chunks;
    uint32_t *read; // events of each chunk that were read
    uint64_t begin_ns;
    uint64_t kept_ns; // when chunks that are not full were read last
    bool from_start;
    const char *path;
    struct trace_writer writer;
};

// Makes memory for a process that is to be started and inherits the descriptor `fd` of it. False,
// with a line said, if it cannot be had.
bool lr_trace_record_create(struct trace_recorder *r);
// Uses the memory that a running process has made, behind its descriptor `number`.
bool lr_trace_record_attach(struct trace_recorder *r, pid_t pid, uint64_t number);

// Begins to write the file; false, with a line said, if it cannot be made.
bool lr_trace_record_open(struct trace_recorder *r, const char *path, pid_t pid, const char *name);
// Moves what is there to the file; true if there was a full chunk. `all`: also what threads have
// begun to fill.
bool lr_trace_record_move(struct trace_recorder *r, bool all);
// Moves the rest, ends the file, says a line about it; false, with another line said, if that
// fails.
bool lr_trace_record_close(struct trace_recorder *r);
// Without a file: forgets the memory.
void lr_trace_record_drop(struct trace_recorder *r);

#endif
