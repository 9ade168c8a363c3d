// SPDX-License-Identifier: Apache-2.0
// Walks all blocks of the heap while it is used.
#ifndef LARDER_DIAG_WALK_H
#define LARDER_DIAG_WALK_H

#include <larder/stats.h>

#include "base/attr.h"

// As larder_heap_walk() of <larder/stats.h>. The caller holds no lock of Larder.
LR_COLD int lr_heap_walk(larder_heap_visitor visit, void *context);

#endif
