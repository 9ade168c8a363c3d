// SPDX-License-Identifier: Apache-2.0
// What the subcommands of `larder` share. The command is a program of its own: of Larder it has the
// option table and the formatter, never the allocator, and it looks at other processes from
// outside.
#ifndef LARDER_TOOL_TOOL_H
#define LARDER_TOOL_TOOL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/attr.h"

// Exit statuses, for `run` besides 126 and 127 of env(1) and whatever the program ends with.
enum {
    TOOL_OK = 0,
    TOOL_FAILED = 1,    // what was asked for could not be done; a line on standard error says why
    TOOL_USAGE = 2,     // the command line is wrong
    TOOL_NO_LARDER = 3, // the process does not use Larder, or shows no page
};

// Each gets argv[0] = "larder" and its own name, and returns an exit status.
#define COMMAND(name, arguments, help) int lr_cmd_##name(int argc, char **argv);
#include "tool/commands.def"

// "larder: ..." and a newline on standard error.
void lr_tool_error(const char *format, ...) LR_PRINTF(1, 2);
void lr_tool_verror(const char *format, va_list arguments);
// The same, followed by the usage line of `command`; returns TOOL_USAGE.
int lr_tool_usage(const char *command, const char *format, ...) LR_PRINTF(2, 3);
// The same after getopt() has said what is wrong.
int lr_tool_misused(const char *command);

// ", the nearest is 'NAME'", or "" where none is near; until the next call.
const char *lr_tool_nearest(const char *name, const char *(*name_at)(unsigned), unsigned count);

// For a program that is to be started, in the environment; false, with a line said, if it cannot
// be.
bool lr_tool_set_assignment(const char *assignment); // NAME=VALUE, refused as the library would
bool lr_tool_set_preset(const char *name);
bool lr_tool_set_preload(const char *library);

// What `larder help options` shows.
void lr_tool_print_options(FILE *out);

// The path of the liblarder.so that belongs to this command; false if there is none.
bool lr_tool_library(char *path, size_t bytes);

#endif
