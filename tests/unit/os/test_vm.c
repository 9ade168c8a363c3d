// SPDX-License-Identifier: Apache-2.0
//
// Address space: what is reserved, committed, purged and unmapped.
#include "os/os.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../support/child.h"
#include "../../support/support.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static const size_t mib = (size_t)1 << 20;

// The kernel's word on whether all of the range is mapped.
static bool is_mapped(void *p, size_t bytes) {
    unsigned char resident[1024];
    EXPECT_UINT(bytes / lr_os_page_bytes(), <=, sizeof resident);
    return mincore(p, bytes, resident) == 0;
}

// Whether it can be read, without a signal: a system call that reads it says.
static bool is_readable(const void *p) {
    int ends[2];
    EXPECT_INT(pipe(ends), ==, 0);
    const ssize_t written = write(ends[1], p, 1);
    close(ends[0]);
    close(ends[1]);
    return written == 1;
}

static unsigned resident_pages(void *p, size_t bytes) {
    unsigned char resident[1024];
    EXPECT_INT(mincore(p, bytes, resident), ==, 0);
    unsigned count = 0;
    for (size_t i = 0; i < bytes / lr_os_page_bytes(); i++)
        count += resident[i] & 1;
    return count;
}

START_TEST(test_vm__page_size_is_the_kernels) {
    lr_os_init();
    EXPECT_UINT(lr_os_page_bytes(), ==, (size_t)sysconf(_SC_PAGESIZE));
}
END_TEST

START_TEST(test_vm__reservations_are_aligned_and_inaccessible) {
    lr_os_init();
    for (size_t align = lr_os_page_bytes(); align <= 64 * mib; align *= 2) {
        char *const p = lr_os_reserve(mib, align);
        EXPECT(p != NULL);
        EXPECT_ALIGNED(p, align);
        EXPECT(is_mapped(p, mib));
        EXPECT(!is_readable(p));
        EXPECT(!is_readable(p + mib - 1));
        // What was mapped for the alignment only is gone, or is no part of this mapping.
        lr_os_unmap(p, mib);
        EXPECT(!is_mapped(p, mib));
    }
}
END_TEST

START_TEST(test_vm__alignment_leaves_nothing_mapped_around) {
    lr_os_init();
    const size_t before = test_virtual_bytes();
    void *const p = lr_os_reserve(mib, 64 * mib);
    EXPECT_UINT(test_virtual_bytes() - before, ==, mib);
    lr_os_unmap(p, mib);
    EXPECT_UINT(test_virtual_bytes(), ==, before);
}
END_TEST

START_TEST(test_vm__impossible_sizes_are_refused) {
    lr_os_init();
    const size_t page = lr_os_page_bytes();
    EXPECT_PTR(lr_os_reserve((size_t)1 << 60, page), ==, NULL);
    EXPECT_PTR(lr_os_reserve(SIZE_MAX - page + 1, 64 * mib), ==, NULL); // the sum overflows
    EXPECT_PTR(lr_os_map(SIZE_MAX - page + 1, 64 * mib), ==, NULL);
    EXPECT_PTR(lr_os_map((size_t)1 << 60, page), ==, NULL);
}
END_TEST

START_TEST(test_vm__committed_part_of_a_reservation_is_zero_and_writable) {
    lr_os_init();
    char *const p = lr_os_reserve(mib, mib);
    EXPECT(p != NULL);
    EXPECT(lr_os_commit(p + mib / 4, mib / 4, true));
    EXPECT_ZERO(p + mib / 4, mib / 4);
    test_fill(p + mib / 4, mib / 4, 1);
    EXPECT_FILLED(p + mib / 4, mib / 4, 1);
    EXPECT(!is_readable(p + mib / 4 - 1));
    EXPECT(!is_readable(p + mib / 2));
}
END_TEST

// In a window that is only planned nothing that others have mapped may be replaced.
START_TEST(test_vm__commit_outside_a_reservation_never_replaces) {
    lr_os_init();
    char *const p = lr_os_reserve(3 * mib, mib);
    EXPECT(p != NULL);
    lr_os_unmap(p, 3 * mib);
    EXPECT(lr_os_commit(p, mib, false));
    test_fill(p, mib, 7);
    EXPECT(!lr_os_commit(p, mib, false));
    EXPECT(!lr_os_commit(p + mib / 2, mib, false)); // the first half is in use
    EXPECT_FILLED(p, mib, 7);
    EXPECT(!is_mapped(p + mib, mib / 2));
    EXPECT(lr_os_commit(p + mib, mib, false));
    EXPECT_ZERO(p + mib, mib);
}
END_TEST

