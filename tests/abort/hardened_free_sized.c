// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: sized free of 0x.* with size 104, but the block has 100 bytes, thread [0-9]+$
// signal: SIGABRT
// environment: LARDER_HARDENED=1
//
// A size that is not the one asked for, though the block could have it.
#include "misuse.h"

int main(void) {
    char *const block = larder_malloc(100);
    larder_free_sized(opaque(block), 104);
    expect_heap_works();
    return 0;
}
