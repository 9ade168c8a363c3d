// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid realloc of 0x[0-9a-f]+: .*, thread [0-9]+$
// signal: SIGABRT
//
// realloc of a large block that was freed.
#include "misuse.h"

int main(void) {
    void *const block = larder_malloc((size_t)1 << 20);
    larder_free(block);
    void *const moved = larder_realloc(opaque(block), (size_t)2 << 20);
    larder_free(moved);
    expect_heap_works();
    return 0;
}
