// SPDX-License-Identifier: Apache-2.0
#include "tool/arguments.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

const char *lr_argument_option(const char *assignment, char name[ARGUMENT_OPTION_BYTES]) {
    static const char prefix[] = "LARDER_";
    const size_t skipped =
        strncasecmp(assignment, prefix, sizeof prefix - 1) == 0 ? sizeof prefix - 1 : 0;
    const char *equals = strchr(assignment, '=');
    const char *from = assignment + skipped;
    if (equals == NULL || equals <= from) {
        return NULL;
    }
    size_t length = 0;
    for (; from < equals && length < ARGUMENT_OPTION_BYTES - 1; from++) {
        name[length++] = (char)tolower((unsigned char)*from);
    }
    name[length] = '\0';
    return equals + 1;
}