static void commit_more_than_allowed(void *arg) {
    (void)arg;
    lr_os_init();
    const size_t now = test_virtual_bytes();
    const struct rlimit limit = {now + 8 * mib, now + 8 * mib};
    EXPECT_INT(setrlimit(RLIMIT_AS, &limit), ==, 0);
    EXPECT_UINT(lr_os_address_limit(), ==, now + 8 * mib);
    EXPECT_PTR(lr_os_map(64 * mib, lr_os_page_bytes()), ==, NULL);
    EXPECT_PTR(lr_os_reserve(64 * mib, lr_os_page_bytes()), ==, NULL);
    EXPECT(!lr_os_commit((char *)0x100000000000, 64 * mib, false));
    void *const p = lr_os_map(mib, lr_os_page_bytes());
    EXPECT(p != NULL);
    EXPECT_ZERO(p, mib);
}

START_TEST(test_vm__refusals_under_an_address_limit) {
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN) {
        TEST_SKIP("the sanitizer's shadow memory does not live under RLIMIT_AS");
    }
    struct test_child child;
    EXPECT_UINT(lr_os_address_limit(), ==, SIZE_MAX);
    test_child_run(&child, 20, commit_more_than_allowed, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

START_TEST(test_vm__purged_pages_read_as_zero) {
    lr_os_init();
    char *const p = lr_os_map(mib, mib);
    EXPECT(p != NULL);
    EXPECT_ZERO(p, mib);
    const size_t half = mib / 2;
    test_fill(p, half, 3);
    test_fill(p + half, half, 4);
    EXPECT_UINT(resident_pages(p, mib), ==, mib / lr_os_page_bytes());
    EXPECT(lr_os_purge(p, half));
    EXPECT_UINT(resident_pages(p, half), ==, 0);
    EXPECT_ZERO(p, half);
    EXPECT_FILLED(p + half, half, 4);
    EXPECT_UINT(resident_pages(p + half, half), ==, half / lr_os_page_bytes());
}
END_TEST

enum { RANGES = 150 }; // more than two batches

START_TEST(test_vm__ranges_are_purged_in_few_calls) {
    lr_os_init();
    const size_t page = lr_os_page_bytes();
    char *const p = lr_os_map(2 * RANGES * page, page);
    static struct lr_os_range ranges[RANGES];
    EXPECT(p != NULL);
    memset(p, 1, 2 * RANGES * page);
    for (size_t i = 0; i < RANGES; i++)
        ranges[i] = (struct lr_os_range){p + 2 * i * page, page};
    uint64_t calls = 5;
    EXPECT_UINT(lr_os_purge_ranges(ranges, RANGES, &calls), ==, RANGES);
    EXPECT_UINT(calls, >, 5); // it adds
    EXPECT_UINT(calls - 5, <=, RANGES + 1);
    for (size_t i = 0; i < RANGES; i++) {
        EXPECT_ZERO(p + 2 * i * page, page);
        EXPECT_INT(p[(2 * i + 1) * page], ==, 1); // between two ranges
    }
    EXPECT_UINT(lr_os_purge_ranges(ranges, 0, &calls), ==, 0);
}
END_TEST

static struct lr_os_range some_ranges[8];
static uint64_t calls_of_main;

static uint64_t calls_for_some(void) {
    uint64_t calls = 0;
    EXPECT_UINT(lr_os_purge_ranges(some_ranges, 8, &calls), ==, 8);
    return calls;
}

// Other threads may be those of a sanitizer.
static bool main_has_ended(void *unused) {
    (void)unused;
    char path[64];
    char text[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    lr_os_read_file(path, text, sizeof text);
    const char *const name_end = strrchr(text, ')');
    return name_end != NULL && name_end[2] == 'Z';
}

static void *purge_alone(void *unused) {
    EXPECT(test_wait_until(main_has_ended, unused, 10000));
    _exit(calls_for_some() == calls_of_main ? 0 : 1);
}

static void purge_after_main(void *unused) {
    lr_os_init();
    const size_t page = lr_os_page_bytes();
    char *const p = lr_os_map(16 * page, page);
    for (size_t i = 0; i < 8; i++)
        some_ranges[i] = (struct lr_os_range){p + 2 * i * page, page};
    calls_of_main = calls_for_some();
    pthread_t thread;
    EXPECT_INT(pthread_create(&thread, NULL, purge_alone, unused), ==, 0);
    pthread_exit(NULL);
}

// The thread that stands for the process has no memory then.
START_TEST(test_vm__ranges_are_purged_in_few_calls_after_the_main_thread) {
    struct test_child child;
    test_child_run(&child, 20, purge_after_main, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

// The kernel does not take locked pages back: what was done up to there is said. (A system call,
// because sanitizers make mlock() do nothing.)
START_TEST(test_vm__purge_stops_at_a_refusal) {
    lr_os_init();
    enum { PIECES = 6, LOCKED = 4 };
    const size_t page = lr_os_page_bytes();
    char *const p = lr_os_map(PIECES * page, page);
    struct lr_os_range ranges[PIECES];
    EXPECT(p != NULL);
    memset(p, 1, PIECES * page);
    if (syscall(SYS_mlock, p + LOCKED * page, page) != 0) {
        TEST_SKIP("not allowed to lock a page");
    }
    for (size_t i = 0; i < PIECES; i++)
        ranges[i] = (struct lr_os_range){p + i * page, page};
    uint64_t calls = 0;
    EXPECT(!lr_os_purge(p + LOCKED * page, page));
    EXPECT_UINT(lr_os_purge_ranges(ranges, PIECES, &calls), ==, LOCKED);
    EXPECT_ZERO(p, LOCKED * page);
    EXPECT_INT(p[LOCKED * page], ==, 1);
    EXPECT_INT(p[(LOCKED + 1) * page], ==, 1);
    EXPECT_UINT(calls, >=, 1);
}
END_TEST

START_TEST(test_vm__mappings_are_aligned_and_end_where_they_should) {
    lr_os_init();
    for (size_t align = lr_os_page_bytes(); align <= 256 * mib; align *= 4) {
        const size_t bytes = 3 * lr_os_page_bytes();
        const size_t before = test_virtual_bytes();
        char *const p = lr_os_map(bytes, align);
        EXPECT(p != NULL);
        EXPECT_ALIGNED(p, align);
        EXPECT_UINT(test_virtual_bytes() - before, ==, bytes);
        EXPECT_ZERO(p, bytes);
        memset(p, 1, bytes);
        lr_os_unmap(p, bytes);
        EXPECT(!is_mapped(p, lr_os_page_bytes()));
        EXPECT_UINT(test_virtual_bytes(), ==, before);
    }
}
END_TEST

// The line of /proc/self/smaps that begins with `key`, of the mapping that begins at p.
static void smaps_line(const void *p, const char *key, char *line, size_t cap) {
    static char text[1 << 20];
    char first[32];
    size_t length = 0;
    const int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    for (ssize_t got; (got = read(fd, text + length, sizeof text - 1 - length)) > 0;)
        length += (size_t)got;
    close(fd);
    text[length] = '\0';
    snprintf(first, sizeof first, "%zx-", (size_t)p);
    const char *at = strstr(text, first);
    EXPECT(at != NULL);
    at = strstr(at, key);
    EXPECT(at != NULL);
    snprintf(line, cap, "%.*s", (int)strcspn(at, "\n"), at);
}

START_TEST(test_vm__huge_pages_are_asked_for_and_refused) {
    lr_os_init();
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) != 0) {
        TEST_SKIP("the kernel has no transparent huge pages");
    }
    // Between two pieces that are not committed, so that it stays a mapping of its own.
    char *const p = (char *)lr_os_reserve(8 * mib, 2 * mib) + 2 * mib;
    char flags[256];
    EXPECT(lr_os_commit(p, 4 * mib, true));
    lr_os_huge_pages(p, 4 * mib, true);
    smaps_line(p, "VmFlags:", flags, sizeof flags);
    EXPECT(strstr(flags, " hg") != NULL);
    lr_os_huge_pages(p, 4 * mib, false);
    smaps_line(p, "VmFlags:", flags, sizeof flags);
    EXPECT(strstr(flags, " nh") != NULL);
    EXPECT(strstr(flags, " hg") == NULL);
}
END_TEST

// A kernel without CONFIG_ANON_VMA_NAME refuses all names.
START_TEST(test_vm__names_are_seen_in_maps) {
    lr_os_init();
    char *const p = (char *)lr_os_reserve(8 * mib, 2 * mib) + 2 * mib;
    char first_line[256];
    EXPECT(lr_os_commit(p, 4 * mib, true));
    const bool can = prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 4 * mib, "tested") == 0;
    lr_os_name_range(p, 4 * mib, "larder");
    smaps_line(p, "", first_line, sizeof first_line);
    EXPECT(can == (strstr(first_line, "[anon:larder]") != NULL));
    if (!can)
        TEST_SKIP("the kernel has no names for mappings");
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("vm");
    test_add(suite, test_vm__page_size_is_the_kernels);
    test_add(suite, test_vm__reservations_are_aligned_and_inaccessible);
    test_add(suite, test_vm__alignment_leaves_nothing_mapped_around);
    test_add(suite, test_vm__impossible_sizes_are_refused);
    test_add(suite, test_vm__committed_part_of_a_reservation_is_zero_and_writable);
    test_add(suite, test_vm__commit_outside_a_reservation_never_replaces);
    test_add(suite, test_vm__refusals_under_an_address_limit);
    test_add(suite, test_vm__purged_pages_read_as_zero);
    test_add(suite, test_vm__ranges_are_purged_in_few_calls);
    test_add(suite, test_vm__ranges_are_purged_in_few_calls_after_the_main_thread);
    test_add(suite, test_vm__purge_stops_at_a_refusal);
    test_add(suite, test_vm__mappings_are_aligned_and_end_where_they_should);
    test_add(suite, test_vm__huge_pages_are_asked_for_and_refused);
    test_add(suite, test_vm__names_are_seen_in_maps);
    return suite;
}
