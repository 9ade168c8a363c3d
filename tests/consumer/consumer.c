// SPDX-License-Identifier: Apache-2.0
// A program that is linked with Larder: malloc is Larder's, on every thread and after fork.
#include <larder/larder.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 1000, BLOCKS = 10000 };

// Sizes of Larder's classes differ from glibc's, and only Larder knows both sides of this.
static int is_larders(void *block) {
    return block != NULL && larder_malloc_usable_size(block) == larder_good_size(BYTES, 0);
}

static void *allocate(void *arg) {
    int *bad = arg;
    for (int i = 0; i < BLOCKS; i++) {
        char *block = malloc(BYTES);
        if (!is_larders(block)) {
            *bad = 1;
            return NULL;
        }
        memset(block, i, BYTES);
        free(block);
    }
    return NULL;
}

int main(void) {
    int bad[2] = {0, 0};
    pthread_t thread;
    if (pthread_create(&thread, NULL, allocate, &bad[0]) != 0) {
        perror("pthread_create");
        return 1;
    }
    allocate(&bad[1]);
    pthread_join(thread, NULL);

    // A string that libc allocated, and one that we free through Larder's own name.
    char *copy = strdup("freed by larder_free");
    if (copy == NULL || larder_malloc_usable_size(copy) < strlen(copy) + 1) {
        fprintf(stderr, "strdup did not use Larder\n");
        return 1;
    }
    larder_free(copy);

    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        allocate(&bad[1]);
        _exit(bad[1]);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        fprintf(stderr, "the forked child failed with status %d\n", status);
        return 1;
    }
    if (bad[0] != 0 || bad[1] != 0) {
        fprintf(stderr, "malloc is not Larder's\n");
        return 1;
    }
    printf("Larder %s\n", larder_version());
    return 0;
}
