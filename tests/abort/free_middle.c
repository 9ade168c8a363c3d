// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: .*not a block, .* 1024 byte blocks, thread [0-9]+$
// signal: SIGABRT
//
// An address inside a small block.
#include "misuse.h"

int main(void) {
    char *const block = larder_malloc(1000);
    memset(block, 1, 1000);
    larder_free(opaque(block + 16));
    settle();
    larder_free(block);
    expect_heap_works();
    return 0;
}
