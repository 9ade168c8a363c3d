// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid (free|realloc) of 0x[0-9a-f]+: .*, thread [0-9]+$
// signal: SIGABRT
//
// realloc of a small block that was freed: the old block is freed a second time.
#include "misuse.h"

int main(void) {
    void *const block = larder_malloc(100);
    larder_free(block);
    void *const moved = larder_realloc(opaque(block), 10000);
    larder_free(moved);
    settle();
    expect_heap_works();
    return 0;
}
