// SPDX-License-Identifier: Apache-2.0
// Return addresses as text for people: the file and the offset in it, as addr2line wants them.
#ifndef LARDER_PROF_FRAMES_H
#define LARDER_PROF_FRAMES_H

#include <stddef.h>

#include "base/print.h"

// How many of the innermost frames are Larder's own; 0 in a static executable.
unsigned lr_frames_own(const size_t *pcs, unsigned depth);

// A line for each; addresses of no file are left out. Reads /proc/self/maps, takes no lock.
void lr_frames_print(struct lr_print *p, const size_t *pcs, unsigned depth);

// "  called at", and a line for each of the first frames outside of Larder's own code: who called
// it.
void lr_frames_print_callers(struct lr_print *p);

#endif
