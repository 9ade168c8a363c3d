// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: overflow of 0x.*, a block of 100 bytes: byte 100 was changed, thread [0-9]+$
// signal: SIGABRT
// environment: LARDER_HARDENED=1
//
// A block that is never freed: the end of the process shows it.
#include "misuse.h"

int main(void) {
    static char *block;
    block = larder_malloc(100);
    damage(block + 99, 2);
    return 0;
}
