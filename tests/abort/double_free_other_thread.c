// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid free of 0x[0-9a-f]+: double free, .* 112 byte blocks, thread [0-9]+$
// signal: SIGABRT
//
// A small block freed by the thread that has it and by another one.
#include "misuse.h"

#include <pthread.h>

static void *free_again(void *block) {
    larder_free(opaque(block));
    return NULL; // its cache is flushed as it ends
}

int main(void) {
    void *const block = larder_malloc(100);
    void *const neighbour = larder_malloc(100); // keeps the span
    pthread_t thread;
    larder_free(block);
    settle();
    if (pthread_create(&thread, NULL, free_again, block) != 0)
        return 3;
    pthread_join(thread, NULL);
    settle();
    larder_free(neighbour);
    expect_heap_works();
    return 0;
}
