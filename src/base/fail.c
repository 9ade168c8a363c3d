// SPDX-License-Identifier: Apache-2.0
#include "base/fail.h"

#include <stdlib.h>

#include "base/print.h"

void lr_fatal(const char *text, const char *file, int line) {
    lr_print_line("larder: %s (%s:%d)\n", text, file, line);
    abort();
}
