// SPDX-License-Identifier: Apache-2.0
#include "tool/arguments.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

bool lr_argument_number(const char *text, uint64_t *out) {
    char *end;
    if (*text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0;
}

bool lr_argument_pid(const char *text, pid_t *out) {
    uint64_t number;
    if (!lr_argument_number(text, &number) || number == 0 || number > INT_MAX) {
        return false;
    }
    *out = (pid_t)number;
    return true;
}

bool lr_argument_seconds(const char *text, double *out) {
    char *end;
    if ((*text < '0' || *text > '9') && *text != '.') {
        return false;
    }
    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out > 0 && *out <= 86400;
}
