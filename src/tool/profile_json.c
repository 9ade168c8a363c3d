// SPDX-License-Identifier: Apache-2.0
// A profile as JSON: all stacks with all their sums.
#include <inttypes.h>
#include <stdlib.h>

#include "diag/report.h"
#include "tool/profile_data.h"

static const char *const columns[PROFILE_COLUMN_COUNT] = {
#define PROFILE_COLUMN(name) #name,
    PROFILE_COLUMNS(PROFILE_COLUMN)
#undef PROFILE_COLUMN
};

static void print_stack(struct lr_print *p, const struct profile *profile,
                        const struct profile_stack *stack) {
    lr_print_str(p, "{");
    for (unsigned c = 0; c < PROFILE_COLUMN_COUNT; c++) {
        lr_print_f(p, "\"%s\": %ld, ", columns[c], (long)stack->values[c]);
    }
    lr_print_str(p, "\"frames\": [");
    for (unsigned f = 0; f < stack->depth; f++) {
        lr_print_str(p, f == 0 ? "" : ", ");
        lr_report_quote(p, lr_profile_location(profile, stack->pcs[f])->function);
    }
    lr_print_str(p, "]}");
}

bool lr_profile_json(const struct profile *profile, const struct profile_kind *kind, FILE *out) {
    char buffer[4096];
    struct lr_print p;
    int64_t total = 0;
    const struct profile_stack **sorted = lr_profile_sorted(profile, kind, &total);
    if (fflush(out) != 0) {
        free(sorted);
        return false;
    }
    lr_print_init(&p, buffer, sizeof buffer, fileno(out));
    lr_print_f(&p,
               "{\"kind\": \"%s\", \"column\": \"%s\", \"unit\": \"%s\", \"total\": %ld,\n"
               " \"pid\": %lu, \"interval_bytes\": %lu, \"samples\": %lu, "
               "\"samples_dropped\": %lu,\n \"stacks\": [",
               kind->name, columns[kind->column], kind->unit, (long)total,
               (unsigned long)profile->process, (unsigned long)profile->interval,
               (unsigned long)profile->samples, (unsigned long)profile->samples_dropped);
    for (size_t i = 0; i < profile->stack_count; i++) {
        lr_print_str(&p, i == 0 ? "\n  " : ",\n  ");
        print_stack(&p, profile, sorted[i]);
    }
    lr_print_str(&p, "]}\n");
    free(sorted);
    return lr_print_flush(&p) == 0;
}
