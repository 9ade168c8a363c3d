// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid realloc of 0x[0-9a-f]+: .*, thread [0-9]+$
// signal: SIGABRT
// environment: LARDER_HARDENED=1
//
// realloc of an array that the program has anyway.
#include "misuse.h"

static char array[64];

int main(void) {
    if (larder_realloc(opaque(array), 1000) != NULL)
        return 5;
    expect_heap_works();
    return 0;
}
