// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: sized free of 0x[0-9a-f]+ with size 300001, .* 507904 bytes, thread [0-9]+$
// signal: SIGABRT
//
// A large block with the size of another one.
#include "misuse.h"

int main(void) {
    larder_free_sized(opaque(larder_malloc(500000)), 300001);
    expect_heap_works();
    return 0;
}
