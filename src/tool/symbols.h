// SPDX-License-Identifier: Apache-2.0
// Names of functions from the symbol tables of ELF files. Names live as long as the command.
#ifndef LARDER_TOOL_SYMBOLS_H
#define LARDER_TOOL_SYMBOLS_H

#include <stdint.h>

// The function at `offset` of the file at `root` and `path`; NULL: it is not known. A file is read
// once. C++ names are as the linker has them.
const char *lr_symbol_find(const char *root, const char *path, uint64_t offset);

// "[name+0x12]" of the last part of a path, or "[0x12]" without one.
const char *lr_symbol_unknown(const char *path, uint64_t offset);

#endif
