// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: larder_object_size of 0x.*: freed before, in .* 112 bytes, thread [0-9]+$
// signal: SIGABRT
// environment: LARDER_HARDENED=1
//
// The size of a freed block, from its middle.
#include "misuse.h"

int main(void) {
    char *const block = larder_malloc(100);
    larder_free(block);
    if (larder_object_size(opaque(block + 30)) != 0)
        return 5;
    expect_heap_works();
    return 0;
}
