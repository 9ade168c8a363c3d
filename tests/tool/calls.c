// SPDX-License-Identifier: Apache-2.0
//
// For tests/tool/replay.sh: calls ROUNDS THREADS BYTES. Each thread allocates ROUNDS blocks of up
// to BYTES, resizes one in five, and frees what another one has left in one of 64 places, all of
// which hold a block at the end. A child that is forked before does as much again.
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLACES = 64 };

static _Atomic(char *) places[PLACES];
static unsigned rounds, bytes;

static void *work(void *seed) {
    unsigned x = 1 + (unsigned)(size_t)seed;
    for (unsigned i = 0; i < rounds; i++) {
        x = x * 1103515245 + 12345;
        char *block = malloc(1 + (x >> 4) % bytes);
        *block = 1;
        if (i % 5 == 0) {
            block = realloc(block, 1 + (x >> 6) % bytes);
        }
        free(atomic_exchange(&places[i % PLACES], block));
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[64];
    rounds = (unsigned)atoi(argv[1]);
    const int count = argc > 2 ? atoi(argv[2]) : 1;
    bytes = (unsigned)atoi(argv[3]);
    const pid_t child = fork();
    if (child == 0) {
        work(NULL);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    for (int i = 0; i < count; i++) {
        pthread_create(&threads[i], NULL, work, (void *)(size_t)i);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    return status;
}
