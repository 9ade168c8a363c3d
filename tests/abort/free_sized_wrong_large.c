// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: .*free of 0x[0-9a-f]+.*, thread [0-9]+$
// signal: SIGABRT
//
// A sized free of a small block with the size of a large one.
#include "misuse.h"

int main(void) {
    void *const block = larder_malloc(100);
    larder_free_sized(opaque(block), (size_t)1 << 20);
    settle();
    expect_heap_works();
    return 0;
}
