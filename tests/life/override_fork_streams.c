// SPDX-License-Identifier: Apache-2.0
//
// fork() while other threads flush all streams and read lines from them: stdio waits for malloc
// with its own locks held, which fork needs too.
#define _GNU_SOURCE 1

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

#include "../support/plain.h"

enum { READERS = 4, FORKERS = 2, LINE_BYTES = 2000000, SECONDS = 2, MOST_SECONDS = 60 };

static atomic_bool stop;

static void *read_lines(void *path) {
    FILE *const file = fopen(path, "re");
    CHECK(file != NULL);
    while (!atomic_load(&stop)) {
        char *line = NULL;
        size_t bytes = 0;
        rewind(file);
        CHECK(getline(&line, &bytes, file) == LINE_BYTES + 1); // grows a block, under locks
        free(line);
    }
    fclose(file);
    return NULL;
}

static void *flush_all(void *arg) {
    while (!atomic_load(&stop))
        CHECK(fflush(NULL) == 0);
    return arg;
}

static void *fork_often(void *arg) {
    while (!atomic_load(&stop)) {
        const pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            FILE *const file = fopen("/dev/null", "we"); // takes the lock of the list of streams
            void *const block = malloc(100000);
            _exit(file != NULL && block != NULL && fflush(NULL) == 0 ? 0 : 1);
        }
        int status = 0;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    return arg;
}

int main(void) {
    plain_require_larder();
    alarm(MOST_SECONDS); // ends a deadlock
    char path[] = "/tmp/larder-fork-streams-XXXXXX";
    const int fd = mkstemp(path);
    CHECK(fd >= 0);
    static char line[LINE_BYTES + 1];
    memset(line, 'x', LINE_BYTES);
    line[LINE_BYTES] = '\n';
    CHECK(write(fd, line, sizeof line) == (ssize_t)sizeof line);

    pthread_t threads[READERS + FORKERS + 1];
    unsigned count = 0;
    for (unsigned i = 0; i < READERS; i++)
        CHECK(pthread_create(&threads[count++], NULL, read_lines, path) == 0);
    for (unsigned i = 0; i < FORKERS; i++)
        CHECK(pthread_create(&threads[count++], NULL, fork_often, NULL) == 0);
    CHECK(pthread_create(&threads[count++], NULL, flush_all, NULL) == 0);
    const struct timespec wait = {SECONDS, 0};
    nanosleep(&wait, NULL);
    atomic_store(&stop, true);
    while (count > 0)
        CHECK(pthread_join(threads[--count], NULL) == 0);
    close(fd);
    CHECK(unlink(path) == 0);
    return 0;
}
