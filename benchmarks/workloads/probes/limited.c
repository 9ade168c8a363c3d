// SPDX-License-Identifier: Apache-2.0
// What happens in a control group whose memory limit leaves no room for much free memory. A child
// process is put in such a group: it holds `operations` MiB in blocks of 1 MiB; again and again it
// frees every other block of most of them, and allocates as much in blocks of 4 MiB at once, for
// which the holes are no use. Live memory always fits in the group; with the holes it does not. The
// kernel kills who does not give them back in time. Reported are whether the child came through,
// how many rounds it did, and the group's peak.
//
// Needs root, and a hierarchy of control groups with the memory controller (version 1 or 2); where
// there is none, possible=0 is reported.

#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1024 * 1024, LARGE_MIB = 4, PATH_MAX_BYTES = 1024 };

enum { LIMIT, ROUNDS };
static struct wl_param params[] = {
    [LIMIT] = {"limit_mib", "of the control group", 512, 16, 1 << 20},
    [ROUNDS] = {"rounds", "that free and allocate again", 5, 1, 1000},
    {0},
};

struct group {
    char path[PATH_MAX_BYTES];
    bool version_2;
};

// False if the file is not there or does not take the text.
static bool write_file(const struct group *group, const char *leaf, const char *text) {
    char name[PATH_MAX_BYTES + 64];
    snprintf(name, sizeof name, "%s/%s", group->path, leaf);
    const int fd = open(name, O_WRONLY | O_CLOEXEC);
    const bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

static bool read_file(const char *name, char *text, size_t bytes) {
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd >= 0 ? read(fd, text, bytes - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

static uint64_t read_number(const struct group *group, const char *leaf, const char *behind) {
    char name[PATH_MAX_BYTES + 64], text[512];
    snprintf(name, sizeof name, "%s/%s", group->path, leaf);
    if (!read_file(name, text, sizeof text))
        return 0;
    const char *at = strstr(text, behind);
    return at == NULL ? 0 : strtoull(at + strlen(behind), NULL, 10);
}

// The path behind `key` in /proc/self/cgroup.
static bool own_path(const char *key, char *path, size_t bytes) {
    char list[4096];
    if (!read_file("/proc/self/cgroup", list, sizeof list))
        return false;
    const char *at = strstr(list, key);
    if (at == NULL)
        return false;
    at += strlen(key);
    const size_t length = strcspn(at, "\n");
    if (length >= bytes)
        return false;
    memcpy(path, at, length);
    path[length] = '\0';
    return true;
}

static bool make_group(struct group *group, const char *parent, bool version_2) {
    snprintf(group->path, sizeof group->path, "%s/larder-limited-%d", parent, (int)getpid());
    group->version_2 = version_2;
    char limit[32];
    snprintf(limit, sizeof limit, "%llu", (unsigned long long)params[LIMIT].value * MIB);
    if (mkdir(group->path, 0700) != 0)
        return false;
    if (write_file(group, version_2 ? "memory.max" : "memory.limit_in_bytes", limit)) {
        // No way out to swap space, where there is any.
        (void)write_file(group, version_2 ? "memory.swap.max" : "memory.swappiness", "0");
        return true;
    }
    rmdir(group->path);
    return false;
}

static bool find_place(struct group *group) {
    char own[PATH_MAX_BYTES / 2], parent[PATH_MAX_BYTES];
    if (own_path(":memory:", own, sizeof own)) {
        snprintf(parent, sizeof parent, "/sys/fs/cgroup/memory%s", own);
        return make_group(group, parent, false) ||
               make_group(group, "/sys/fs/cgroup/memory", false);
    }
    if (!own_path("0::", own, sizeof own))
        return false;
    // Beside the own group: below it there may be none as long as it has processes.
    char *const slash = strrchr(own, '/');
    if (slash != NULL)
        *slash = '\0';
    snprintf(parent, sizeof parent, "/sys/fs/cgroup%s", own);
    return make_group(group, parent, true);
}

struct limited {
    const struct wl_run *run;
    _Atomic uint64_t rounds; // of all threads; shared by parent and child
};

static void work(unsigned index, void *arg) {
    struct limited *limited = arg;
    const uint64_t count = wl_share(limited->run, index);
    const uint64_t moving = count * 5 / 7;
    void **block = probe_map((count + 1) * sizeof *block, true);
    void **large = probe_map((count + 1) * sizeof *large, true);
    for (uint64_t i = 0; i < count; i++)
        block[i] = wl_new(MIB);
    for (uint64_t round = 0; round < params[ROUNDS].value; round++) {
        uint64_t freed = 0;
        for (uint64_t i = 0; i < moving; i += 2, freed++)
            wl_delete(block[i]);
        for (uint64_t i = 0; i < freed / LARGE_MIB; i++)
            large[i] = wl_new(LARGE_MIB * MIB);
        for (uint64_t i = 0; i < freed / LARGE_MIB; i++)
            wl_delete(large[i]);
        for (uint64_t i = 0; i < moving; i += 2)
            block[i] = wl_new(MIB);
        limited->rounds++;
    }
    for (uint64_t i = 0; i < count; i++)
        wl_delete(block[i]);
    probe_unmap(block, (count + 1) * sizeof *block);
    probe_unmap(large, (count + 1) * sizeof *large);
}

// True if the child ended as it should.
static bool run_child(const struct group *group, struct limited *limited) {
    const pid_t child = fork();
    if (child < 0)
        wl_fail("fork failed with errno", (uint64_t)errno);
    if (child == 0) {
        if (!write_file(group, "cgroup.procs", "0"))
            _exit(3);
        wl_parallel(limited->run->threads, work, limited);
        _exit(0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child)
        wl_fail("waitpid failed with errno", (uint64_t)errno);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
        wl_fail("the control group did not take the child; errno", (uint64_t)errno);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void run(const struct wl_run *run) {
    struct group group;
    struct limited *limited = probe_map_shared(sizeof *limited);
    limited->run = run;
    const bool possible = find_place(&group);
    wl_report("possible", possible);
    if (!possible)
        return;
    wl_report("survived", run_child(&group, limited));
    wl_report("rounds", (double)(limited->rounds / run->threads));
    wl_report("limit_kib", (double)params[LIMIT].value * 1024);
    const bool two = group.version_2;
    wl_report("peak_kib",
              (double)read_number(&group, two ? "memory.peak" : "memory.max_usage_in_bytes", "") /
                  1024);
    wl_report("limit_hits", (double)read_number(&group, two ? "memory.events" : "memory.failcnt",
                                                two ? "\nmax " : ""));
    // The kernel may still be letting go of the child.
    for (int i = 0; i < 100 && rmdir(group.path) != 0 && errno == EBUSY; i++)
        usleep(10000);
    probe_unmap(limited, sizeof *limited);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "limited",
        .about = "Memory that just fits in a control group is freed and allocated in other sizes.",
        .op = "MiB live",
        .default_ops = 420,
        .params = params,
        .run = run,
    };
    return wl_main(argc, argv, &spec);
}
