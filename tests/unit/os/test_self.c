// SPDX-License-Identifier: Apache-2.0
//
// Memory that may not be there is looked at without a fault.
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../support/support.h"
#include "os/os.h"

// A page that can be read, one that cannot, and one that is not mapped.
static char *make_pages(size_t page) {
    char *pages = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(pages != MAP_FAILED);
    memset(pages, 7, page);
    EXPECT_INT(mprotect(pages + page, page, PROT_NONE), ==, 0);
    EXPECT_INT(munmap(pages + 2 * page, page), ==, 0);
    return pages;
}

START_TEST(test_self__readable) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t own = 0;
    char *pages = make_pages(page);
    EXPECT(lr_os_is_readable(&own));
    EXPECT(lr_os_is_readable(pages));
    EXPECT(lr_os_is_readable(pages + page - 8));
    EXPECT(!lr_os_is_readable(pages + page));
    EXPECT(!lr_os_is_readable(pages + 2 * page));
    EXPECT(!lr_os_is_readable((void *)8));
    EXPECT(!lr_os_is_readable((void *)(UINTPTR_MAX - 7)));
}
END_TEST

START_TEST(test_self__signals_are_as_they_were) {
    const uint64_t before = lr_os_signal_mask();
    uint64_t all = UINT64_MAX;
    EXPECT(lr_os_is_readable(&all));
    EXPECT_UINT(lr_os_signal_mask(), ==, before);
}
END_TEST

START_TEST(test_self__peek) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = make_pages(page);
    uint64_t word = 0;
    if (lr_os_peek(&word, pages, sizeof word) == 0) {
        TEST_SKIP("process_vm_readv is not permitted");
    }
    EXPECT_UINT(word, ==, UINT64_C(0x0707070707070707));
    EXPECT_UINT(lr_os_peek(&word, pages + page, sizeof word), ==, 0);
    EXPECT_UINT(lr_os_peek(&word, pages + 2 * page, sizeof word), ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("self");
    test_add(suite, test_self__readable);
    test_add(suite, test_self__signals_are_as_they_were);
    test_add(suite, test_self__peek);
    return suite;
}
