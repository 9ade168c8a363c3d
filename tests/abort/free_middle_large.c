// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: .*, thread [0-9]+$
// signal: SIGABRT
//
// An address inside a large block, on a page of it.
#include "misuse.h"

int main(void) {
    char *const block = larder_malloc((size_t)1 << 20);
    memset(block, 1, (size_t)1 << 20);
    larder_free(opaque(block + 65536));
    if (block[65536] != 1)
        return 5;
    larder_free(block);
    expect_heap_works();
    return 0;
}
