// SPDX-License-Identifier: Apache-2.0
#include "tool/replay_measure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool/tool.h"

static const struct {
    const char *name;
    const char *file;
} known[] = {
    {"jemalloc", "libjemalloc.so.2"},
    {"tcmalloc", "libtcmalloc_minimal.so.4"},
    {"mimalloc", "libmimalloc.so.2"},
};

// What the loader writes to standard error while this command is started with the library.
static void try_preload(const char *library, int out) {
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (setenv("LD_PRELOAD", library, 1) == 0 && dup2(null, STDOUT_FILENO) >= 0 &&
        dup2(out, STDERR_FILENO) >= 0) {
        execl("/proc/self/exe", "larder", "version", (char *)NULL);
    }
    _exit(TOOL_FAILED);
}

// The loader goes on without what it cannot load, after a line of its own for each process.
static bool can_preload(const char *library) {
    char said[1024];
    size_t length = 0;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        lr_tool_error("cannot make a pipe: %s", strerror(errno));
        return false;
    }
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0) {
        lr_tool_error("cannot start a process: %s", strerror(errno));
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    if (pid == 0) {
        try_preload(library, ends[1]);
    }
    close(ends[1]);
    for (ssize_t more; length + 1 < sizeof said &&
                       (more = read(ends[0], said + length, sizeof said - 1 - length)) > 0;) {
        length += (size_t)more;
    }
    said[length] = '\0';
    close(ends[0]);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    const char *refusal = strstr(said, "cannot be preloaded (");
    if (refusal != NULL) {
        const char *why = strchr(refusal, '(') + 1;
        lr_tool_error("the loader cannot use '%s': %.*s; --lib takes a path, the name of a library "
                      "that it finds, or glibc, larder, jemalloc, tcmalloc or mimalloc",
                      library, (int)strcspn(why, ")"), why);
    }
    return refusal == NULL;
}

bool lr_replay_use(struct replay_setup *setup, const char *library) {
    const char *file = library;
    if (setup->name[0] == '\0') {
        snprintf(setup->name, sizeof setup->name, "%s", library);
    }
    setup->preload[0] = '\0';
    if (strcmp(library, "glibc") == 0) {
        return true;
    }
    if (strcmp(library, "larder") == 0) {
        if (!lr_tool_library(setup->preload, sizeof setup->preload)) {
            lr_tool_error(
                "liblarder.so.0 is neither beside this command nor where it is installed");
            return false;
        }
        return true;
    }
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++) {
        file = strcmp(library, known[i].name) == 0 ? known[i].file : file;
    }
    if (strchr(file, '/') != NULL) {
        char *path = realpath(file, NULL);
        const bool fits = path != NULL && strlen(path) < sizeof setup->preload;
        snprintf(setup->preload, sizeof setup->preload, "%s", fits ? path : "");
        free(path);
        if (!fits) {
            lr_tool_error("cannot find the library '%s'", file);
            return false;
        }
        return can_preload(setup->preload);
    }
    snprintf(setup->preload, sizeof setup->preload, "%s", file); // the loader looks for it
    return can_preload(file);
}

static void forget_options(void) {
    for (char **at = environ; *at != NULL;) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*at, "="), *at);
        const bool option = strncmp(*at, "LARDER_", 7) == 0 && strlen(name) < sizeof name - 1;
        if (!option || unsetenv(name) != 0) {
            at++;
        }
    }
    (void)unsetenv("LD_PRELOAD");
}

static _Noreturn void become_runner(int fd, const struct replay_setup *setup) {
    char number[16];
    char command[] = "replay";
    char option[] = "--descriptor";
    char *arguments[] = {command, command, option, number, NULL};
    forget_options();
    snprintf(number, sizeof number, "%d", fd);
    bool good = setup->preload[0] == '\0' || lr_tool_set_preload(setup->preload);
    good = good && (setup->preset == NULL || lr_tool_set_preset(setup->preset));
    for (size_t i = 0; good && i < setup->assignment_count; i++) {
        good = lr_tool_set_assignment(setup->assignments[i]);
    }
    if (good) {
        execv("/proc/self/exe", arguments);
        lr_tool_error("cannot start the replay: %s", strerror(errno));
    }
    _exit(TOOL_FAILED);
}

bool lr_replay_run(struct plan *plan, int fd, struct replay_setup *setup) {
    int status = 0;
    memset(lr_plan_slots(plan), 0, plan->slot_count * sizeof(uint64_t));
    memset(&plan->result, 0, sizeof plan->result);
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        become_runner(fd, setup);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (pid < 0 || status != 0 || plan->result.done != 1) {
        lr_tool_error("the replay with %s did not end well (status %d)", setup->name, status);
        return false;
    }
    plan->result.malloc_file[sizeof plan->result.malloc_file - 1] = '\0';
    if (setup->preload[0] != '\0' && strstr(plan->result.malloc_file, "/libc.so") != NULL) {
        lr_tool_error("%s could not be preloaded", setup->preload);
        return false;
    }
    if (setup->rounds < REPLAY_ROUNDS_MOST) {
        setup->results[setup->rounds++] = plan->result;
    }
    return true;
}

static int by_value(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static unsigned sorted(const struct replay_setup *setup, size_t field, uint64_t *values) {
    for (unsigned i = 0; i < setup->rounds; i++) {
        memcpy(&values[i], (const char *)&setup->results[i] + field, sizeof values[i]);
    }
    qsort(values, setup->rounds, sizeof *values, by_value);
    return setup->rounds;
}

double lr_replay_median(const struct replay_setup *setup, size_t field) {
    uint64_t values[REPLAY_ROUNDS_MOST];
    const unsigned count = sorted(setup, field, values);
    const unsigned low = count > 0 ? (count - 1) / 2 : 0;
    const unsigned high = count / 2;
    return count == 0 ? 0 : ((double)values[low] + (double)values[high]) / 2;
}

double lr_replay_spread(const struct replay_setup *setup, size_t field) {
    uint64_t values[REPLAY_ROUNDS_MOST];
    const unsigned count = sorted(setup, field, values);
    const unsigned quarter = count / 4;
    return count == 0 ? 0 : ((double)values[count - 1 - quarter] - (double)values[quarter]) / 2;
}
