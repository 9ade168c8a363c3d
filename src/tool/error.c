// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>

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
