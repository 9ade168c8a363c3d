// SPDX-License-Identifier: Apache-2.0
// Steady states of the fast paths, for run.sh to count their instructions.
//
// usage: paths            lists the names
//        paths NAME       runs the path NAME twice, the second time inside golden_steady()
#include <larder/larder.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 1000, DEPTH = 100 };

// operator new, delete, and delete with a size.
void *_Znwm(size_t size);
void _ZdlPv(void *block);
void _ZdlPvm(void *block, size_t size);

static void *held[DEPTH];

// `depth` blocks are taken, then given back, until each was done CALLS times.
#define PATH(name, depth, take, give)                                                              \
    static void name(void) {                                                                       \
        for (int i = 0; i < CALLS / (depth); i++) {                                                \
            for (int k = 0; k < (depth); k++)                                                      \
                held[k] = take;                                                                    \
            for (int k = 0; k < (depth); k++)                                                      \
                give;                                                                              \
        }                                                                                          \
    }

static void *resized(void *block, size_t size) { return realloc(block, size); }

PATH(malloc_free_64, 1, malloc(64), free(held[k]))
PATH(malloc_free_64_deep, DEPTH, malloc(64), free(held[k]))
PATH(malloc_free_2000, 1, malloc(2000), free(held[k]))
PATH(malloc_free_2000_deep, DEPTH, malloc(2000), free(held[k]))
PATH(malloc_free_4096, 1, malloc(4096), free(held[k]))
PATH(malloc_free_sized_64, 1, malloc(64), larder_free_sized(held[k], 64))
PATH(malloc_free_sized_64_deep, DEPTH, malloc(64), larder_free_sized(held[k], 64))
PATH(malloc_free_sized_2000, 1, malloc(2000), larder_free_sized(held[k], 2000))
PATH(new_delete_64, 1, _Znwm(64), _ZdlPv(held[k]))
PATH(new_delete_sized_64, 1, _Znwm(64), _ZdlPvm(held[k], 64))
PATH(calloc_free_64, 1, calloc(1, 64), free(held[k]))
PATH(aligned_alloc_free_64, 1, aligned_alloc(64, 64), free(held[k]))
PATH(malloc_realloc_free_64, 1, resized(malloc(64), 60), free(held[k]))

static const struct path {
    const char *name;
    void (*run)(void);
} paths[] = {
#define ENTRY(name)                                                                                \
    { #name, name }
    ENTRY(malloc_free_64),
    ENTRY(malloc_free_64_deep),
    ENTRY(malloc_free_2000),
    ENTRY(malloc_free_2000_deep),
    ENTRY(malloc_free_4096),
    ENTRY(malloc_free_sized_64),
    ENTRY(malloc_free_sized_64_deep),
    ENTRY(malloc_free_sized_2000),
    ENTRY(new_delete_64),
    ENTRY(new_delete_sized_64),
    ENTRY(calloc_free_64),
    ENTRY(aligned_alloc_free_64),
    ENTRY(malloc_realloc_free_64),
};

__attribute__((noinline)) void golden_steady(void (*run)(void));
void golden_steady(void (*run)(void)) { run(); }

int main(int argc, char **argv) {
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (argc < 2) {
            puts(paths[i].name);
        } else if (strcmp(argv[1], paths[i].name) == 0) {
            paths[i].run(); // fills the caches
            golden_steady(paths[i].run);
            return 0;
        }
    }
    return argc < 2 ? 0 : 2;
}
