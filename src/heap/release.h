// SPDX-License-Identifier: Apache-2.0
// Gives free pages back to the OS. Safe from any thread that holds no lock of Larder.
#ifndef LARDER_HEAP_RELEASE_H
#define LARDER_HEAP_RELEASE_H

#include <stddef.h>
#include <stdint.h>

#include "heap/span_heap.h"
#include "sync/lock.h"

// Held while pages are claimed and given to the kernel: a fork waits for it, or the claim would be
// lost to the child; so does an allocation that has run out of memory.
extern struct lr_lock lr_release_lock;

// Returns up to `pages` free pages (whole empty huge pages may round it up); how many went back.
size_t lr_release_pages(size_t pages, enum lr_breaks breaks);

struct release_counts {
    uint64_t pages; // returned since the start
    uint64_t calls; // madvise and process_madvise calls
};
struct release_counts lr_release_counts(void);

#endif
