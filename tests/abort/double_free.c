// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: double free, .* 112 byte blocks, thread [0-9]+$
// signal: SIGABRT
//
// The same small block twice in a row.
#include "misuse.h"

int main(void) {
    void *const block = larder_malloc(100);
    larder_free(block);
    larder_free(opaque(block));
    settle();
    expect_heap_works();
    return 0;
}
