// SPDX-License-Identifier: Apache-2.0
// How long slow operations took, as reports show it.
#include "diag/report.h"

uint64_t lr_report_latency(const struct lr_report *report, unsigned *at,
                           struct larder_latency_stats *out) {
    uint64_t count = 0;
    while (count == 0 && report->latency != NULL && report->latency(report, *at, out)) {
        for (unsigned i = 0; i < LARDER_LATENCY_BUCKETS; i++) {
            count += out->buckets[i];
        }
        ++*at;
    }
    return count;
}

uint64_t lr_report_latency_limit(unsigned bucket) {
    return bucket + 1 < LARDER_LATENCY_BUCKETS ? (uint64_t)1 << (bucket + LARDER_LATENCY_SHIFT)
                                               : UINT64_MAX;
}

uint64_t lr_report_latency_below(const struct larder_latency_stats *latency, uint64_t count) {
    unsigned i = 0;
    for (uint64_t sum = latency->buckets[0]; sum < count && i + 1 < LARDER_LATENCY_BUCKETS;
         sum += latency->buckets[i]) {
        i++;
    }
    return lr_report_latency_limit(i);
}
