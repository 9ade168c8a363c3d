// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: .*outside the heap, thread [0-9]+$
// signal: SIGABRT
//
// An address of the stack.
#include "misuse.h"

int main(void) {
    char local[64] = "local";
    larder_free(opaque(local));
    expect_heap_works();
    return 0;
}
