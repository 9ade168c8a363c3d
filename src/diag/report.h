// SPDX-License-Identifier: Apache-2.0
// All statistics of one moment, and the forms in which they can be printed.
#ifndef LARDER_DIAG_REPORT_H
#define LARDER_DIAG_REPORT_H

#include <larder/stats.h>

#include "base/config.h"
#include "base/print.h"
#include "conf/stats.h"

enum { LR_REPORT_LOCKS = 32 };

// The cache of one thread.
struct lr_report_thread {
    uint32_t thread_id;
    uint32_t state; // enum larder_page_thread_state of <larder/page.h>
    uint64_t cache_bytes;
    uint64_t slow_calls;
    char name[16]; // empty if not known
};

struct lr_report_option {
    char name[32];
    char value[64]; // as a person reads it
    char range[64];
    uint8_t origin; // enum larder_page_option_origin
    uint8_t runtime;
};

// About 7 KiB: fits the stack of any thread. What would make it larger is asked for when it is
// printed.
struct lr_report {
    const char *version;
    uint32_t process_id;
    struct larder_stats stats;
    unsigned class_count;
    unsigned lock_count;
    struct larder_class_stats classes[LR_CLASS_COUNT];
    struct larder_lock_stats locks[LR_REPORT_LOCKS];
    // Spans of the class classes[i] by how full they are. False: not known.
    bool (*fills)(const struct lr_report *report, unsigned i, struct larder_span_fills *out);
    // How long the operations of a kind took. False: there is no such kind.
    bool (*latency)(const struct lr_report *report, unsigned i, struct larder_latency_stats *out);
    const char *labels; // NAME="VALUE",... of each sample for collectors; NULL: none
    // What only a look from outside knows; NULL and 0 else.
    unsigned thread_count;
    unsigned option_count;
    const struct lr_report_thread *threads;
    const struct lr_report_option *options;
    const char *options_json; // what lr_report_json_options() prints of them; NULL: not known
};

// False where nothing is known of the class, or it has no spans.
bool lr_report_fills(const struct lr_report *report, unsigned i, struct larder_span_fills *out);

// The next kind of slow operations that was measured at all, from *at on, which moves behind it;
// how many there were, 0: there is none left.
LR_COLD uint64_t lr_report_latency(const struct lr_report *report, unsigned *at,
                                   struct larder_latency_stats *out);

// The longest that bucket holds, in ns; UINT64_MAX: no limit.
LR_COLD uint64_t lr_report_latency_limit(unsigned bucket);
// What `count` of the operations took at most, as far as the buckets tell.
LR_COLD uint64_t lr_report_latency_below(const struct larder_latency_stats *latency,
                                         uint64_t count);

// What is in spans[index] of struct larder_span_fills: "none", "<1/8" ... "<8/8", "all".
LR_COLD const char *lr_report_fill_name(unsigned index);

// Reads all figures of this process, except threads and options. The caller holds no lock of
// Larder.
void lr_report_gather(struct lr_report *out);
// The same by who knows how much memory is resident, which is most of the work; without process_id.
void lr_report_gather_with(struct lr_report *out, uint64_t resident_bytes);

// Gathers and writes, without allocating. 0, or the negative errno of the first write that failed.
LR_COLD int lr_report_print(int fd, enum larder_format format);

// One JSON object and a newline.
void lr_report_json(struct lr_print *p, const struct lr_report *report);

// The options of it, which rarely change: who prints often may keep the text.
void lr_report_json_options(struct lr_print *p, const struct lr_report *report);

// A text between quotation marks, as JSON and the label values of metrics both read it.
void lr_report_quote(struct lr_print *p, const char *text);

// Samples for a collector. `open`: OpenMetrics 1.0, which has the suffix of counters on samples
// only and ends with "# EOF"; else the text format 0.0.4 of Prometheus and node-exporter.
void lr_report_metrics(struct lr_print *p, const struct lr_report *report, bool open);

#endif
