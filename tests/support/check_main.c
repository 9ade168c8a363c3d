// SPDX-License-Identifier: Apache-2.0
//
// main() of every Check-based test program: `<program> [test name]`. CK_FORK=no runs the tests in
// this process (for a debugger), CK_VERBOSITY=verbose lists them. Exit: 0 all passed, 1 some
// failed, 77 all skipped, 2 no such test.
#define _GNU_SOURCE 1

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support.h"

// Tests run in forked children, so the count of skipped ones lives in a shared page.
static _Atomic(int) *skipped;

void test_skip_note(const char *why) {
    dprintf(STDERR_FILENO, "skipped: %s\n", why);
    atomic_fetch_add(skipped, 1);
}

void test_add_limit(Suite *suite, const TTest *test, unsigned seconds) {
    TCase *tcase = tcase_create(test->name);
    const unsigned scale = TEST_UNDER_ASAN || TEST_UNDER_TSAN ? 4 : 1;
    tcase_set_timeout(tcase, seconds * scale);
    tcase_add_test(tcase, test);
    suite_add_tcase(suite, tcase);
}

void test_add(Suite *suite, const TTest *test) { test_add_limit(suite, test, 60); }

int main(int argc, char **argv) {
    skipped =
        mmap(NULL, sizeof *skipped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (skipped == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    printf("LARDER_TEST_SEED=%ju\n", (uintmax_t)test_seed());
    fflush(stdout);

    SRunner *runner = srunner_create(lr_suite());
    srunner_run(runner, NULL, argc > 1 ? argv[1] : NULL, CK_ENV);
    const int run = srunner_ntests_run(runner);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (run == 0) {
        fprintf(stderr, "no test is named %s\n", argc > 1 ? argv[1] : "anything");
        return 2;
    }
    if (failed > 0)
        return 1;
    return atomic_load(skipped) == run ? 77 : 0;
}
