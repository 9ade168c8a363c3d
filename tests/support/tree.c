// SPDX-License-Identifier: Apache-2.0
#include "tree.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

void test_tree_make(struct test_tree *tree) {
    strcpy(tree->root, "/tmp/larder-test-XXXXXX");
    EXPECT(mkdtemp(tree->root) != NULL);
}

void test_tree_put(const struct test_tree *tree, const char *path, const char *text) {
    char name[4096];
    EXPECT_INT(snprintf(name, sizeof name, "%s%s", tree->root, path), <, (int)sizeof name);
    for (char *at = name + strlen(tree->root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        EXPECT(mkdir(name, 0700) == 0 || errno == EEXIST);
        *at = '/';
    }
    FILE *const file = fopen(name, "w");
    EXPECT(file != NULL);
    EXPECT_INT(fputs(text, file), >=, 0);
    EXPECT_INT(fclose(file), ==, 0);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

void test_tree_remove(const struct test_tree *tree) {
    EXPECT_INT(nftw(tree->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), ==, 0);
}
