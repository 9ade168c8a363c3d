// SPDX-License-Identifier: Apache-2.0
// Random numbers that an attacker cannot foretell: bytes of the kernel, fetched a batch at a time.
#ifndef LARDER_HARD_RANDOM_H
#define LARDER_HARD_RANDOM_H

#include <stdint.h>

enum { LR_RANDOM_BATCH = 128 }; // a system call in 128 numbers

// Guarded by the lock of whoever owns it; all zero at first.
struct lr_random {
    uint16_t numbers[LR_RANDOM_BATCH];
    uint32_t left;
};

// A number below `bound`, which is from 1 to 65536.
unsigned lr_random_below(struct lr_random *random, unsigned bound);

#endif
