// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: sized free of 0x[0-9a-f]+ with size 5000, .* 1024 bytes, thread [0-9]+$
// signal: SIGABRT
//
// A small aligned block with a size that it is too small for.
#include "misuse.h"

int main(void) {
    larder_free_aligned_sized(opaque(larder_aligned_alloc(64, 1000)), 64, 5000);
    expect_heap_works();
    return 0;
}
