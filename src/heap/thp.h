// SPDX-License-Identifier: Apache-2.0
// Whether the kernel backs huge pages of the heap whole: at the first touch of one of its pages all
// 2 MiB become resident, which saves 511 faults and most TLB misses.
#ifndef LARDER_HEAP_THP_H
#define LARDER_HEAP_THP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/atomic.h"

enum lr_thp_mode {
    LR_THP_MODE_SMALL,  // not now: the heap is small, or huge pages are not to be had
    LR_THP_MODE_ASKING, // those that the span heap asks for, one by one
    LR_THP_MODE_WHOLE,  // all of them
};

// Spans, by how surely they are touched all over soon after they were taken.
enum lr_thp_kind {
    LR_THP_SMALL,   // blocks of up to 9 KiB: always
    LR_THP_LARGER,  // blocks of up to 64 KiB
    LR_THP_BUFFERS, // blocks of up to 512 KiB
    LR_THP_LARGE,   // larger ones: see lr_thp_large_filled()
    LR_THP_KINDS,
};

// Of spans of blocks of so many bytes.
enum lr_thp_kind lr_thp_kind_of(size_t block_bytes);

// The heap has grown to `pool_bytes`. Takes the system's settings into account (one file read,
// once).
void lr_thp_decide(size_t pool_bytes);
enum lr_thp_mode lr_thp_mode(void);
// True if spans of the kind are known to be touched: once half of a huge page that they filled was
// resident.
bool lr_thp_filled(enum lr_thp_kind kind);
// Looks at such a huge page, of which `used_bytes` are used: one system call, no lock.
void lr_thp_look_at(enum lr_thp_kind kind, void *huge, size_t used_bytes);
// True once large blocks of about this size were filled: huge pages would not have made much more
// of them resident.
bool lr_thp_large_filled(size_t pages);
// Look at a large block whose pages held no memory before: one that may not be filled yet, and one
// that is about to be freed (now and then).
void lr_thp_look_at_live(char *start, size_t pages);
void lr_thp_look_at_freed(char *start, size_t pages);
// From now on none are asked for: guard pages would break each of them up.
void lr_thp_forbid(void);

#endif
