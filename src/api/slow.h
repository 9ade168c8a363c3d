// SPDX-License-Identifier: Apache-2.0
// What malloc and free do when the thread's cache cannot serve them. errno is kept unless said.
#ifndef LARDER_API_SLOW_H
#define LARDER_API_SLOW_H

#include <stdbool.h>
#include <stddef.h>

// Any size; NULL with errno ENOMEM.
void *lr_alloc_slow(size_t size);
// The same; *zeroed says whether the block is known to read as zero.
void *lr_alloc_maybe_zeroed(size_t size, bool *zeroed);
// Any size at `align`, a power of two; NULL with errno ENOMEM.
void *lr_alloc_aligned_slow(size_t align, size_t size);
// Any pointer; reports those that are not blocks.
void lr_free_slow(void *block);
// Usable bytes of a block; 0 for pointers that lead to no block, and for those that lr_hard_owns().
// Nothing is reported. Small blocks are told by their
// page: a pointer into one gives its size.
size_t lr_block_bytes(const void *block);
// lr_large_resize(), seen by the sampler.
void *lr_resize_large(void *block, size_t size);
// Gives the calling thread's cached blocks back; the bytes of them.
size_t lr_flush_own_cache(void);

// The same at the end of the process, for the checks that blocks meet on their way: what was freed
// wrongly and lies in this thread's cache, or between threads, is reported.
void lr_check_cached(void);

#endif
