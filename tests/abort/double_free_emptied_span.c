// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: .*, thread [0-9]+$
// signal: SIGABRT
//
// Blocks of spans that became empty a moment before, in the same batch.
#include "misuse.h"

// A few spans of 8 KiB blocks come back whole, followed by second copies of their blocks.
enum { COUNT = 256, TWICE = 32, BYTES = 8192 };

static void *blocks[COUNT];

static void allocate_all(void) {
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = larder_malloc(BYTES);
        if (blocks[i] == NULL)
            exit(3);
        memset(blocks[i], (int)i, BYTES);
    }
}

int main(void) {
    allocate_all();
    for (unsigned i = TWICE; i < COUNT; i++)
        larder_free(blocks[i]);
    settle();
    for (unsigned i = 0; i < 2 * TWICE; i++)
        larder_free(opaque(blocks[i % TWICE]));
    settle();
    expect_heap_works();

    allocate_all();
    for (unsigned i = 0; i < COUNT; i++) {
        if (*(unsigned char *)blocks[i] != i)
            return 5;
        larder_free(blocks[i]);
    }
    return 0;
}
