// SPDX-License-Identifier: Apache-2.0
//
// A program to look at: program MIB [THREADS] [close|fork|busy]. It holds MIB in live blocks and
// half of that in free memory, says "ready", and works a little until it is killed. close: closes
// all its files first, as daemons do. fork: prints the id of a child that does the same. busy:
// works without a pause until its standard input ends, then not at all.
#define _GNU_SOURCE 1
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 100 * 1000 };

enum pace { CALM, BUSY, IDLE };
static _Atomic enum pace pace;

static void *work(void *unused) {
    (void)unused;
    for (unsigned i = 0; pace != IDLE; i++) {
        char *blocks[64];
        for (int b = 0; b < 64; b++) {
            blocks[b] = malloc(1 + (i * 37 + (unsigned)b * 101) % 8000);
        }
        for (int b = 0; b < 64; b++) {
            free(blocks[b]);
        }
        if (pace == CALM)
            usleep(5000);
    }
    for (;;)
        pause();
    return NULL;
}

static void fill(size_t mib) {
    const size_t count = mib * 3 / 2 * (1 << 20) / BLOCK;
    char **blocks = malloc((count + 1) * sizeof *blocks);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = malloc(BLOCK);
        memset(blocks[i], 1, malloc_usable_size(blocks[i])); // held memory is all resident then
    }
    // Whole runs, so that pages become free and not only blocks.
    for (size_t i = count * 2 / 3; i < count; i++) {
        free(blocks[i]);
    }
}

int main(int argc, char **argv) {
    const size_t mib = strtoul(argc > 1 ? argv[1] : "0", NULL, 10);
    const int threads = argc > 2 ? atoi(argv[2]) : 0;
    const char *how = argc > 3 ? argv[3] : "";
    fill(mib);
    if (strcmp(how, "close") == 0) {
        usleep(200000); // the page is there by now
        for (int fd = 3; fd < 1024; fd++) {
            close(fd);
        }
    }
    if (strcmp(how, "fork") == 0) {
        usleep(200000);
        const pid_t child = fork();
        if (child == 0) {
            fill(mib);
        } else {
            printf("child %d\n", (int)child);
        }
    }
    if (strcmp(how, "busy") == 0)
        pace = BUSY;
    puts("ready");
    fflush(stdout);
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, work, NULL);
    }
    if (pace == BUSY) {
        char byte;
        while (read(STDIN_FILENO, &byte, 1) > 0) {
        }
        pace = IDLE;
    }
    work(NULL);
}
