// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: double free, .* 65536 byte blocks, thread [0-9]+$
// signal: SIGABRT
//
// Blocks of spans that have become empty a moment before, in the same batch.
#include "misuse.h"

// Spans of a few blocks, so that the second copies come after all of a span has come back, while
// one empty span is already kept in reserve.
enum { COUNT = 64, TWICE = 16, BYTES = 65536 };

int main(void) {
    void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        blocks[i] = larder_malloc(BYTES);
    for (unsigned i = 0; i < COUNT - TWICE; i++)
        larder_free(blocks[i]);
    settle();
    for (unsigned i = 0; i < 2 * TWICE; i++)
        larder_free(opaque(blocks[COUNT - TWICE + i % TWICE]));
    settle();
    expect_heap_works();

    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = larder_malloc(BYTES);
        memset(blocks[i], (int)i, BYTES);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (*(unsigned char *)blocks[i] != i)
            return 5;
        larder_free(blocks[i]);
    }
    return 0;
}
