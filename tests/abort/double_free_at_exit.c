// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: double free, .* 112 byte blocks, thread [0-9]+$
// signal: SIGABRT
//
// A program that ends before its caches were emptied hears of it at exit.
#include "misuse.h"

int main(void) {
    void *const block = larder_malloc(100);
    larder_free(block);
    larder_free(opaque(block));
    return 0;
}
