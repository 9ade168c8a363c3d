// SPDX-License-Identifier: Apache-2.0
// What the loader would do with a file.
#ifndef LARDER_TOOL_ELF_FILE_H
#define LARDER_TOOL_ELF_FILE_H

#include <stdbool.h>

// Why preloading the file would not give a program its malloc; NULL if it would.
const char *lr_elf_no_malloc(const char *path);

// A program for this machine into which nothing can be preloaded. False for what cannot be read,
// and for scripts.
bool lr_elf_is_static(const char *path);

#endif
