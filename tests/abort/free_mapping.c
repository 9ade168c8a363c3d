// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: .*outside the heap, thread [0-9]+$
// signal: SIGABRT
//
// A mapping that the program made itself.
#include "misuse.h"

#include <sys/mman.h>

int main(void) {
    void *const mapping =
        mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return 3;
    larder_free(opaque(mapping));
    memset(mapping, 1, 1 << 20); // is still there
    expect_heap_works();
    return 0;
}
