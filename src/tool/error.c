// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf/option_table.h"
#include "tool/tool.h"

void lr_tool_verror(const char *format, va_list arguments) {
    fputs("larder: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void lr_tool_error(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    lr_tool_verror(format, arguments);
    va_end(arguments);
}

const char *lr_tool_nearest(const char *name, const char *(*name_at)(unsigned), unsigned count) {
    static char text[96];
    const unsigned nearest = lr_nearest_name(name, strlen(name), name_at, count);
    *text = '\0';
    if (nearest < count) {
        snprintf(text, sizeof text, ", the nearest is '%s'", name_at(nearest));
    }
    return text;
}
