// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid malloc_usable_size of 0x[0-9a-f]+: .*outside the heap, thread [0-9]+$
// signal: SIGABRT
//
// malloc_usable_size of an address of the stack.
#include "misuse.h"

int main(void) {
    char local[64] = "local";
    if (larder_malloc_usable_size(opaque(local)) != 0)
        return 2;
    expect_heap_works();
    return 0;
}
