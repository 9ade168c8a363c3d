// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: .*, thread [0-9]+$
// signal: SIGABRT
//
// A block of many huge pages, twice: seen at once.
#include "misuse.h"

int main(void) {
    void *const block = larder_malloc((size_t)100 << 20);
    larder_free(block);
    larder_free(opaque(block));
    expect_heap_works();
    return 0;
}
