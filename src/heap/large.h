// SPDX-License-Identifier: Apache-2.0
// Blocks above the largest size class, or aligned to more than a page.
#ifndef LARDER_HEAP_LARGE_H
#define LARDER_HEAP_LARGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/config.h"

struct span;

// `size` at most PTRDIFF_MAX, `align` a power of two. NULL: out of memory. *zeroed: reads as zero.
void *lr_large_alloc(size_t size, size_t align, bool *zeroed);

// False if the pointer is not the start of a large block.
bool lr_large_free(void *block);

// Usable bytes; 0 if the pointer is not the start of a large block.
size_t lr_large_bytes(const void *block);

// The span in the window that the pointer leads into, large or small; NULL: none. Goes down the map
// from the pointer's page, since of a large span only the beginning is in it. Without a lock: a
// span that nobody frees meanwhile is found.
struct span *lr_large_span_around(const void *inside);

// Any page below lr_window.pages: bytes of the large block that begins there at the moment; 0:
// none.
size_t lr_large_look(size_t page);

// Blocks of at least this size that have to move to grow leave the window. (It is where glibc's
// threshold for mapped blocks ends too: mapping smaller ones anew costs more than copying them.)
#define LR_LARGE_MOVE_OUT (32 * LR_MIB)

// Makes the block's usable size at least `size`, where it is or by moving its pages; gives pages
// back if it shrinks. Where the block is now; NULL, with nothing changed: the contents have to be
// copied to another block.
void *lr_large_resize(void *block, size_t size);

#endif
