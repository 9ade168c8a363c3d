// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: .*outside the heap, thread [0-9]+$
// signal: SIGABRT
//
// A pointer overwritten by text, as overflows leave them.
#include "misuse.h"

int main(void) {
    larder_free(opaque((void *)(uintptr_t)0x4141414141414140u));
    expect_heap_works();
    return 0;
}
