// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: double free of 0x.*: freed before, in .* 1000000 bytes, thread [0-9]+$
// signal: SIGABRT
// environment: LARDER_HARDENED=1
//
// The same of a block with pages of its own.
#include "misuse.h"

int main(void) {
    char *const block = larder_malloc(1000000);
    larder_free(block);
    larder_free(opaque(block));
    expect_heap_works();
    return 0;
}
