// SPDX-License-Identifier: Apache-2.0
// Values on the command line. False if the text is none; whole texts only.
#ifndef LARDER_TOOL_ARGUMENTS_H
#define LARDER_TOOL_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

bool lr_argument_pid(const char *text, pid_t *out);
bool lr_argument_number(const char *text, uint64_t *out);
bool lr_argument_seconds(const char *text, double *out); // above 0, at most a day; "0.5"

enum { ARGUMENT_OPTION_BYTES = 64 };
// Of NAME=VALUE the value, with the name of the option in `name`, cut to what fits: in small
// letters, and without the LARDER_ that it has in an environment. NULL: it is no NAME=VALUE.
const char *lr_argument_option(const char *assignment, char name[ARGUMENT_OPTION_BYTES]);

#endif
