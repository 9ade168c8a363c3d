/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the heap does, in figures.
 *
 * Everything here is read while other threads go on: each figure is right at some moment of the
 * call, and sums may be off by what moved in between. No function allocates or keeps a lock while
 * it makes a system call. All may be called from any thread, none from a signal handler; all
 * return 0 or a negative errno and leave errno as it was.
 */
#ifndef LARDER_STATS_H
#define LARDER_STATS_H

#include <stddef.h>
#include <stdint.h>

#include <larder/larder.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Increased when the meaning of a field changes; fields that are appended leave it alone. */
#define LARDER_STATS_VERSION 1

/* The fields and what they mean: <larder/stats.def>, which may be included to walk over them. */
struct larder_stats {
    uint32_t version; /* LARDER_STATS_VERSION of the library */
    uint32_t bytes;   /* size of this structure in the library */
#define LARDER_STAT(name, kind, unit, help) uint64_t name;
#include <larder/stats.def>
};

/* One size class. Blocks counted are `size` bytes each. */
struct larder_class_stats {
    uint64_t size;             /* bytes of a block */
    uint64_t objects_per_span; /* blocks */
    uint64_t span_bytes;       /* bytes of a span, its tail included */
    uint64_t spans;            /* spans in use */
    uint64_t live_objects;     /* blocks that the program has */
    uint64_t thread_objects;   /* free blocks in thread caches */
    uint64_t transfer_objects; /* free blocks in the transfer cache */
    uint64_t central_objects;  /* free blocks in spans */
};

/* One lock, or one kind of lock of which there is an array. */
struct larder_lock_stats {
    const char *name;   /* static storage of the library */
    uint64_t takes;     /* acquisitions since the process began */
    uint64_t contended; /* of those, the ones that had to wait */
};

/*
 * Fills the first `out_bytes` bytes of *out, or sizeof(struct larder_stats) of the library if that
 * is less: out->bytes says which fields exist. -EINVAL if `out` is NULL or `out_bytes` does not
 * cover `version` and `bytes`.
 */
LARDER_API int larder_stats_get(struct larder_stats *out, size_t out_bytes) LARDER_NOTHROW;

/* Class `index`, from 0 on in order of size; -ENOENT behind the last one, -EINVAL for NULL. */
LARDER_API int larder_stats_class(unsigned index, struct larder_class_stats *out) LARDER_NOTHROW;

/*
 * Spans of class `index` by how full they are: [0] those of which no block is handed out, [1] to
 * [8] less than so many eighths, [9] all. A block is handed out when the program or a cache has it.
 * The sum is `spans` of the class; in hardened mode all are 0. Results as of larder_stats_class().
 */
#define LARDER_SPAN_FILLS 10
struct larder_span_fills {
    uint32_t spans[LARDER_SPAN_FILLS];
};
LARDER_API int larder_stats_fills(unsigned index, struct larder_span_fills *out) LARDER_NOTHROW;

/* Lock `index`, from 0 on in lock order; -ENOENT behind the last one, -EINVAL for NULL. */
LARDER_API int larder_stats_lock(unsigned index, struct larder_lock_stats *out) LARDER_NOTHROW;

/*
 * The blocks themselves.
 */
enum larder_block_state {
    LARDER_BLOCK_FREE, /* nobody has it */
    LARDER_BLOCK_OUT, /* handed out: the program has it, or a cache keeps it for the next request */
    LARDER_BLOCK_LIVE, /* the program has it: blocks above 256 KiB, aligned to more than a page, or
                          sampled; the one whose place a sample takes is OUT beside it */
};

struct larder_heap_block {
    void *address;
    size_t bytes; /* usable */
    enum larder_block_state state;
    void *span; /* the pages it lies in, with others of its size */
    size_t span_bytes;
};

/* 0: go on. Any other value ends the walk and is its result. */
typedef int (*larder_heap_visitor)(const struct larder_heap_block *block, void *context);

/*
 * Calls visit(block, context) for each block, free ones too, while other threads go on. Each span
 * is copied under its lock and shown with none held: the blocks of one span are as they were at one
 * moment, those of another at another. A block that the program has from the begin to the end of
 * the call, and does not resize, is shown once, as OUT or LIVE; one that comes or goes meanwhile
 * once or not at all. Addresses rise, but for blocks outside the window (see README) and
 * guarded ones, which come last. No block's memory is touched; when `visit` is called another
 * thread may have freed it, and its memory may be gone. `visit` may do anything, also allocate,
 * free, walk and not return.
 *
 * Takes a lock for each span, and for each page that looks free two loads. Result: 0, or what
 * `visit` returned. -EINVAL: `visit` is NULL. -EPERM: hardened mode, which does not say where
 * blocks lie.
 */
LARDER_API int larder_heap_walk(larder_heap_visitor visit, void *context);

/*
 * How long one kind of slow operation took, since the process began and only while the option
 * "latency" was set (off by default). Bucket [i] counts those of up to 2^(i + 7) ns that fit none
 * below, the last one the rest.
 */
#define LARDER_LATENCY_BUCKETS 25
#define LARDER_LATENCY_SHIFT 7
struct larder_latency_stats {
    const char *name; /* static storage of the library */
    uint64_t sum_ns;
    uint64_t buckets[LARDER_LATENCY_BUCKETS]; /* their sum is how many there were */
};

/* Kind `index`, from 0 on; -ENOENT behind the last one, -EINVAL for NULL. */
LARDER_API int larder_stats_latency(unsigned index,
                                    struct larder_latency_stats *out) LARDER_NOTHROW;

/* Writes all of it to `fd` as a page for people; the form may change. -EBADF or another errno of
 * write if that fails. */
LARDER_API int larder_stats_print(int fd) LARDER_NOTHROW;

enum larder_format {
    LARDER_FORMAT_TEXT,        /* what larder_stats_print() writes */
    LARDER_FORMAT_JSON,        /* one object; names as in this header, shares as fractions of 1 */
    LARDER_FORMAT_OPENMETRICS, /* OpenMetrics 1.0, application/openmetrics-text */
    LARDER_FORMAT_PROMETHEUS,  /* Prometheus text format 0.0.4, as node-exporter reads it */
};

/* The same in a form for programs. -EINVAL: there is no such format. */
LARDER_API int larder_stats_print_as(int fd, enum larder_format format) LARDER_NOTHROW;

#ifdef __cplusplus
}
#endif

#endif
