// SPDX-License-Identifier: Apache-2.0
//
// posix_spawn, vfork and exec, system and popen out of a process whose threads allocate.
#define _GNU_SOURCE 1

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "../support/plain.h"

enum { THREADS = 3, ROUNDS = 40 };

extern char **environ;

static atomic_bool stop;

static void *allocate_until_stopped(void *arg) {
    enum { LIVE = 100 };
    unsigned char *blocks[LIVE] = {NULL};
    unsigned state = 1;
    while (!atomic_load(&stop)) {
        state = state * 1103515245 + 12345;
        const unsigned i = state / 65536 % LIVE;
        CHECK(blocks[i] == NULL || (blocks[i][0] == i && blocks[i][10] == i));
        free(blocks[i]);
        blocks[i] = malloc(11 + state / 65536 % 30000);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], (int)i, 11);
    }
    for (unsigned i = 0; i < LIVE; i++)
        free(blocks[i]);
    return arg;
}

static void expect_success(pid_t pid) {
    int status = 1;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void spawn_one(void) {
    char *const argv[] = {"sh", "-c", "exit 0", NULL};
    pid_t pid = 0;
    CHECK(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) == 0);
    expect_success(pid);
}

// Shells do it: a vfork child builds its arguments with malloc on its parent's heap, then execs.
static void vfork_one(void) {
    char *volatile text = NULL;
    const pid_t pid = vfork();
    if (pid == 0) {
        text = malloc(100);
        for (size_t bytes = 1; bytes < 1000000; bytes *= 10)
            free(malloc(bytes));
        if (text == NULL)
            _exit(1);
        strcpy(text, "exit 0");
        execl("/bin/sh", "sh", "-c", text, (char *)NULL);
        _exit(127);
    }
    expect_success(pid);
    CHECK(text != NULL && strcmp(text, "exit 0") == 0);
    free(text);
}

static void popen_one(void) {
    FILE *const out = popen("echo pipe", "r");
    CHECK(out != NULL);
    char *line = NULL;
    size_t capacity = 0;
    CHECK(getline(&line, &capacity, out) == 5 && strcmp(line, "pipe\n") == 0);
    free(line);
    CHECK(pclose(out) == 0);
}

int main(void) {
    plain_require_larder();
    alarm(120); // a hang ends as a failure
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, allocate_until_stopped, NULL) == 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        spawn_one();
        vfork_one();
        popen_one();
        CHECK(system("exit 3") == 3 << 8);
    }
    atomic_store(&stop, 1);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    return 0;
}
