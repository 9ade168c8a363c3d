#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A module loaded with RTLD_DEEPBIND frees what the program allocated, and the other way round; it is
# found by the RUNPATH of the program, as without Larder. LARDER_DEEPBIND=1 leaves the flag alone.
# PHP, whose extensions are such modules, where it is installed. Compiles two small programs;
# skipped without a C compiler.
set -eu

: "${LARDER_SO:?path of liblarder.so}"
cc=${CC:-cc}
command -v "${cc%% *}" >/dev/null || { echo "skipped: no C compiler"; exit 77; }
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
mkdir modules

cat >module.c <<'END'
#include <stdlib.h>
const char *version(void) { return "the module's"; }
const char *own_version(void) { return version(); }
void *swap(void *block) { free(block); return malloc(1000); }
END

cat >host.c <<'END'
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
const char *version(void) { return "the program's"; }
int main(void) {
    void *module = dlopen("libmodule.so", RTLD_NOW | RTLD_DEEPBIND);
    if (module == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        return 1;
    }
    const char *(*own_version)(void) = (const char *(*)(void))dlsym(module, "own_version");
    void *(*swap)(void *) = (void *(*)(void *))dlsym(module, "swap");
    puts(own_version());
    fflush(stdout);
    if (getenv("SWAP") != NULL)
        for (int i = 0; i < 1000; i++)
            free(swap(malloc(1000)));
    return 0;
}
END

$cc -O1 -fPIC -shared -o modules/libmodule.so module.c
$cc -O1 -rdynamic -o host host.c -ldl -Wl,--enable-new-dtags -Wl,-rpath,"$directory/modules"

# expect OUTPUT ENVIRONMENT...
expect() {
    wanted=$1
    shift
    got=$(env "$@" ./host) || { echo "$*: host ended with $?"; exit 1; }
    [ "$got" = "$wanted" ] || { echo "$*: '$got' instead of '$wanted'"; exit 1; }
}
expect "the module's" NOTHING=
expect "the program's" SWAP=1 LD_PRELOAD="$LARDER_SO"
expect "the module's" LARDER_DEEPBIND=1 LD_PRELOAD="$LARDER_SO"

if command -v php >/dev/null; then
    got=$(LD_PRELOAD=$LARDER_SO php -r 'echo count(get_loaded_extensions()) > 5 ? "ok" : "few";')
    [ "$got" = ok ] || { echo "php: $got"; exit 1; }
    echo "php: ok"
fi
echo "RTLD_DEEPBIND: ok"
