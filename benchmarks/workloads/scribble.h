// SPDX-License-Identifier: Apache-2.0
// What cache_scratch and cache_thrash share: small blocks with a counter, like a reference count,
// that their owner counts up very often. Where an allocator gives blocks of one cache line to
// different threads, the line must change its processor for every count, and the time shows it.
// (Plain stores would not do: a processor gathers them while it waits for the line.)

#ifndef LARDER_BENCHMARKS_WORKLOADS_SCRIBBLE_H
#define LARDER_BENCHMARKS_WORKLOADS_SCRIBBLE_H

#include "workload.h"

enum { SCRIBBLE_COUNTS = 200 }; // in the life of one block

// A quarter of a cache line, so that several have room in one.
struct scribbled {
    uint64_t stamp; // what wl_fill() puts in the first word
    uint64_t count; // atomic
};

// A block allocated, counted up, checked and freed.
static inline void scribble(void) {
    struct scribbled *block = wl_new(sizeof *block);
    block->count = 0;
    for (unsigned i = 0; i < SCRIBBLE_COUNTS; i++)
        __atomic_fetch_add(&block->count, 1, __ATOMIC_RELAXED);
    if (block->count != SCRIBBLE_COUNTS)
        wl_fail("counts in a block were lost, left are", block->count);
    wl_delete(block);
}

#endif
