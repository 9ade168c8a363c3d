// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: .*, thread [0-9]+$
// signal: SIGABRT
//
// A block with pages of its own, twice: seen at once.
#include "misuse.h"

int main(void) {
    void *const block = larder_malloc((size_t)1 << 20);
    memset(block, 1, (size_t)1 << 20);
    larder_free(block);
    larder_free(opaque(block));
    expect_heap_works();
    return 0;
}
