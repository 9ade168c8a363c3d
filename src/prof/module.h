// SPDX-License-Identifier: Apache-2.0
// Executable mappings of the process, with the unwind tables of those that are ELF files: a
// snapshot that is read without a lock and made without the loader's.
#ifndef LARDER_PROF_MODULE_H
#define LARDER_PROF_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lr_module {
    size_t start; // of the executable mapping
    size_t end;
    size_t header; // address of .eh_frame_hdr; 0: none that is understood
    size_t table;  // of its sorted table of (function, FDE), 32-bit offsets from `header`
    size_t count;  // entries
};

// The mapping with executable code that the address lies in; NULL: none is known. Entries are never
// taken away: one of a library that was unloaded may be found until another mapping has its place,
// so that what it leads to is read by lr_os_peek().
const struct lr_module *lr_module_find(size_t address);

// Reads the mappings anew if the last time is a second ago; false: it is not, or another thread is
// at it. No lock is held or taken.
bool lr_module_refresh(void);

#endif
