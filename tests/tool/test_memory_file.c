// SPDX-License-Identifier: Apache-2.0
//
// Files in memory are opened out of /proc by their name, and nothing else that a process may have
// put there: not a pipe, on which opening would wait.
#define _GNU_SOURCE 1

#include "tool/memory_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/support.h"

static int open_own(int fd, const char *name) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return lr_memory_file_open(AT_FDCWD, link, name, O_RDWR);
}

START_TEST(test_memory_file__is_opened_by_its_name) {
    const int fd = lr_memory_file_make("some-name");
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, 0);
    EXPECT_INT(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), ==, 0);
    const int other = open_own(fd, "some-name");
    EXPECT_INT(other, >=, 0);
    EXPECT_INT(fcntl(other, F_GETFD) & FD_CLOEXEC, !=, 0);
    EXPECT_INT(pwrite(other, "text", 4, 0), ==, 4);
    char text[4];
    EXPECT_INT(pread(fd, text, 4, 0), ==, 4);
    EXPECT_INT(open_own(fd, "some-nam"), ==, -1);
    EXPECT_INT(open_own(fd, "some-name2"), ==, -1);
}
END_TEST

START_TEST(test_memory_file__other_files_are_left_alone) {
    int ends[2];
    char path[] = "/tmp/larder-test-XXXXXX";
    EXPECT_INT(pipe(ends), ==, 0);
    EXPECT_INT(open_own(ends[0], "some-name"), ==, -1);
    const int file = mkstemp(path);
    EXPECT_INT(file, >=, 0);
    EXPECT_INT(unlink(path), ==, 0);
    EXPECT_INT(open_own(file, "some-name"), ==, -1);
    EXPECT_INT(open_own(1000000, "some-name"), ==, -1);
    // As root: a pipe whose link says what that of a file in memory would.
    if (mkfifo("/memfd:some-name (deleted)", 0600) == 0) {
        const int fifo = open("/memfd:some-name (deleted)", O_RDWR | O_NONBLOCK);
        const int opened = open_own(fifo, "some-name");
        EXPECT_INT(unlink("/memfd:some-name (deleted)"), ==, 0);
        EXPECT_INT(fifo, >=, 0);
        EXPECT_INT(opened, ==, -1);
    }
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("memory_file");
    test_add(suite, test_memory_file__is_opened_by_its_name);
    test_add(suite, test_memory_file__other_files_are_left_alone);
    return suite;
}
