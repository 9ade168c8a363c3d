// SPDX-License-Identifier: Apache-2.0
// What a look at a block found: filled in under a lock, reported without one.
#ifndef LARDER_HARD_VERDICT_H
#define LARDER_HARD_VERDICT_H

#include <stddef.h>

enum lr_fault {
    LR_FAULT_NONE,
    LR_FAULT_NOT_A_BLOCK, // no block begins there
    LR_FAULT_FREED,       // it is free already
    LR_FAULT_OVERFLOW,    // what lies behind the block was changed
    LR_FAULT_WRITTEN,     // a free block was changed
};

struct lr_verdict {
    enum lr_fault fault;
    const void *block;
    size_t bytes; // that were asked for; of a free block, that it has room for
    size_t at; // LR_FAULT_OVERFLOW, LR_FAULT_WRITTEN: of the changed byte, from the block's start
};

#endif
