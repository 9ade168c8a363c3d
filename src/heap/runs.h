// SPDX-License-Identifier: Apache-2.0
// Free runs of whole huge pages, kept apart by whether they hold memory (dirty) or not (clean), so
// that what was freed last is reused before new memory is touched. All under the span-heap lock.
#ifndef LARDER_HEAP_RUNS_H
#define LARDER_HEAP_RUNS_H

#include "heap/huge_page.h"

enum run_kind { RUN_DIRTY, RUN_CLEAN, RUN_KINDS };

// Adds huge pages [first, first+count), joining neighbours of the same kind. The members' bits must
// be set already: nothing used, and everything clean for RUN_CLEAN.
void lr_runs_add(uint32_t first, uint32_t count, enum run_kind kind);

// Takes `count` huge pages out of the smallest fitting run of the kind; the first one's number is a
// multiple of `align` (power of two). 0 if none fits.
uint32_t lr_runs_take(uint32_t count, uint32_t align, enum run_kind kind);

// Takes `count` huge pages from the largest dirty run together with its clean neighbours. 0 if
// they do not suffice.
uint32_t lr_runs_take_joined(uint32_t count);

// Takes the single huge page `huge`, which must be the first member of its run.
void lr_runs_take_first(uint32_t huge);

// The first huge page of some run of the kind, the longest first; 0 if there is none.
uint32_t lr_runs_longest(enum run_kind kind);

// Takes up to `most` huge pages from the end of the run that begins at `first`; returns the first
// one taken and how many in *count.
uint32_t lr_runs_take_tail(uint32_t first, uint32_t most, uint32_t *count);

#endif
