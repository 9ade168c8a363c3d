// SPDX-License-Identifier: Apache-2.0
// Blocks above the largest size class, or aligned to more than a page.
#ifndef LARDER_HEAP_LARGE_H
#define LARDER_HEAP_LARGE_H

#include <stdbool.h>
#include <stddef.h>

// `size` at most PTRDIFF_MAX, `align` a power of two. NULL: out of memory. *zeroed: reads as zero.
void *lr_large_alloc(size_t size, size_t align, bool *zeroed);

// False if the pointer is not the start of a large block.
bool lr_large_free(void *block);

// Usable bytes; 0 if the pointer is not the start of a large block.
size_t lr_large_bytes(const void *block);

// The block's contents in a block of at least `size` bytes, more than it had, without copying; the
// old one is gone. NULL, with nothing changed: copy them.
void *lr_large_move(void *block, size_t size);

// Makes the block's usable size at least `size` without moving it; gives pages back if it shrinks.
// False if the pages behind it are in use.
bool lr_large_resize(void *block, size_t size);

#endif
