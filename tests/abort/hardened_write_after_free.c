// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: write after free to 0x.* of 144 bytes: byte 65 was changed, thread [0-9]+$
// signal: SIGABRT
// environment: LARDER_HARDENED=1
//
// A freed block is written to: taking slots again shows it.
#include "misuse.h"

int main(void) {
    char *const block = larder_malloc(128);
    larder_free(block);
    memset(opaque(block + 65), 7, 1);
    for (unsigned i = 0; i < 200000; i++)
        larder_free(opaque(larder_malloc(128)));
    expect_heap_works();
    return 0;
}
