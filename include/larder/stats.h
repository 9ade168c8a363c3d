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

/* Lock `index`, from 0 on in lock order; -ENOENT behind the last one, -EINVAL for NULL. */
LARDER_API int larder_stats_lock(unsigned index, struct larder_lock_stats *out) LARDER_NOTHROW;

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
