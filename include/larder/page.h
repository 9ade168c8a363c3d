/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page by which a process that uses Larder can be looked into and steered from outside.
 *
 * It is a memfd of LARDER_PAGE_BYTES named LARDER_PAGE_NAME, sealed against shrinking and growing,
 * that the process keeps open: /proc/PID/fd/N is a link to "/memfd:larder (deleted)". Who may look
 * there may use it: the same user unless the process is protected from that, and root. A process
 * has none while it has no background thread, with LARDER_PUBLISH=0, and if it is setuid.
 *
 * Layout. The header is at offset 0, the command slot at LARDER_PAGE_COMMAND; the tables lie where
 * the header says. All numbers are in the byte order of the machine. A later version may append
 * fields to the header and to rows, and may add rows: readers go by the sizes in the header and
 * know figures by their names. Texts end with a 0 byte. A reader must not trust any of it.
 *
 * Reading. Tables are as old as `updated_ns` says, resident_bytes up to a tenth of a second older:
 * ask for a refresh first. Copy the page, the header too, and take the copy only if `sequence` was
 * even before and is the same afterwards. A mapping cannot fault where the file has F_SEAL_SHRINK
 * and is on tmpfs; look before, others can make files of that name.
 *
 * Asking. Take an exclusive flock() on the file. If `request` is not what `served` is, somebody did
 * not wait for the answer: wait until it is, or the command may be done with parts of yours. Write
 * kind, name, value; then `request`, one more than before. The background thread sees that when it
 * is awake the next time, within a few hundredths of a second under load. To have it at once write
 * 1 to `wake` and FUTEX_WAKE (not private) on `wake`. When `served` is the number asked with,
 * `result` and `number` are the answer; all that FUTEX_WAIT on `served` are woken then. Nobody
 * answers while the process is stopped.
 *
 * Following. Who reads many times a second need not ask for each: write `follow_us`, then `follow`,
 * without a lock. As often as that the background thread writes figures when it is awake anyway, at
 * least half of `follow_us` after the last time; late where other threads keep the processors.
 * Where `updated_ns` is older than you want the thread may sleep, or not know of it: ask.
 */
#ifndef LARDER_PAGE_H
#define LARDER_PAGE_H

#include <stdint.h>

#include <larder/stats.h>

#define LARDER_PAGE_NAME "larder"
#define LARDER_PAGE_MAGIC UINT64_C(0x454741505244524c) /* "LRDRPAGE" */
#define LARDER_PAGE_VERSION 1
#define LARDER_PAGE_BYTES 65536
#define LARDER_PAGE_COMMAND 2048

struct larder_page_table {
    uint32_t offset; /* bytes from the begin of the page */
    uint32_t row_bytes;
    uint32_t rows;
    uint32_t reserved;
};

struct larder_page_header {
    uint64_t magic;
    uint32_t version; /* increased when a reader of the one before would be misled */
    uint32_t header_bytes;
    uint32_t page_bytes;
    uint32_t process_id; /* as the process itself knows it */
    char larder_version[32];
    uint64_t window_begin; /* address space for the heap */
    uint64_t window_end;
    uint64_t pools_begin; /* of that, where blocks may lie */
    uint64_t pools_end;
    uint32_t sequence; /* odd while tables are being written */
    uint32_t threads_total;
    uint64_t updated_ns; /* CLOCK_MONOTONIC; 0: tables were not written yet */
    struct larder_page_table stats;
    struct larder_page_table classes; /* struct larder_class_stats */
    struct larder_page_table locks;
    struct larder_page_table threads; /* the first ones, if there are many */
    struct larder_page_table options;
    /* Appended; absent where header_bytes ends before them. */
    struct larder_page_table fills; /* struct larder_span_fills, a row for each of classes */
    struct larder_page_table latencies;
    uint64_t options_ns; /* when options were written, which is rare; 0: not told */
};

struct larder_page_stat {
    char name[32];
    uint64_t value;
    uint32_t kind; /* 0 gauge, 1 counter */
    uint32_t unit; /* 0 bytes, 1 a number, 2 thousandths */
};

struct larder_page_lock {
    char name[32];
    uint64_t takes;
    uint64_t contended;
};

struct larder_page_latency {
    char name[32];
    uint64_t sum_ns;
    uint64_t buckets[LARDER_LATENCY_BUCKETS]; /* as struct larder_latency_stats */
};

enum larder_page_thread_state {
    LARDER_PAGE_THREAD_USES = 1,  /* the thread has its cache */
    LARDER_PAGE_THREAD_TAKEN = 2, /* the background thread empties it, because it is idle */
    LARDER_PAGE_THREAD_GONE = 3,  /* of a thread that a fork left behind */
};

struct larder_page_thread {
    uint32_t thread_id;
    uint32_t state;
    uint64_t cache_bytes;
    uint64_t slow_calls;
    uint64_t reserved;
};

enum larder_page_option_origin {
    LARDER_PAGE_FROM_DEFAULT,
    LARDER_PAGE_FROM_ENVIRONMENT,
    LARDER_PAGE_FROM_PROGRAM, /* or from outside */
};

struct larder_page_option {
    char name[32];
    char value[64];
    char range[64];
    uint32_t origin;
    uint32_t any_time; /* 1: may be set while the process runs */
};

enum larder_page_command_kind {
    LARDER_PAGE_REFRESH = 1,
    LARDER_PAGE_SET = 2,     /* option `name` to `value`, written as in the environment */
    LARDER_PAGE_TRIM = 3,    /* returns free memory; `number`: bytes that went */
    LARDER_PAGE_PROFILE = 4, /* writes a profile (larder_profile_write()) into a memfd; `number`:
                                its descriptor in the process, which stays open until the next
                                request of this kind or LARDER_PAGE_PROFILE_END */
    LARDER_PAGE_PROFILE_END = 5,
    LARDER_PAGE_TRACE = 6, /* records calls (larder/trace.h); `value`: bytes of memory for it if
                              there is none from an earlier time, `number`: its descriptor in the
                              process, -EBUSY: somebody records already */
    LARDER_PAGE_TRACE_END = 7,
};

struct larder_page_command {
    uint32_t wake; /* futex */
    uint32_t request;
    uint32_t kind;
    uint32_t reserved;
    char name[48];
    char value[64];
    uint32_t served; /* futex */
    int32_t result;  /* 0, or a negative errno: -ENOENT there is no such option, -ERANGE and -EINVAL
                        the value is out of range or not understood, -EPERM it is read at start
                        only, -ENOSYS there is no such command */
    uint64_t number;
    /* Appended. */
    uint32_t follow;    /* how many times more to write figures that nobody asks for */
    uint32_t follow_us; /* microseconds that should lie between two of them */
};

#endif
