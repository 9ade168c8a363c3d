// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x.*: no block begins there, thread [0-9]+$
// signal: SIGABRT
// environment: LARDER_HARDENED=1
//
// A pointer into a block.
#include "misuse.h"

int main(void) {
    char *const block = larder_malloc(100);
    larder_free(opaque(block + 16));
    larder_free(block);
    expect_heap_works();
    return 0;
}
