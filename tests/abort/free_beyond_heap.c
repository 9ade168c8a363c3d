// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: .*, thread [0-9]+$
// signal: SIGABRT
//
// An address that the heap may grow to, but has not.
#include "misuse.h"

int main(void) {
    char *const block = larder_malloc(100);
    larder_free(opaque(block + ((size_t)4 << 30)));
    larder_free(block);
    expect_heap_works();
    return 0;
}
