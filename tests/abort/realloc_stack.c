// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid realloc of 0x[0-9a-f]+: .*, thread [0-9]+$
// signal: SIGABRT
//
// realloc of an address of the stack.
#include "misuse.h"

int main(void) {
    char local[64] = "local";
    void *const moved = larder_realloc(opaque(local), 1000);
    larder_free(moved);
    expect_heap_works();
    return 0;
}
