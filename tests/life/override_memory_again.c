// SPDX-License-Identifier: Apache-2.0
//
// Memory that was freed can be had again in any form, in each mode under RLIMIT_AS and RLIMIT_DATA:
// blocks of one size until NULL with ENOMEM are a quarter of the limit at least, and when all of
// them are freed a block of a quarter is there. Then the next size.
#define _GNU_SOURCE 1

#include <errno.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "../support/plain.h"

static const size_t mib = (size_t)1024 * 1024;

enum { MOST_BLOCKS = 2200000, MOST_HARDENED = 600000 }; // more take too long

struct block {
    struct block *next;
};

static size_t allocate_until_null(struct block **chain, size_t bytes, size_t enough) {
    size_t total = 0;
    for (; total < enough; total += bytes) {
        errno = 0;
        struct block *const block = malloc(bytes);
        if (block == NULL) {
            CHECK(errno == ENOMEM);
            break;
        }
        block->next = *chain;
        *chain = block;
    }
    return total;
}

static void free_chain(struct block *chain) {
    while (chain != NULL) {
        struct block *const next = chain->next;
        free(chain);
        chain = next;
    }
}

// Runs in the new program, which was started with the limit.
static void live_with(size_t limit, const char *what) {
    plain_require_larder();
    static const size_t sizes[] = {4096, 256, 64, 30000, 1000000, 16};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const bool hardened = strstr(what, "HARDENED=1") != NULL;
        if (limit / sizes[i] > (hardened ? MOST_HARDENED : MOST_BLOCKS))
            continue;
        struct block *chain = NULL;
        const size_t got = allocate_until_null(&chain, sizes[i], limit);
        free_chain(chain);
        char *const block = malloc(limit / 4);
        if (got < limit / 4 || block == NULL)
            fprintf(stderr, "%s, %zu MiB: %zu KiB in blocks of %zu, then %s block of a quarter\n",
                    what, limit / mib, got / 1024, sizes[i], block != NULL ? "a" : "no");
        CHECK(got >= limit / 4 && block != NULL);
        memset(block, 1, limit / 4);
        free(block);
    }
}

static void run(char *self, bool data, char *mode, size_t limit_mib) {
    char text[32];
    char what[64];
    snprintf(text, sizeof text, "%zu", limit_mib * mib);
    snprintf(what, sizeof what, "%s, %s", data ? "RLIMIT_DATA" : "RLIMIT_AS", mode);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(300); // a hang ends, at last
        const struct rlimit limit = {limit_mib * mib, limit_mib * mib};
        CHECK((data ? setrlimit(RLIMIT_DATA, &limit) : setrlimit(RLIMIT_AS, &limit)) == 0);
        char *const argv[] = {self, text, what, NULL};
        char *envp[] = {mode, NULL};
        execve("/proc/self/exe", argv, envp);
        _exit(127);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (status != 0)
        fprintf(stderr, "%s, %zu MiB: wait status %#x\n", what, limit_mib, (unsigned)status);
    CHECK(status == 0);
}

int main(int argc, char **argv) {
    if (argc > 2) {
        live_with(strtoull(argv[1], NULL, 10), argv[2]);
        return 0;
    }
    static const size_t limits_mib[] = {32, 48, 64, 96, 128, 256, 512};
    static char modes[][32] = {"LARDER_HARDENED=0", "LARDER_HARDENED=1", "LARDER_GUARD_SAMPLE=64K"};
    for (unsigned m = 0; m < sizeof modes / sizeof modes[0]; m++) {
        for (unsigned i = 0; i < sizeof limits_mib / sizeof limits_mib[0]; i++) {
            run(argv[0], false, modes[m], limits_mib[i]);
            if (limits_mib[i] == 64 || limits_mib[i] == 256)
                run(argv[0], true, modes[m], limits_mib[i]);
        }
    }
    return 0;
}
