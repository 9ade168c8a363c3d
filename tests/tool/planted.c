// SPDX-License-Identifier: Apache-2.0
//
// For tests/tool/profile.sh: a leak, a churner and a fragmenter beside each other, in C or C++.
// Writes its profile to the file that it is given; without one it waits for its standard input to
// end.
#include <larder/larder.h>
#include <larder/profile.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LEAKED = 40000, CHURNED = 1000000, GROUPS = 1000, GROUP = 32 };

#define SITE __attribute__((noinline))

#ifdef __cplusplus
#define TAKE(bytes) ::operator new(bytes)
#define DROP(block) ::operator delete(block)
#else
#define TAKE(bytes) malloc(bytes)
#define DROP(block) free(block)
#endif

static void *leaked[LEAKED];
static void *kept[GROUPS];
static void *dropped[GROUPS * GROUP];

static void *volatile sink;

SITE void *site_leak(void);
SITE void *site_churn(void);
SITE void *site_fragment(void);
SITE void *site_fill(void);

SITE void *site_leak(void) { return sink = TAKE(500); }

SITE void *site_churn(void) { return sink = TAKE(100); }

SITE void *site_fragment(void) { return sink = TAKE(1000); }

SITE void *site_fill(void) { return sink = TAKE(1000); }

static void plant(void) {
    // One block in 32 stays: each span of this size keeps one.
    for (int i = 0; i < GROUPS * GROUP; i++) {
        if (i % GROUP == 0) {
            kept[i / GROUP] = site_fragment();
        } else {
            dropped[i] = site_fill();
        }
    }
    for (int i = 0; i < GROUPS * GROUP; i++)
        DROP(dropped[i]);
    for (int i = 0; i < LEAKED; i++)
        leaked[i] = site_leak();
    for (int i = 0; i < CHURNED; i++)
        DROP(site_churn());
    (void)larder_thread_flush();
    (void)larder_release(0);
}

int main(int argc, char **argv) {
    if (argc == 3 && *argv[2] == 'w') { // wait first, with a heap that has a background thread
        char byte;
        sink = TAKE(32 << 20);
        DROP(sink = TAKE(100));
        puts("ready");
        fflush(stdout);
        if (read(STDIN_FILENO, &byte, 1) != 1)
            return 3;
    }
    plant();
    puts("planted");
    fflush(stdout);
    if (argc >= 2 && *argv[1] != '-') {
        const int fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600);
        return fd < 0 || larder_profile_write(fd) != 0;
    }
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    return 0;
}
