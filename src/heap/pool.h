// SPDX-License-Identifier: Apache-2.0
// Pools: large pieces of the window, made usable one after the other from its start.
#ifndef LARDER_HEAP_POOL_H
#define LARDER_HEAP_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Adds at least `huge_pages` huge pages behind the last pool, with the maps that cover them.
// Returns the first one's number and how many in *count; 0 if the window is full or the OS refuses.
// Caller holds the pool lock.
uint32_t lr_pool_grow_locked(size_t huge_pages, uint32_t *count);

// Bytes of all pools.
size_t lr_pool_bytes(void);

#endif
