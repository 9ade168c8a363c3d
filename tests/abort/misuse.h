// SPDX-License-Identifier: Apache-2.0
//
// Shared by the misuse programs. Each does one wrong thing, settles, and returns 0 if it is still
// alive; run.sh compares its end with the `expect:` and `signal:` lines of its source.
#ifndef LARDER_TESTS_MISUSE_H
#define LARDER_TESTS_MISUSE_H

#include <larder/larder.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Keeps the compiler from seeing what the program does.
static inline void *opaque(void *p) {
    __asm__ volatile("" : "+r"(p)::"memory");
    return p;
}

// Changes each byte, whatever it is: a canary is random.
static inline void damage(char *p, unsigned bytes) {
    p = opaque(p);
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (char)~p[i];
}

// A small block that is wrongly freed is found out at the latest on its way to the central list:
// brings there all that this thread and the transfer caches hold.
static inline void settle(void) {
    larder_thread_flush();
    larder_malloc_trim(0);
}

// What goes on after a report must work: no two live blocks are the same, contents stay.
static inline void expect_heap_works(void) {
    enum { COUNT = 2000 };
    static char *blocks[COUNT];
    static const size_t sizes[] = {16, 100, 1000, 20000};
    for (unsigned i = 0; i < COUNT; i++) {
        const size_t bytes = sizes[i % 4];
        blocks[i] = larder_malloc(bytes);
        if (blocks[i] == NULL)
            exit(3);
        memset(blocks[i], (int)(i % 251), bytes);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        const size_t bytes = sizes[i % 4];
        for (size_t at = 0; at < bytes; at++) {
            if (blocks[i][at] != (char)(i % 251)) {
                fprintf(stderr, "block %u of %zu bytes changed\n", i, bytes);
                exit(4);
            }
        }
    }
    for (unsigned i = 0; i < COUNT; i++)
        larder_free(blocks[i]);
    settle();
}

#endif
