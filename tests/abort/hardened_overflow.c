// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: overflow of 0x.*, a block of 100 bytes: byte 103 was changed, thread [0-9]+$
// signal: SIGABRT
// environment: LARDER_HARDENED=1
//
// Bytes behind the end were written; freeing the block shows it.
#include "misuse.h"

int main(void) {
    char *const block = larder_malloc(100);
    damage(block + 103, 2);
    larder_free(block);
    expect_heap_works();
    return 0;
}
