// SPDX-License-Identifier: Apache-2.0
#include "hard/random.h"

#include "os/os.h"

unsigned lr_random_below(struct lr_random *random, unsigned bound) {
    if (random->left == 0) {
        lr_os_random(random->numbers, sizeof random->numbers);
        random->left = LR_RANDOM_BATCH;
    }
    // Used once: a number that stays in memory would tell where the next block lies.
    uint32_t number = random->numbers[--random->left];
    random->numbers[random->left] = 0;
    return (unsigned)(number * (uint64_t)bound >> 16);
}
