// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: double free, .* 1024 byte blocks, thread [0-9]+$
// signal: SIGABRT
//
// A small block twice, with others of its class freed in between.
#include "misuse.h"

int main(void) {
    enum { COUNT = 500 };
    void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        blocks[i] = larder_malloc(1000);
    for (unsigned i = 0; i < COUNT; i += 2) // the others keep the spans
        larder_free(blocks[i]);
    larder_free(opaque(blocks[COUNT / 2]));
    settle();
    for (unsigned i = 1; i < COUNT; i += 2)
        larder_free(blocks[i]);
    expect_heap_works();
    return 0;
}
