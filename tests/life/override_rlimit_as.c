// SPDX-License-Identifier: Apache-2.0
//
// A program that starts under RLIMIT_AS, from 32 MiB up: it comes up, starts a thread, allocates
// until NULL with ENOMEM, frees, and allocates as much again. The same for one that lowers its
// limit while it runs.
#define _GNU_SOURCE 1

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "../support/plain.h"

static const size_t mib = 1024 * 1024;

struct block {
    struct block *next;
};

static size_t allocate_until_null(struct block **chain, size_t bytes, size_t enough) {
    size_t total = 0;
    while (total < enough) {
        errno = 0;
        struct block *const block = malloc(bytes);
        if (block == NULL) {
            CHECK(errno == ENOMEM);
            break;
        }
        memset(block, 1, bytes);
        block->next = *chain;
        *chain = block;
        total += bytes;
    }
    return total;
}

static void free_chain(struct block **chain) {
    while (*chain != NULL) {
        struct block *const block = *chain;
        *chain = block->next;
        free(block);
    }
}

static void *allocate_a_little(void *arg) {
    void *const block = malloc(100000);
    CHECK(block != NULL);
    free(block);
    return arg;
}

// Runs in the new program; `limit` is the RLIMIT_AS that it was started with.
static void live_with(size_t limit) {
    plain_require_larder();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, allocate_a_little, NULL) == 0); // 8 MiB of stack
    CHECK(pthread_join(thread, NULL) == 0);
    const size_t enough = limit < 1024 * mib ? limit : 1024 * mib;
    struct block *chain = NULL;
    const size_t sizes[] = {50000, 300, 700000, 50000};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t got = allocate_until_null(&chain, sizes[i], enough);
        if (got < enough / 4)
            fprintf(stderr, "%zu bytes in blocks of %zu\n", got, sizes[i]);
        CHECK(got >= enough / 4);
        free_chain(&chain);
    }
}

int main(int argc, char **argv) {
    if (argc > 1) {
        const size_t bytes = strtoull(argv[1], NULL, 10);
        if (argc > 2) {
            free(malloc(1)); // the heap begins without a limit
            const struct rlimit limit = {bytes, bytes};
            CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
        }
        live_with(bytes);
        return 0;
    }
    static const size_t limits_mib[] = {32, 40, 48, 64, 96, 128, 256, 1024, 65536};
    const unsigned limits = sizeof limits_mib / sizeof limits_mib[0];
    for (unsigned run = 0; run < limits + 2; run++) {
        const bool later = run >= limits; // 64 MiB, 128 MiB
        const unsigned i = later ? 3 + 2 * (run - limits) : run;
        const struct rlimit limit = {limits_mib[i] * mib, limits_mib[i] * mib};
        char text[32];
        snprintf(text, sizeof text, "%zu", limits_mib[i] * mib);
        const pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            CHECK(later || setrlimit(RLIMIT_AS, &limit) == 0);
            execl("/proc/self/exe", argv[0], text, later ? "later" : (char *)NULL, (char *)NULL);
            _exit(127);
        }
        int status = 0;
        CHECK(waitpid(pid, &status, 0) == pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fprintf(stderr, "under %zu MiB%s: wait status %#x\n", limits_mib[i],
                    later ? ", set later" : "", (unsigned)status);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    return 0;
}
