// SPDX-License-Identifier: Apache-2.0
// Gives free pages back to the OS. Safe from any thread that holds no lock of Larder.
#ifndef LARDER_HEAP_RELEASE_H
#define LARDER_HEAP_RELEASE_H

#include <stddef.h>
#include <stdint.h>

// Returns up to `pages` free pages (whole empty huge pages may round it up); how many went back.
size_t lr_release_pages(size_t pages);

struct release_counts {
    uint64_t pages; // returned since the start
    uint64_t calls; // madvise and process_madvise calls
};
struct release_counts lr_release_counts(void);

#endif
