// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: .*outside the heap, thread [0-9]+$
// signal: SIGABRT
//
// A number that is no address of anything.
#include "misuse.h"

int main(void) {
    larder_free(opaque((void *)(uintptr_t)0x1000));
    expect_heap_works();
    return 0;
}
