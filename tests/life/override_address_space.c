// SPDX-License-Identifier: Apache-2.0
//
// An address space like that of a 39-bit machine, and far smaller ones: before Larder's first call
// all but one hole is taken. It starts, leaves room for the program, ends in ENOMEM and goes on.
// The same where all is taken between the start and the first request, and a hole appears later.
#define _GNU_SOURCE 1

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../support/plain.h"

static const size_t mib = 1024 * 1024;

// Keeps the compiler from reasoning about sizes that cannot be.
static size_t opaque(size_t value) {
    __asm__ volatile("" : "+r"(value));
    return value;
}

static void *map_nothing(size_t bytes) {
    void *const p =
        mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

// Takes all address space in pieces of at least `least` bytes; the last that has at least `hole`.
static void *take_all(size_t least, size_t hole) {
    void *last = NULL;
    for (size_t bytes = (size_t)1 << 46; bytes >= least; bytes /= 2) {
        for (void *p = map_nothing(bytes); p != NULL; p = map_nothing(bytes))
            last = bytes >= hole ? p : last;
    }
    return last;
}

// What is left elsewhere are pieces of less.
static void leave_one_hole(size_t hole) {
    void *const last = take_all(hole, hole);
    CHECK(last != NULL && munmap(last, hole) == 0);
}

// Runs before all constructors: the first malloc of the process comes later.
static void restrict_space(int argc, char **argv, char **envp) {
    (void)envp;
    if (argc == 2)
        leave_one_hole(strtoull(argv[1], NULL, 10));
}

__attribute__((section(".preinit_array"),
               used)) static void (*const preinit)(int, char **, char **) = restrict_space;

struct block {
    struct block *next;
};

// Blocks of `bytes` until there are `total`; all must be there, and are given back.
static void use_heap(size_t bytes, size_t total) {
    struct block *chain = NULL;
    for (size_t sum = 0; sum < total; sum += bytes) {
        struct block *const block = malloc(bytes);
        if (block == NULL)
            fprintf(stderr, "%zu of %zu bytes in blocks of %zu\n", sum, total, bytes);
        CHECK(block != NULL);
        memset(block, 1, bytes);
        block->next = chain;
        chain = block;
    }
    while (chain != NULL) {
        struct block *const next = chain->next;
        free(chain);
        chain = next;
    }
}

static void live_in(size_t hole) {
    plain_require_larder();
    const size_t want = hole / 4 > 128 * mib ? 128 * mib : hole / 4;
    use_heap(65536, want);
    use_heap(1000, want);
    use_heap(5 * mib, want);
    // The program's own share, as far as memory allows.
    void *const own =
        mmap(NULL, want / 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(own != MAP_FAILED && munmap(own, want / 2) == 0);
    errno = 0;
    CHECK(malloc(opaque(8 * hole)) == NULL && errno == ENOMEM);
    use_heap(100000, mib);
}

// Larder has started, and nothing was asked of it yet.
static void live_in_later(size_t hole) {
    void *const last = take_all(65536, hole);
    CHECK(last != NULL);
    for (unsigned i = 0; i < 3; i++) {
        errno = 0;
        CHECK(malloc(opaque(10000)) == NULL && errno == ENOMEM);
    }
    CHECK(munmap(last, hole) == 0);
    live_in(hole);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        const size_t hole = strtoull(argv[1], NULL, 10);
        if (argc == 2)
            live_in(hole);
        else
            live_in_later(hole);
        return 0;
    }
    static const size_t holes_mib[] = {256 * 1024, 16 * 1024, 1024, 128, 64};
    const unsigned holes = sizeof holes_mib / sizeof holes_mib[0];
    for (unsigned run = 0; run < 2 * holes; run++) {
        const unsigned i = run % holes;
        const bool later = run >= holes;
        char text[32];
        snprintf(text, sizeof text, "%zu", holes_mib[i] * mib);
        const pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            alarm(30); // a hang ends as a failure
            execl("/proc/self/exe", argv[0], text, later ? "later" : (char *)NULL, (char *)NULL);
            _exit(127);
        }
        int status = 0;
        CHECK(waitpid(pid, &status, 0) == pid);
        if (status != 0)
            fprintf(stderr, "in a hole of %zu MiB%s: wait status %#x\n", holes_mib[i],
                    later ? ", made later" : "", (unsigned)status);
        CHECK(status == 0);
    }
    return 0;
}
