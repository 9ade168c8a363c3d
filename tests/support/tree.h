// SPDX-License-Identifier: Apache-2.0
//
// A folder with files of the test's own making, in the place of those of the system.
#ifndef LARDER_TESTS_TREE_H
#define LARDER_TESTS_TREE_H

#include <stdbool.h>

struct test_tree {
    char root[64];
};

void test_tree_make(struct test_tree *tree); // empty, below /tmp
// Writes the file, with all folders that lead to it; `path` begins with a slash.
void test_tree_put(const struct test_tree *tree, const char *path, const char *text);
void test_tree_remove(const struct test_tree *tree);

#endif
