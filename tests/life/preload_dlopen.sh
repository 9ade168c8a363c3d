#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# dlopen: plugins that allocate while they are loaded and unloaded, with Larder preloaded; and
# liblarder.so itself opened RTLD_LOCAL by a program that knows nothing of it, used by threads,
# closed while they live. Compiles two small programs; skipped without a C compiler.
set -eu

: "${LARDER_SO:?path of liblarder.so}"
cc=${CC:-cc}
command -v "${cc%% *}" >/dev/null || { echo "skipped: no C compiler"; exit 77; }
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

cat >plugin.c <<'END'
#include <stdlib.h>
#include <string.h>
static char *own;
static __thread char *cached;
__attribute__((constructor)) static void load(void) { own = strdup("loaded"); }
__attribute__((destructor)) static void unload(void) { free(own); }
char *plugin_make(size_t bytes) {
    free(cached);
    cached = malloc(bytes / 2 + 1);
    char *block = malloc(bytes);
    if (block && cached && strcmp(own, "loaded") == 0)
        memset(block, 7, bytes);
    return block;
}
void plugin_end(void) { free(cached); cached = NULL; }
END

cat >host.c <<'END'
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define CHECK(x) do { if (!(x)) { fprintf(stderr, "host: %s; %s\n", #x, dlerror()); abort(); } } while (0)
static void *use(void *path) {
    for (int round = 0; round < 100; round++) {
        char *blocks[50];
        void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        CHECK(plugin);
        char *(*make)(size_t) = (char *(*)(size_t))dlsym(plugin, "plugin_make");
        void (*end)(void) = (void (*)(void))dlsym(plugin, "plugin_end");
        CHECK(make && end);
        for (int i = 0; i < 50; i++)
            CHECK((blocks[i] = make((size_t)i * 1000)));
        end();
        CHECK(dlclose(plugin) == 0);
        for (int i = 0; i < 50; i++) { /* blocks outlive the code that made them */
            for (int at = 0; at < i * 1000; at++)
                CHECK(blocks[i][at] == 7);
            free(blocks[i]);
        }
    }
    return NULL;
}
int main(int argc, char **argv) {
    (void)argc;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, use, argv[1]) == 0);
    use(argv[1]);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    puts("plugins: ok");
    return 0;
}
END

cat >open_larder.c <<'END'
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define CHECK(x) do { if (!(x)) { fprintf(stderr, "open_larder: %s; %s\n", #x, dlerror()); abort(); } } while (0)
static void *(*get)(size_t);
static void (*give)(void *);
static void *library;
static pthread_barrier_t used, closed;
static void *use(void *keep) {
    for (size_t bytes = 1; bytes < 5000000; bytes = bytes * 5 / 4 + 1) {
        char *block = get(bytes);
        CHECK(block);
        memset(block, 9, bytes);
        CHECK(block[bytes - 1] == 9);
        give(block);
    }
    if (keep) {
        pthread_barrier_wait(&used);
        pthread_barrier_wait(&closed); /* ends, with a cache, after dlclose() */
    }
    return NULL;
}
int main(int argc, char **argv) {
    (void)argc;
    pthread_t early, threads[4];
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(library);
    CHECK((get = (void *(*)(size_t))dlsym(library, "larder_malloc")));
    CHECK((give = (void (*)(void *))dlsym(library, "larder_free")));
    Dl_info info;
    CHECK(dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info) && !strstr(info.dli_fname, "larder"));
    CHECK(pthread_barrier_init(&used, NULL, 5) == 0 && pthread_barrier_init(&closed, NULL, 5) == 0);
    CHECK(pthread_create(&early, NULL, use, NULL) == 0);
    CHECK(pthread_join(early, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, use, &library) == 0);
    pthread_barrier_wait(&used);
    CHECK(dlclose(library) == 0);
    pthread_barrier_wait(&closed);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL); /* and again */
    CHECK(library && (get = (void *(*)(size_t))dlsym(library, "larder_malloc")));
    CHECK((give = (void (*)(void *))dlsym(library, "larder_free")));
    use(NULL);
    puts("liblarder.so opened by hand: ok");
    return 0;
}
END

$cc -O1 -fPIC -shared -o plugin.so plugin.c
$cc -O1 -o host host.c -pthread -ldl
$cc -O1 -o open_larder open_larder.c -pthread -ldl

LD_PRELOAD=$LARDER_SO ./host ./plugin.so
./open_larder "$LARDER_SO"
