// SPDX-License-Identifier: Apache-2.0
// What the probes share. A probe is a workload program (../workload.h: arguments, result line)
// whose result is not its time but something it reports: resident memory, latencies. Memory is what
// the kernel counts; no allocator is asked. Nothing here calls malloc.

#ifndef LARDER_BENCHMARKS_WORKLOADS_PROBES_PROBE_H
#define LARDER_BENCHMARKS_WORKLOADS_PROBES_PROBE_H

#include "../workload.h"

enum { PROBE_SECONDS_MAX = 120 }; // longest time of looking at memory

// Resident bytes of this process, exact to the page. Ends the process if the kernel does not tell.
// Takes some milliseconds for each GiB.
uint64_t probe_rss_bytes(void);

// A block that knows its size.
struct probe_block {
    uint64_t stamp; // what wl_fill() puts in the first word
    uint64_t bytes; // as requested
};

// A block written as wl_new() does. bytes: at least those of a struct probe_block.
static inline struct probe_block *probe_new(size_t bytes) {
    struct probe_block *block = wl_new(bytes);
    block->bytes = bytes;
    wl_escape(block);
    return block;
}

// wl_sizes_service() for such blocks: those that would be smaller become as large as one.
void probe_sizes_service(struct wl_sizes *sizes);

// Zeroed memory straight from the kernel, for tables that must be neither on the allocator's
// account nor in its way. `resident`: all pages at once, so that they are part of what was resident
// before; otherwise page by page when written. Ends the process if there is none.
void *probe_map(size_t bytes, bool resident);
void probe_unmap(void *memory, size_t bytes);
// The same, shared with children that are forked later.
void *probe_map_shared(size_t bytes);

// A set of OS pages, empty at first. Costs address space: a bit for each page there can be.
struct probe_pages {
    uint64_t *bits; // by page number
    uint64_t count;
};

struct probe_pages probe_pages_new(void);
void probe_pages_delete(struct probe_pages *pages);
void probe_pages_clear(struct probe_pages *pages);

// Adds the pages that the bytes at `start` lie in; bytes at least 1.
void probe_pages_add(struct probe_pages *pages, const void *start, size_t bytes);

// Sleeps until wl_now_ns() is `when_ns`; returns at once if it was before.
void probe_sleep_until(uint64_t when_ns);

// Resident memory second by second, RSS at the beginning included.
struct probe_watch {
    unsigned seconds; // 0..PROBE_SECONDS_MAX
    uint64_t rss_bytes[PROBE_SECONDS_MAX + 1];
};

// Looks at resident memory now and after each of watch->seconds seconds. In between it sleeps, or,
// if `busy` is given, calls that once a millisecond.
void probe_watch_memory(struct probe_watch *watch, void (*busy)(void));

// Reports rss_kib_0, rss_kib_1 and so on.
void probe_report_watch(const struct probe_watch *watch);

#endif
