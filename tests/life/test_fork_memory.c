// SPDX-License-Identifier: Apache-2.0
//
// What a fork costs in memory: pages of the heap that parent and child no longer share once one of
// them has freed half of its blocks. The kernel says which (pagemap: mapped by nobody else).
#define _GNU_SOURCE 1

#include <larder/larder.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/child.h"
#include "../support/support.h"
#include "heap/window.h"
#include "os/os.h"

enum { COUNT = 120000, PERMILLE = 8, LITTLE = 64, CHILD_SECONDS = 30 };

static char *blocks[COUNT];
static uint32_t order[COUNT];

// Bytes that are this process's alone.
struct own {
    size_t blocks, records;
};

static size_t own_bytes(int pagemap, const char *start, const char *end) {
    enum { AT_ONCE = 8192 };
    static uint64_t entries[AT_ONCE];
    const uint64_t own = UINT64_C(1) << 63 | UINT64_C(1) << 56; // present, mapped exclusively
    const size_t page_bytes = lr_os_page_bytes();
    size_t pages = 0;
    while (start < end) {
        const size_t left = (size_t)(end - start) / page_bytes;
        const size_t wanted = (left < AT_ONCE ? left : AT_ONCE) * sizeof *entries;
        const off_t at = (off_t)((uintptr_t)start / page_bytes * sizeof *entries);
        const ssize_t got = pread(pagemap, entries, wanted, at);
        EXPECT_INT(got, ==, (ssize_t)wanted);
        for (size_t i = 0; i < wanted / sizeof *entries; i++)
            pages += (entries[i] & own) == own;
        start += wanted / sizeof *entries * page_bytes;
    }
    return pages * page_bytes;
}

static struct own own_of_heap(void) {
    const int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    EXPECT_INT(pagemap, >=, 0);
    const char *const pools = lr_page_address(lr_window.first_pool_page);
    const struct own own = {
        .blocks = own_bytes(pagemap, pools, lr_page_address(lr_load_relaxed(&lr_window.pages))),
        .records =
            own_bytes(pagemap, lr_window.base, pools) +
            own_bytes(pagemap, lr_window.meta_base, lr_window.meta_base + lr_window.meta_bytes),
    };
    close(pagemap);
    return own;
}

// Service-like sizes, all written; returns their bytes.
static size_t fill(struct test_rng *rng) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint64_t draw = test_rng_below(rng, 1000);
        const size_t size = draw < 450   ? 8 + test_rng_below(rng, 56)
                            : draw < 750 ? 64 + test_rng_below(rng, 192)
                            : draw < 900 ? 256 + test_rng_below(rng, 768)
                            : draw < 980 ? 1024 + test_rng_below(rng, 7168)
                                         : 8192 + test_rng_below(rng, 57344);
        blocks[i] = larder_malloc(size);
        EXPECT(blocks[i] != NULL);
        memset(blocks[i], 1, size);
        bytes += size;
        const uint64_t other = test_rng_below(rng, i + 1);
        order[i] = order[other];
        order[other] = i;
    }
    return bytes;
}

static void free_half(void) {
    for (uint32_t i = 0; i < COUNT / 2; i++)
        larder_free(blocks[order[i]]);
}

// No block is written to by its free, so that only records are copied: descriptors of spans with
// the bits of their blocks, no more than PERMILLE of the heap, and what a cache is made of.
static void expect_little(const char *whose, size_t heap_bytes) {
    const struct own before = own_of_heap();
    free_half();
    const struct own after = own_of_heap();
    printf("%s: of %zu KiB of blocks half was freed; not shared are %zu KiB of records "
           "(%zu before) and %zu KiB of blocks (%zu)\n",
           whose, heap_bytes / 1024, after.records / 1024, before.records / 1024,
           after.blocks / 1024, before.blocks / 1024);
    fflush(stdout);
    EXPECT_UINT(after.blocks, <=, before.blocks);
    EXPECT_UINT(after.records, <=,
                before.records + heap_bytes / 1000 * PERMILLE + LITTLE * lr_os_page_bytes());
}

static void begin_child(void) {
    test_child_mark_current();
    alarm(CHILD_SECONDS); // a hang ends by SIGALRM
}

static void wait_for(pid_t child) {
    int status = -1;
    EXPECT_INT(waitpid(child, &status, 0), ==, child);
    EXPECT_INT(status, ==, 0);
}

START_TEST(test_fork_memory__child_copies_records_only) {
    struct test_rng rng = {test_seed()};
    const size_t heap_bytes = fill(&rng);
    const pid_t child = fork();
    EXPECT_INT(child, >=, 0);
    if (child == 0) {
        begin_child();
        expect_little("child", heap_bytes);
        _exit(0);
    }
    wait_for(child);
}
END_TEST

START_TEST(test_fork_memory__parent_copies_records_only) {
    struct test_rng rng = {test_seed()};
    const size_t heap_bytes = fill(&rng);
    int until[2];
    EXPECT_INT(pipe(until), ==, 0);
    const pid_t child = fork();
    EXPECT_INT(child, >=, 0);
    if (child == 0) {
        begin_child();
        close(until[1]);
        char end;
        EXPECT_INT(read(until[0], &end, 1), ==, 0); // until the parent closes it
        _exit(0);
    }
    expect_little("parent", heap_bytes);
    close(until[1]);
    wait_for(child);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("fork_memory");
    test_add(suite, test_fork_memory__child_copies_records_only);
    test_add(suite, test_fork_memory__parent_copies_records_only);
    return suite;
}
