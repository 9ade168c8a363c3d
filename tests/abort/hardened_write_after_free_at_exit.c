// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: write after free to 0x.* of 144 bytes: byte 0 was changed, thread [0-9]+$
// signal: SIGABRT
// environment: LARDER_HARDENED=1
//
// The same in a program that ends before the slot is taken again.
#include "misuse.h"

int main(void) {
    char *const block = larder_malloc(128);
    larder_free(block);
    memset(opaque(block), 7, 1);
    return 0;
}
