// SPDX-License-Identifier: Apache-2.0
// The options of the library, for people.
#include <stdio.h>

#include "conf/option_table.h"
#include "tool/tool.h"

void lr_tool_print_options(FILE *out) {
    fprintf(out, "%-22s %-13s %-9s %s\n", "OPTION", "DEFAULT", "CHANGES", "ACCEPTED");
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        const struct lr_option_row *row = lr_option_row(id);
        char value[64];
        char range[128];
        struct lr_print p;
        lr_print_init(&p, value, sizeof value, -1);
        lr_option_print_value(&p, id, row->fallback);
        lr_print_init(&p, range, sizeof range, -1);
        lr_option_print_range(&p, id);
        fprintf(out, "%-22s %-13s %-9s %s\n    %s\n", lr_option_name(id), value,
                row->when == LR_WHEN_RUNTIME ? "any time" : "at start", range, lr_option_help(id));
    }
    fputs("\nAs variables of the environment they are LARDER_ and the name in capitals; with\n"
          "`larder run --opt NAME=VALUE` and `larder set PID NAME=VALUE` as above.\n",
          out);
}
