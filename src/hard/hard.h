// SPDX-License-Identifier: Apache-2.0
// Hardened mode (LARDER_HARDENED=1): what api/ asks instead of the caches. No thread has a cache
// then, so every call takes the slow path, which looks at lr_hardened.
//
// Reports follow LARDER_ON_ERROR. No lock of Larder may be held.
#ifndef LARDER_HARD_HARD_H
#define LARDER_HARD_HARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

extern bool lr_hardened LR_HIDDEN; // set once, at start

// Turns hardened mode on. Blocks that were handed out before stay what they are.
void lr_hard_enable(void);

// True if the pointer leads to a block, live or freed, of hardened mode.
bool lr_hard_owns(const void *block);

// True if a live block of hardened mode begins there. Any pointer; nothing is reported.
bool lr_hard_is_block(const void *p);

// `align` is a power of two. The block reads as zero. NULL: out of memory, or no such size.
void *lr_hard_alloc(size_t size, size_t align);
// As lr_hard_alloc(), for what realloc() moves because it gets longer: it may do so again. NULL:
// lr_hard_alloc() has to do.
void *lr_hard_alloc_to_grow(size_t size);

// For pointers that lr_hard_owns().
void lr_hard_free(void *block);
// As lr_hard_free(), for a block that should have been asked for with this size and alignment.
void lr_hard_free_sized(void *block, size_t size, size_t align);
// Any pointer. False if it is not a live block, which is reported as a wrong `use` of it, with
// *bytes 0; else *bytes are what was asked for.
bool lr_hard_bytes(const void *block, const char *use, size_t *bytes);
struct span;
// Bytes from a pointer, which leads into `span` (NULL: into none), to the end of the live block
// there. What is no such pointer is reported; then, and behind the block, 0.
size_t lr_hard_bytes_from(struct span *span, const void *inside);
// Makes a live block `size` (not 0) bytes long where it is, if possible.
bool lr_hard_resize(void *block, size_t size);

// Looks at all blocks there are, and reports overflows and writes after free.
void lr_hard_check_all(void);

#endif
