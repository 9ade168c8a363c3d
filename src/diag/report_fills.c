// SPDX-License-Identifier: Apache-2.0
// Spans by how full they are, as reports show them.
#include "diag/report.h"

bool lr_report_fills(const struct lr_report *report, unsigned i, struct larder_span_fills *out) {
    uint64_t sum = 0;
    if (report->fills == NULL || !report->fills(report, i, out)) {
        return false;
    }
    for (unsigned f = 0; f < LARDER_SPAN_FILLS; f++) {
        sum += out->spans[f];
    }
    return sum != 0;
}

const char *lr_report_fill_name(unsigned index) {
    static const char *const names[LARDER_SPAN_FILLS] = {"none", "<1/8", "<2/8", "<3/8", "<4/8",
                                                         "<5/8", "<6/8", "<7/8", "<8/8", "all"};
    return names[index];
}
