// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: overflow of 0x.*, a block of 50000 bytes: byte 50001 was changed, thread [0-9]+$
// signal: SIGABRT
// environment: LARDER_HARDENED=1
//
// The same of a block with pages of its own, within its last page.
#include "misuse.h"

int main(void) {
    char *const block = larder_malloc(50000);
    damage(block + 50001, 1);
    larder_free(block);
    expect_heap_works();
    return 0;
}
