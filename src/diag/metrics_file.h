// SPDX-License-Identifier: Apache-2.0
// The file that LARDER_METRICS_FILE names. All of it but the last is for the scavenger thread.
#ifndef LARDER_DIAG_METRICS_FILE_H
#define LARDER_DIAG_METRICS_FILE_H

#include <stdint.h>

#include "base/attr.h"

// When the file is to be written next, as lr_os_now_ns() counts; UINT64_MAX: never.
uint64_t lr_metrics_file_due_ns(void);

// Writes it if that time has come.
void lr_metrics_file_serve(void);

// A child must not write the file of its parent: it has one of its own if the name has a %p.
void lr_metrics_file_after_fork_child(void);

// At exit: takes the file away, for its figures are no longer true.
LR_COLD void lr_metrics_file_end(void);

#endif
