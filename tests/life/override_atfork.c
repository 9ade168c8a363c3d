// SPDX-License-Identifier: Apache-2.0
//
// fork() in a program whose own fork handlers allocate, be they registered before Larder's first
// call, in a constructor or in main: some of them run while Larder is prepared for the fork.
#define _GNU_SOURCE 1

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "../support/plain.h"

enum { THREADS = 3, FORKS = 200, HANDLERS = 3 };

static atomic_bool stop;
static unsigned prepared, resumed; // calls of the handlers in this process

// Sizes beyond what a thread cache holds, so that locks are taken.
static void allocate(void) {
    void *blocks[200];
    for (unsigned i = 0; i < 200; i++) {
        blocks[i] = malloc((size_t)i * 1500);
        CHECK(blocks[i] != NULL);
    }
    for (unsigned i = 0; i < 200; i++)
        free(blocks[i]);
}

static void prepare(void) {
    prepared++;
    allocate();
}

static void resume(void) {
    resumed++;
    allocate();
}

static void register_early(int argc, char **argv, char **envp) {
    (void)argc;
    (void)argv;
    (void)envp;
    pthread_atfork(prepare, resume, resume);
    allocate();
}

__attribute__((section(".preinit_array"),
               used)) static void (*const preinit)(int, char **, char **) = register_early;

__attribute__((constructor)) static void register_in_constructor(void) {
    pthread_atfork(prepare, resume, resume);
}

static void *allocate_until_stopped(void *arg) {
    while (!atomic_load(&stop))
        allocate();
    return arg;
}

int main(void) {
    plain_require_larder();
    alarm(120); // a hang ends as a failure
    CHECK(pthread_atfork(prepare, resume, resume) == 0);
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, allocate_until_stopped, NULL) == 0);
    for (unsigned i = 1; i <= FORKS; i++) {
        const pid_t pid = fork();
        CHECK(pid >= 0);
        CHECK(prepared == i * HANDLERS && resumed == i * HANDLERS);
        if (pid == 0) {
            alarm(20);
            allocate();
            exit(0);
        }
        int status = 0;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    atomic_store(&stop, 1);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    return 0;
}
