// SPDX-License-Identifier: Apache-2.0
//
// What Larder costs the process beside its blocks: wake-ups of the background thread, mappings,
// records.
#define _GNU_SOURCE 1

#include <larder/ctl.h>
#include <larder/larder.h>
#include <larder/stats.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/child.h"
#include "../support/support.h"

static const size_t mib = 1024 * 1024;

static struct larder_stats stats(void) {
    struct larder_stats out;
    EXPECT_INT(larder_stats_get(&out, sizeof out), ==, 0);
    return out;
}

// Reads a file of the thread called "larder"; false if there is none.
static bool read_of_scavenger(const char *leaf, char *text, size_t bytes) {
    bool found = false;
    DIR *const tasks = opendir("/proc/self/task");
    EXPECT(tasks != NULL);
    for (const struct dirent *task; !found && (task = readdir(tasks)) != NULL;) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file == NULL)
            continue;
        found = fgets(name, sizeof name, file) != NULL && strcmp(name, "larder\n") == 0;
        fclose(file);
        if (found) {
            snprintf(path, sizeof path, "/proc/self/task/%s/%s", task->d_name, leaf);
            EXPECT((file = fopen(path, "r")) != NULL);
            text[fread(text, 1, bytes - 1, file)] = '\0';
            fclose(file);
        }
    }
    closedir(tasks);
    return found;
}

static uint64_t number_behind(const char *text, const char *key) {
    const char *const at = strstr(text, key);
    EXPECT(at != NULL);
    return strtoull(at + strlen(key), NULL, 10);
}

static uint64_t switches_in(const char *status) {
    return number_behind(status, "\nvoluntary_ctxt_switches:") +
           number_behind(status, "\nnonvoluntary_ctxt_switches:");
}

static uint64_t scavenger_switches(void) {
    char status[4096];
    EXPECT(read_of_scavenger("status", status, sizeof status));
    return switches_in(status);
}

// It sleeps, and has not run since another look. (One that waits for a processor is not asleep.)
static bool rests(void *arg) {
    (void)arg;
    char before[4096], after[4096];
    if (!read_of_scavenger("status", before, sizeof before))
        return false;
    test_sleep_ms(1200); // the longest that it sleeps with a timeout is a second
    EXPECT(read_of_scavenger("status", after, sizeof after));
    return strstr(after, "\nState:\tS") != NULL && switches_in(after) == switches_in(before);
}

// How often this thread has gone to sleep.
static uint64_t own_sleeps(void) {
    struct rusage usage;
    EXPECT_INT(getrusage(RUSAGE_THREAD, &usage), ==, 0);
    return (uint64_t)usage.ru_nvcsw;
}

static unsigned quiet_seconds(void) {
    return (unsigned)test_env_u64("LARDER_TEST_QUIET_SECONDS", 2);
}

// A process that has nothing to return is not woken, LARDER_TEST_QUIET_SECONDS long.
START_TEST(test_footprint__no_wake_ups_when_clean) {
    EXPECT_INT(larder_option_set("idle_thread_ms", 500), ==, 0);
    void *blocks[64];
    for (unsigned i = 0; i < 64; i++) {
        blocks[i] = larder_malloc(mib);
        EXPECT(blocks[i] != NULL);
        memset(blocks[i], 1, mib);
    }
    for (unsigned i = 0; i < 64; i++)
        larder_free(blocks[i]);
    larder_idle();
    EXPECT(test_wait_until(rests, NULL, 20000));
    const uint64_t runs = stats().scavenge_runs;
    uint64_t woken, own;
    unsigned tries = 0;
    // Stopping the whole process, as debuggers and freezers do, wakes each thread, this one too.
    do {
        const uint64_t before = scavenger_switches(), own_before = own_sleeps();
        test_sleep_ms(quiet_seconds() * 1000);
        own = own_sleeps() - own_before;
        woken = scavenger_switches() - before;
    } while (woken != 0 && own > 1 && ++tries < 5);
    EXPECT_UINT(woken, ==, 0);
    EXPECT_UINT(stats().scavenge_runs, ==, runs);
}
END_TEST

