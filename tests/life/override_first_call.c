// SPDX-License-Identifier: Apache-2.0
//
// The first call comes before any constructor, Larder's own included: .preinit_array of a program
// runs before the constructors of all libraries.
#define _GNU_SOURCE 1

#include <errno.h>
#include <malloc.h>
#include <stdint.h>

#include "../support/plain.h"

enum { BLOCKS = 64 };

static char *blocks[BLOCKS];
static size_t sizes[BLOCKS];

static void first_call(int argc, char **argv, char **envp) {
    (void)argc;
    (void)argv;
    (void)envp;
    for (unsigned i = 0; i < BLOCKS; i++) {
        sizes[i] = (size_t)i * i * 100 + 1; // up to 400 KB: every tier but huge pages
        blocks[i] = i % 2 == 0 ? malloc(sizes[i]) : calloc(1, sizes[i]);
        CHECK(blocks[i] != NULL && (uintptr_t)blocks[i] % 16 == 0);
        memset(blocks[i], (int)i, sizes[i]);
    }
    blocks[0] = realloc(blocks[0], 5000000);
    CHECK(blocks[0] != NULL);
    free(malloc(3000000));
    void *aligned = NULL;
    CHECK(posix_memalign(&aligned, 4096, 100) == 0 && (uintptr_t)aligned % 4096 == 0);
    free(aligned);
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit)(int, char **,
                                                                              char **) = first_call;

int main(void) {
    plain_require_larder();
    CHECK(blocks[BLOCKS - 1] != NULL);
    for (unsigned i = 0; i < BLOCKS; i++) {
        for (size_t at = 0; at < sizes[i]; at++)
            CHECK(blocks[i][at] == (char)i);
        CHECK(malloc_usable_size(blocks[i]) >= sizes[i]);
        free(blocks[i]);
    }
    return 0;
}
