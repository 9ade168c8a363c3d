// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: double free of 0x.*: freed before, in .* 112 bytes, thread [0-9]+$
// signal: SIGABRT
// environment: LARDER_HARDENED=1
//
// A second free is seen at once, although others came in between.
#include "misuse.h"

int main(void) {
    char *const block = larder_malloc(100);
    void *const other = larder_malloc(100);
    larder_free(block);
    larder_free(other);
    larder_free(opaque(block));
    expect_heap_works();
    return 0;
}