static unsigned mappings(void) {
    unsigned lines = 0;
    FILE *const file = fopen("/proc/self/maps", "r");
    EXPECT(file != NULL);
    for (int c; (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    fclose(file);
    return lines;
}

// A process may have 65,530. Holes are returned inside mappings, which stay whole; what splits them
// is telling the kernel about huge pages, and that is bounded. Nothing is touched: it would be 30
// GB.
START_TEST(test_footprint__mappings_are_bounded) {
    enum { COUNT = 100000, BYTES = 300000, MOST = 9000 };
    static char *blocks[COUNT];
    const unsigned before = mappings();
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = larder_malloc(BYTES);
        if (blocks[i] == NULL)
            TEST_SKIP("the machine does not grant 30 GB of address space");
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        larder_free(blocks[i]);
        blocks[i] = NULL;
    }
    larder_release(SIZE_MAX);
    printf("mappings: %u before, %u with %u blocks and as many holes\n", before, mappings(),
           COUNT / 2u);
    EXPECT_UINT(mappings(), <=, before + MOST);
    for (unsigned i = 1; i < COUNT; i += 2)
        larder_free(blocks[i]);
}
END_TEST

// The mix of a service: most blocks are small, a few are large.
static size_t service_size(struct test_rng *rng) {
    const uint64_t draw = test_rng_below(rng, 1000);
    return draw < 450   ? 8 + test_rng_below(rng, 56)
           : draw < 750 ? 64 + test_rng_below(rng, 192)
           : draw < 900 ? 256 + test_rng_below(rng, 768)
           : draw < 980 ? 1024 + test_rng_below(rng, 7168)
                        : 8192 + test_rng_below(rng, 57344);
}

START_TEST(test_footprint__records_are_few) {
    enum { COUNT = 60000 };
    static void *blocks[COUNT];
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < COUNT; i++)
        EXPECT((blocks[i] = larder_malloc(service_size(&rng))) != NULL);
    const struct larder_stats now = stats();
    EXPECT_UINT(now.live_bytes, >, 40 * mib);
    EXPECT_UINT(now.metadata_bytes * 1000, <, now.live_bytes * 15);
    for (unsigned i = 0; i < COUNT; i++)
        larder_free(blocks[i]);
}
END_TEST

enum { CORE_BLOCKS = 64 };

// Dumps core into the directory `arg`, with the heap that it was given.
static void dump_core(void *arg) {
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_CORE, &unlimited) != 0)
        _exit(TEST_CHILD_SKIP);
    EXPECT_INT(chdir(arg), ==, 0);
    abort();
}

// Bytes on disk of the core that a child of this process leaves; 0 if the machine leaves none.
static size_t core_bytes(void) {
    char directory[] = "/tmp/larder-core-XXXXXX";
    struct test_child child;
    size_t bytes = 0;
    EXPECT(mkdtemp(directory) != NULL);
    test_child_run(&child, 20, dump_core, directory);
    DIR *const files = opendir(directory);
    EXPECT(files != NULL);
    for (const struct dirent *file; (file = readdir(files)) != NULL;) {
        char path[300];
        struct stat facts;
        snprintf(path, sizeof path, "%s/%s", directory, file->d_name);
        if (stat(path, &facts) == 0 && S_ISREG(facts.st_mode)) {
            bytes += (size_t)facts.st_blocks * 512;
            EXPECT_INT(unlink(path), ==, 0);
        }
    }
    closedir(files);
    EXPECT_INT(rmdir(directory), ==, 0);
    return bytes;
}

// The kernel leaves holes in the file where pages have no memory. So what was returned needs no
// MADV_DONTDUMP.
START_TEST(test_footprint__returned_pages_are_not_in_a_core) {
    void *blocks[CORE_BLOCKS];
    for (unsigned i = 0; i < CORE_BLOCKS; i++) {
        EXPECT((blocks[i] = larder_malloc(mib)) != NULL);
        memset(blocks[i], 1, mib);
    }
    const size_t full = core_bytes();
    if (full == 0)
        TEST_SKIP("no core file is written where the process is");
    EXPECT_UINT(full, >=, CORE_BLOCKS * mib);
    for (unsigned i = 0; i < CORE_BLOCKS; i++)
        larder_free(blocks[i]);
    larder_release(SIZE_MAX);
    EXPECT_UINT(core_bytes(), <=, full - CORE_BLOCKS * mib / 8 * 7);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("footprint");
    if (!TEST_UNDER_ASAN && !TEST_UNDER_TSAN) { // whose own threads and mappings are in the way
        test_add_limit(suite, test_footprint__no_wake_ups_when_clean, 60 + quiet_seconds());
        test_add(suite, test_footprint__mappings_are_bounded);
        test_add(suite, test_footprint__returned_pages_are_not_in_a_core);
    }
    test_add(suite, test_footprint__records_are_few);
    return suite;
}
