#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A static executable that is linked with liblarder.a uses it for malloc, in threads, over fork and
# to the end. Skipped where there is no compiler or no static libc.
set -eu

: "${LARDER_BUILD_DIR:?the build directory}"
cc=${CC:-cc}
command -v "${cc%% *}" >/dev/null || { echo "skipped: no C compiler"; exit 77; }
[ -f "$LARDER_BUILD_DIR/liblarder.a" ] || { echo "skipped: no liblarder.a was built"; exit 77; }
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

echo 'int main(void) { return 0; }' >empty.c
$cc -static -o empty empty.c -pthread 2>/dev/null || { echo "skipped: no static libc"; exit 77; }

cat >program.c <<'END'
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
const char *larder_version(void);
size_t larder_malloc_usable_size(void *);
#define CHECK(x) do { if (!(x)) { fprintf(stderr, "static program: %s\n", #x); abort(); } } while (0)
static void *use(void *arg) {
    enum { LIVE = 200 };
    char *blocks[LIVE] = {NULL};
    for (unsigned i = 0; i < 100000; i++) {
        unsigned at = i * 7 % LIVE;
        size_t bytes = 1 + i * 31 % 20000;
        CHECK(blocks[at] == NULL || blocks[at][0] == (char)at);
        free(blocks[at]);
        blocks[at] = i % 3 ? malloc(bytes) : calloc(1, bytes);
        CHECK(blocks[at]);
        blocks[at][0] = (char)at;
    }
    for (unsigned i = 0; i < LIVE; i++)
        free(blocks[i]);
    return arg;
}
int main(void) {
    pthread_t threads[4];
    char *text = strdup("allocated by libc itself");
    CHECK(larder_malloc_usable_size(text) == malloc_usable_size(text));
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, use, NULL) == 0);
    for (int i = 0; i < 10; i++) {
        int status = 1;
        pid_t pid = fork();
        if (pid == 0) {
            alarm(20);
            use(NULL);
            exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    free(text);
    printf("static executable with Larder %s: ok\n", larder_version());
    return 0;
}
END

$cc -O1 -static -o program program.c "$LARDER_BUILD_DIR/liblarder.a" \
    -lurcu-bp -lurcu-common -pthread -ldl
LARDER_STATS=1 ./program 2>err
cat err
# Statistics that count the program's blocks prove that libc's malloc was not used.
grep -q larder err
