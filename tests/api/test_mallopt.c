// SPDX-License-Identifier: Apache-2.0
//
// mallopt answers as glibc does, and what Larder maps to an option of its own takes effect.
#include <larder/larder.h>

#include "../support/support.h"

START_TEST(test_mallopt__known_parameters_are_accepted) {
    static const int known[][2] = {{M_MXFAST, 64},      {M_TRIM_THRESHOLD, 256 * 1024},
                                   {M_TOP_PAD, 65536},  {M_MMAP_THRESHOLD, 128 * 1024},
                                   {M_MMAP_MAX, 65536}, {M_CHECK_ACTION, 3},
                                   {M_ARENA_TEST, 4},   {M_ARENA_MAX, 4},
                                   {M_PERTURB, 0}};
    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
        EXPECT_INT(larder_mallopt(known[i][0], known[i][1]), ==, 1);
}
END_TEST

START_TEST(test_mallopt__others_are_refused) {
    EXPECT_INT(larder_mallopt(M_MXFAST, 1 << 20), ==, 0);
    EXPECT_INT(larder_mallopt(M_MXFAST, -1), ==, 0);
    EXPECT_INT(larder_mallopt(12345, 1), ==, 0);
}
END_TEST

START_TEST(test_mallopt__heap_goes_on) {
    EXPECT_INT(larder_mallopt(M_MMAP_THRESHOLD, 4096), ==, 1);
    EXPECT_INT(larder_mallopt(M_ARENA_MAX, 1), ==, 1);
    for (size_t bytes = 0; bytes < 300000; bytes += 1 + bytes / 3) {
        char *const block = larder_malloc(bytes);
        EXPECT(block != NULL);
        test_fill(block, bytes, bytes);
        EXPECT_FILLED(block, bytes, bytes);
        larder_free(block);
    }
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("mallopt");
    test_add(suite, test_mallopt__known_parameters_are_accepted);
    test_add(suite, test_mallopt__others_are_refused);
    test_add(suite, test_mallopt__heap_goes_on);
    return suite;
}
