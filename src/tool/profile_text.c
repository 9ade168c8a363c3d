// SPDX-License-Identifier: Apache-2.0
// A profile for people: the stacks that have most, each with its frames.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/print.h"
#include "tool/profile_data.h"

enum { STACKS_SHOWN = 20, FRAMES_SHOWN = 16 };

static void print_value(FILE *out, const struct profile_kind *kind, int64_t value) {
    char text[64];
    struct lr_print p;
    lr_print_init(&p, text, sizeof text, -1);
    const uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    if (value < 0) {
        lr_print_char(&p, '-');
    }
    if (strcmp(kind->unit, "bytes") == 0) {
        lr_print_bytes(&p, size);
    } else {
        lr_print_u64(&p, size);
        lr_print_str(&p, strcmp(kind->unit, "count") == 0 ? "" : " ns");
    }
    fprintf(out, "%12s", text);
}

bool lr_profile_text(const struct profile *profile, const struct profile_kind *kind, FILE *out) {
    int64_t total = 0;
    const struct profile_stack **sorted = lr_profile_sorted(profile, kind, &total);
    print_value(out, kind, total);
    fprintf(out, "  %s; %" PRIu64 " samples, one in %" PRIu64 " bytes", kind->title,
            profile->samples, profile->interval);
    if (profile->samples_dropped > 0) {
        fprintf(out, ", %" PRIu64 " dropped", profile->samples_dropped);
    }
    fputc('\n', out);
    if (profile->samples == 0) {
        fputs(
            "  nothing was sampled: what was allocated before is not known, and since then it was\n"
            "  too little for this interval; take a smaller --interval or more --seconds\n",
            out);
    }
    for (size_t i = 0; i < profile->stack_count && i < STACKS_SHOWN; i++) {
        const struct profile_stack *stack = sorted[i];
        if (stack->values[kind->column] == 0) {
            break;
        }
        print_value(out, kind, stack->values[kind->column]);
        const double share =
            total > 0 ? 100.0 * (double)stack->values[kind->column] / (double)total : 0;
        fprintf(out, " %5.1f %%", share);
        for (unsigned f = 0; f < stack->depth && f < FRAMES_SHOWN; f++) {
            fprintf(out, "%s%s\n", f == 0 ? "  " : "                       ",
                    lr_profile_location(profile, stack->pcs[f])->function);
        }
        if (stack->depth == 0) {
            fputs("  (unknown)\n", out);
        }
    }
    free(sorted);
    return ferror(out) == 0;
}
