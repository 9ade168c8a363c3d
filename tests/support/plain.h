// SPDX-License-Identifier: Apache-2.0
//
// For the plain programs of tests/life that are linked with liblarder.so and call malloc itself:
// no Check, no other support file. Exit 0 passed, 1 failed, 77 skipped. C and C++.
#ifndef LARDER_TESTS_PLAIN_H
#define LARDER_TESTS_PLAIN_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Usable before constructors and in signal-like places: one write, no allocation of our own.
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            plain_say(__FILE__, __LINE__, "expected " #cond);                                      \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

#define SKIP(why)                                                                                  \
    do {                                                                                           \
        plain_say(__FILE__, __LINE__, "skipped: " why);                                            \
        _exit(77);                                                                                 \
    } while (0)

static inline void plain_say(const char *file, int line, const char *text) {
    char out[512];
    const int length = snprintf(out, sizeof out, "%s:%d: %s\n", file, line, text);
    if (length > 0 && write(STDERR_FILENO, out, (size_t)length) < 0)
        _exit(1);
}

// The test would prove nothing if malloc were still glibc's.
static inline void plain_require_larder(void) {
    Dl_info info;
    void *const symbol = dlsym(RTLD_DEFAULT, "malloc");
    CHECK(symbol != NULL && dladdr(symbol, &info) != 0);
    CHECK(strstr(info.dli_fname, "liblarder") != NULL);
}

#endif
