// SPDX-License-Identifier: Apache-2.0
//
// Files shared with other processes: their size is fixed, they are private to their user, and a
// descriptor that the program has given another file is noticed.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../support/support.h"
#include "os/os.h"

enum { BYTES = 65536 };

START_TEST(test_share__has_a_fixed_size_and_one_user) {
    struct stat status;
    const int fd = lr_os_share_create("larder-test", BYTES);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(fstat(fd, &status), ==, 0);
    EXPECT_INT(status.st_size, ==, BYTES);
    EXPECT_UINT(status.st_mode & 0777, ==, 0600);
    EXPECT_UINT(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);
    EXPECT_INT(ftruncate(fd, BYTES / 2), ==, -1);
    EXPECT_INT(ftruncate(fd, 2 * BYTES), ==, -1);
    EXPECT_INT(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), ==, -1);
    char path[64], link[64] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    EXPECT_INT(readlink(path, link, sizeof link - 1), >, 0);
    ck_assert_str_eq(link, "/memfd:larder-test (deleted)");
    lr_os_close(fd);
    EXPECT_INT(fcntl(fd, F_GETFD), ==, -1);
}
END_TEST

START_TEST(test_share__mapping_and_file_are_one) {
    const int first = lr_os_share_create("larder-test", BYTES);
    const int second = lr_os_share_create("larder-test", BYTES);
    char *page = lr_os_share_map(first, 4096, NULL);
    EXPECT(page != NULL);
    EXPECT_INT(lr_os_write_at(first, "hello", 5, 100), ==, 0);
    EXPECT_INT(memcmp(page + 100, "hello", 5), ==, 0);
    // Another file in its place.
    EXPECT_PTR(lr_os_share_map(second, 4096, page), ==, page);
    EXPECT_INT(page[100], ==, 0);
    page[7] = 'x';
    char got = 0;
    EXPECT_INT(pread(second, &got, 1, 7), ==, 1);
    EXPECT_INT(got, ==, 'x');
    EXPECT_INT(lr_os_write_at(first, "far", 3, BYTES - 1), ==, -EPERM);
    EXPECT_INT(lr_os_write_at(-1, "x", 1, 0), ==, -EBADF);
    munmap(page, 4096);
    lr_os_close(first);
    lr_os_close(second);
}
END_TEST

START_TEST(test_share__another_file_under_the_number_is_noticed) {
    struct lr_os_file_id id;
    const int fd = lr_os_share_create("larder-test", BYTES);
    EXPECT(lr_os_file_identify(fd, &id));
    EXPECT(lr_os_file_is(fd, &id));
    const int other = lr_os_share_create("larder-test", BYTES);
    EXPECT_INT(dup2(other, fd), ==, fd);
    EXPECT(!lr_os_file_is(fd, &id));
    close(fd);
    EXPECT(!lr_os_file_is(fd, &id));
    EXPECT(!lr_os_file_identify(fd, &id));
    lr_os_close(other);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("share");
    test_add(suite, test_share__has_a_fixed_size_and_one_user);
    test_add(suite, test_share__mapping_and_file_are_one);
    test_add(suite, test_share__another_file_under_the_number_is_noticed);
    return suite;
}
