// SPDX-License-Identifier: Apache-2.0
//
// Allocation in every moment of a process: constructors, main, TLS destructors, atexit handlers,
// destructors. A block of each earlier moment is checked and freed in a later one.
#define _GNU_SOURCE 1

#include <pthread.h>
#include <sys/wait.h>

#include "../support/plain.h"

enum moment { EARLY_CONSTRUCTOR, CONSTRUCTOR, MAIN, THREAD_END, ATEXIT, DESTRUCTOR, MOMENTS };

enum { BYTES = 20000 };

static char *blocks[MOMENTS];
static int report_fd = -1; // what the last moment writes to: proof that it was reached

static void allocate_in(enum moment moment) {
    char *const block = malloc(BYTES);
    CHECK(block != NULL);
    memset(block, 'a' + (int)moment, BYTES);
    blocks[moment] = block;
    for (size_t bytes = 1; bytes < 3000000; bytes *= 3) {
        char *const other = realloc(calloc(1, bytes), bytes * 2);
        CHECK(other != NULL && other[0] == 0 && other[bytes - 1] == 0);
        free(other);
    }
}

static void free_of(enum moment moment) {
    CHECK(blocks[moment] != NULL);
    for (unsigned at = 0; at < BYTES; at++)
        CHECK(blocks[moment][at] == 'a' + (int)moment);
    free(blocks[moment]);
    blocks[moment] = NULL;
}

__attribute__((constructor(101))) static void early_constructor(void) {
    allocate_in(EARLY_CONSTRUCTOR);
}

__attribute__((constructor)) static void constructor(void) { allocate_in(CONSTRUCTOR); }

static void thread_end(void *arg) {
    (void)arg;
    allocate_in(THREAD_END);
}

static void *run_thread(void *arg) {
    const pthread_key_t *const key = arg;
    free(malloc(100));
    CHECK(pthread_setspecific(*key, arg) == 0);
    return NULL;
}

static void at_exit(void) {
    free_of(MAIN);
    free_of(THREAD_END);
    allocate_in(ATEXIT);
}

__attribute__((destructor)) static void destructor(void) {
    if (report_fd < 0)
        return; // the parent
    free_of(ATEXIT);
    free_of(CONSTRUCTOR);
    allocate_in(DESTRUCTOR);
}

__attribute__((destructor(101))) static void last_destructor(void) {
    if (report_fd < 0)
        return;
    free_of(EARLY_CONSTRUCTOR);
    free_of(DESTRUCTOR);
    CHECK(write(report_fd, "end", 3) == 3);
}

static void run_moments(void) {
    CHECK(atexit(at_exit) == 0);
    allocate_in(MAIN);
    pthread_key_t key;
    pthread_t thread;
    CHECK(pthread_key_create(&key, thread_end) == 0);
    CHECK(pthread_create(&thread, NULL, run_thread, &key) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(blocks[THREAD_END] != NULL);
}

int main(void) {
    plain_require_larder();
    int report[2];
    CHECK(pipe(report) == 0);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        report_fd = report[1];
        run_moments();
        exit(0);
    }
    int status = 0;
    char text[4] = "";
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(read(report[0], text, 3) == 3 && strcmp(text, "end") == 0);
    return 0;
}
