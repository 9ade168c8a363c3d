// SPDX-License-Identifier: Apache-2.0
// Sampled guards (LARDER_GUARD_SAMPLE): a few allocations get a place between pages that cannot be
// accessed, and keep it for a while after they are freed, so that misuse of them faults where it
// happens, and is reported with the stacks of the access, the allocation and the free.
//
// Memory is bounded: a fixed number of places. When all are in use a sample is dropped.
#ifndef LARDER_PROF_GUARD_H
#define LARDER_PROF_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "sync/lock.h"

#define LR_GUARD_BYTES_MAX (32 * LR_KIB) // usable bytes of the largest block that is guarded

extern struct lr_lock lr_guard_lock;

// Once, before the first sample.
void lr_guard_init(void);

void lr_guard_after_fork_child(void);

// If the pointer lies in a place: reports that it was freed or resized wrongly, and says so. No
// lock of Larder is held.
bool lr_guard_report_free(const void *pointer);

// False if the pointer lies in no place; else *bytes are those from it to the end of the live block
// that it leads into, 0 if there is none.
bool lr_guard_bytes_from(const void *pointer, size_t *bytes);

#endif
