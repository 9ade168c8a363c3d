// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid malloc_usable_size of 0x[0-9a-f]+: freed before, .*, thread [0-9]+$
// signal: SIGABRT
//
// malloc_usable_size of a large block that was freed.
#include "misuse.h"

int main(void) {
    void *const block = larder_malloc((size_t)1 << 20);
    if (larder_malloc_usable_size(block) < (size_t)1 << 20)
        return 2;
    larder_free(block);
    if (larder_malloc_usable_size(opaque(block)) != 0)
        return 2;
    expect_heap_works();
    return 0;
}
