// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: .*outside the heap, thread [0-9]+$
// signal: SIGABRT
//
// An address of static storage.
#include "misuse.h"

static char storage[256];

int main(void) {
    larder_free(opaque(storage));
    expect_heap_works();
    return 0;
}
