// SPDX-License-Identifier: Apache-2.0
//
// Memory limits and pressure of control groups, version 1 and 2, read from trees of the test's own.
#include <stdio.h>
#include <string.h>

#include "../../support/support.h"
#include "../../support/tree.h"
#include "os/os.h"

static const size_t mib = (size_t)1 << 20;
static struct test_tree tree;

static void put(const char *path, const char *text) { test_tree_put(&tree, path, text); }

static void expect_allowed(size_t bytes) {
    EXPECT_UINT(lr_os_memory_allowed(tree.root), ==, bytes);
}

static void expect_trouble(uint64_t stalled_us, uint64_t hits) {
    const struct lr_os_memory_trouble trouble = lr_os_memory_trouble(tree.root);
    EXPECT_UINT(trouble.stalled_us, ==, stalled_us);
    EXPECT_UINT(trouble.limit_hits, ==, hits);
}

START_TEST(test_cgroup__nothing_to_read_is_no_limit) {
    test_tree_make(&tree);
    expect_allowed(SIZE_MAX);
    expect_trouble(0, 0);
    put("/proc/self/cgroup", "");
    expect_allowed(SIZE_MAX);
    put("/proc/self/cgroup", "nonsense\n:\n0:\n");
    expect_allowed(SIZE_MAX);
    put("/proc/self/cgroup", "0::/a\n");
    expect_allowed(SIZE_MAX);
    put("/sys/fs/cgroup/a/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.high", "");
    expect_allowed(SIZE_MAX);
    expect_trouble(0, 0);
    test_tree_remove(&tree);
}
END_TEST

START_TEST(test_cgroup__the_smallest_limit_on_the_way_counts) {
    test_tree_make(&tree);
    put("/proc/self/cgroup", "0::/a/b/c\n");
    put("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
    put("/sys/fs/cgroup/a/b/memory.max", "536870912\n");
    put("/sys/fs/cgroup/a/memory.max", "1073741824\n");
    expect_allowed(512 * mib);
    put("/sys/fs/cgroup/a/b/c/memory.high", "268435456\n");
    expect_allowed(256 * mib);
    put("/sys/fs/cgroup/a/memory.max", "104857600\n");
    expect_allowed(100 * mib);
    put("/sys/fs/cgroup/a/b/c/memory.max", "0\n"); // legal: everything is over it
    expect_allowed(0);
    put("/sys/fs/cgroup/x/memory.max", "1\n"); // another group's
    put("/proc/self/cgroup", "0::/a\n");
    expect_allowed(100 * mib);
    test_tree_remove(&tree);
}
END_TEST

// In a container: its group is the root of its namespace, or its path has no folders below the
// mount, which shows the group itself.
START_TEST(test_cgroup__containers) {
    test_tree_make(&tree);
    put("/sys/fs/cgroup/memory.max", "314572800\n");
    static const char *const paths[] = {"0::/\n", "0::/docker/0123abcd\n", "0::/../../elsewhere\n",
                                        "1:name=systemd:/x\n0::/\n"};
    for (unsigned i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        put("/proc/self/cgroup", paths[i]);
        expect_allowed(300 * mib);
    }
    // Outside the namespace: not by way of "..".
    put("/sys/secret/memory.max", "1\n");
    put("/proc/self/cgroup", "0::/../secret\n");
    expect_allowed(300 * mib);
    test_tree_remove(&tree);
}
END_TEST

START_TEST(test_cgroup__version_1) {
    test_tree_make(&tree);
    put("/proc/self/cgroup",
        "9:name=systemd:/\n8:cpu,cpuacct:/other\n4:hugetlb,memory:/a/b\n0::/\n");
    put("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/other/memory.limit_in_bytes", "1\n");
    expect_allowed(SIZE_MAX);
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "536870912\n");
    expect_allowed(512 * mib);
    put("/sys/fs/cgroup/memory/a/b/memory.failcnt", "17\n");
    put("/sys/fs/cgroup/memory/a/memory.failcnt", "1000\n");
    expect_trouble(0, 17);
    put("/proc/self/cgroup", "4:memoryless,nomemory:/a/b\n");
    expect_allowed(SIZE_MAX);
    test_tree_remove(&tree);
}
END_TEST

START_TEST(test_cgroup__trouble) {
    static const char pressure[] = "some avg10=1.50 avg60=0.20 avg300=0.00 total=%s\n"
                                   "full avg10=0.00 avg60=0.00 avg300=0.00 total=999\n";
    char machine[256], group[256];
    snprintf(machine, sizeof machine, pressure, "4711");
    snprintf(group, sizeof group, pressure, "12");
    test_tree_make(&tree);
    put("/proc/pressure/memory", machine);
    expect_trouble(4711, 0);
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/memory.events", "low 5\nhigh 30\nmax 4\noom 2\noom_kill 1\n");
    expect_trouble(4711, 34);
    put("/sys/fs/cgroup/a/memory.pressure", group);
    expect_trouble(12, 34);
    test_tree_remove(&tree);
}
END_TEST

START_TEST(test_cgroup__long_paths) {
    static char line[3000];
    test_tree_make(&tree);
    put("/sys/fs/cgroup/memory.max", "314572800\n");
    strcpy(line, "0::");
    memset(line + 3, 'a', 2500);
    line[3] = '/';
    put("/proc/self/cgroup", line);
    expect_allowed(300 * mib);
    memset(line + 3, 'a', 1000); // too long only with what is in front of it and behind it
    line[3] = '/';
    line[1003] = '\0';
    for (unsigned length = 1003; length > 900; length--) {
        line[length] = '\0';
        put("/proc/self/cgroup", line);
        expect_allowed(300 * mib);
    }
    test_tree_remove(&tree);
}
END_TEST

// Whatever this machine has: no crash, and a limit that is one.
START_TEST(test_cgroup__of_this_process) {
    EXPECT_UINT(lr_os_memory_allowed(""), >, 0);
    const struct lr_os_memory_trouble before = lr_os_memory_trouble("");
    const struct lr_os_memory_trouble after = lr_os_memory_trouble("");
    EXPECT_UINT(after.stalled_us, >=, before.stalled_us);
    EXPECT_UINT(after.limit_hits, >=, before.limit_hits);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("cgroup");
    test_add(suite, test_cgroup__nothing_to_read_is_no_limit);
    test_add(suite, test_cgroup__the_smallest_limit_on_the_way_counts);
    test_add(suite, test_cgroup__containers);
    test_add(suite, test_cgroup__version_1);
    test_add(suite, test_cgroup__trouble);
    test_add(suite, test_cgroup__long_paths);
    test_add(suite, test_cgroup__of_this_process);
    return suite;
}
