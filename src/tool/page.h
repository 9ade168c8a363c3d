// SPDX-License-Identifier: Apache-2.0
// The reader's side of <larder/page.h>. What another process shows is not trusted: every size and
// text is checked. No access to its file can fault: it is memory that nobody can shorten.
#ifndef LARDER_TOOL_PAGE_H
#define LARDER_TOOL_PAGE_H

#include <larder/page.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "diag/report.h"

enum {
    PAGE_THREADS_MOST = LARDER_PAGE_BYTES / sizeof(struct larder_page_thread),
    PAGE_OPTIONS_MOST = 128,
    PAGE_LATENCIES_MOST = 16,
    PAGE_BYTES_MOST = 1 << 20, // of pages of later versions
    PAGE_ANSWER_MS = 2000,     // how long an answer is waited for
};

// What a page said. About 220 KiB: not for a stack. All zero before its first use.
struct page_view {
    struct lr_report report; // points to what follows; stands first
    char version[32];
    char lock_names[LR_REPORT_LOCKS][32];
    struct lr_report_thread threads[PAGE_THREADS_MOST];
    struct lr_report_option options[PAGE_OPTIONS_MOST];
    struct larder_page_option options_read[PAGE_OPTIONS_MOST]; // what `options` were made from
    char options_json[PAGE_OPTIONS_MOST * 384];
    struct larder_span_fills fills[LR_CLASS_COUNT];
    unsigned fill_count;
    struct larder_latency_stats latencies[PAGE_LATENCIES_MOST];
    char latency_names[PAGE_LATENCIES_MOST][32];
    unsigned latency_count;
    uint64_t window_begin, window_end;
    uint64_t pools_begin, pools_end;
    uint64_t updated_ns;
    uint32_t threads_total;
    bool stale;           // the process did not answer: figures of an earlier time
    bool same;            // nothing has changed since lr_page_look() filled it in before
    uint32_t options_pid; // whose options they are,
    uint64_t options_ns;  // written when; 0: not known
    pid_t named_pid;      // whose threads have their names; 0: nobody's
    uint64_t named_ms, new_named_ms;
};

// Whether *view has the options of a page with this header already.
bool lr_page_knows_options(const struct page_view *view, const struct larder_page_header *header);

// Fills *out from a copy of a page, which may lack options that *out has. NULL, or what is wrong
// with it; then *out is not to be used. Threads that were there before keep their names.
const char *lr_page_decode(const void *bytes, size_t size, struct page_view *out);

struct page_link {
    pid_t pid;
    int fd;
    size_t bytes;
    char *map;
    uint32_t follow_us; // not 0: so often lr_page_look() will be called; set by the caller
    uint32_t wait_ms;   // not 0: an answer is waited for no longer; set by the caller
    uint64_t seen_ns;   // updated_ns at its last call
    uint32_t sequence;  // of the page at its last call
};

// Finds the page of a process. TOOL_OK; or a status of tool.h, with a line said unless `quietly`.
int lr_page_open(pid_t pid, struct page_link *out, bool quietly);
void lr_page_close(struct page_link *link);

struct page_answer {
    int result; // negative errno of the process
    uint64_t number;
};

// Has the process do something. 0; -EBUSY: others keep asking; -ETIMEDOUT: it does not answer (it
// is stopped, or gone); another negative errno.
int lr_page_ask(const struct page_link *link, enum larder_page_command_kind kind, const char *name,
                const char *value, struct page_answer *answer);

// Copies and decodes. NULL or what is wrong.
const char *lr_page_read(const struct page_link *link, struct page_view *out);

// Refreshes, reads, fills in the names of threads. TOOL_OK, else a status with a line said. A
// process that does not answer is told of in a line, and read as it was: `stale`. With `follow_us`
// figures may be 50 ms old.
int lr_page_look(struct page_link *link, struct page_view *out);

#endif
