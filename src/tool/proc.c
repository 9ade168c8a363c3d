// SPDX-License-Identifier: Apache-2.0
#include "tool/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static FILE *open_file(pid_t pid, const char *file) {
    char path[256];
    if (pid != 0) {
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    } else {
        snprintf(path, sizeof path, "%s%s", *file == '/' ? "" : "/proc/", file);
    }
    return fopen(path, "re");
}

bool lr_proc_line(pid_t pid, const char *file, char *out, size_t bytes) {
    FILE *stream = open_file(pid, file);
    *out = '\0';
    if (stream == NULL) {
        return false;
    }
    const bool got = fgets(out, (int)bytes, stream) != NULL;
    fclose(stream);
    out[strcspn(out, "\n")] = '\0';
    return got;
}

static void make_printable(char *text) {
    for (; *text != '\0'; text++) {
        if (!isprint((unsigned char)*text)) {
            *text = '?';
        }
    }
}

void lr_proc_name(pid_t pid, char *out, size_t bytes) {
    (void)lr_proc_line(pid, "comm", out, bytes);
    make_printable(out);
}

void lr_proc_thread_name(pid_t pid, uint32_t thread_id, char *out, size_t bytes) {
    char file[64];
    snprintf(file, sizeof file, "task/%u/comm", thread_id);
    (void)lr_proc_line(pid, file, out, bytes);
    make_printable(out);
}

bool lr_proc_field(pid_t pid, const char *file, const char *key, uint64_t *out) {
    FILE *stream = open_file(pid, file);
    char line[512];
    bool found = false;
    if (stream == NULL) {
        return false;
    }
    const size_t length = strlen(key);
    while (!found && fgets(line, sizeof line, stream) != NULL) {
        if (strncmp(line, key, length) == 0 &&
            (line[length] == ':' || isspace((unsigned char)line[length]))) {
            char *end;
            *out = strtoull(line + length + 1, &end, 10);
            *out *= strncmp(end, " kB", 3) == 0 ? 1024 : 1;
            found = true;
        }
    }
    fclose(stream);
    return found;
}

pid_t lr_proc_own_id(pid_t pid) {
    FILE *stream = open_file(pid, "status");
    char line[512];
    pid_t own = pid;
    while (stream != NULL && fgets(line, sizeof line, stream) != NULL) {
        if (strncmp(line, "NSpid:", 6) == 0) {
            const char *last = strrchr(line, '\t');
            own = last != NULL ? (pid_t)strtol(last, NULL, 10) : pid;
        }
    }
    if (stream != NULL) {
        fclose(stream);
    }
    return own;
}

void lr_proc_user(pid_t pid, char *out, size_t bytes) {
    char path[64];
    struct stat status;
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    if (stat(path, &status) != 0) {
        snprintf(out, bytes, "?");
        return;
    }
    const struct passwd *user = getpwuid(status.st_uid);
    if (user != NULL) {
        snprintf(out, bytes, "%s", user->pw_name);
        make_printable(out);
    } else {
        snprintf(out, bytes, "%u", status.st_uid);
    }
}

char lr_proc_state(pid_t pid) {
    char line[512];
    // "PID (NAME) STATE ...", where the name may hold anything.
    const char *end = lr_proc_line(pid, "stat", line, sizeof line) ? strrchr(line, ')') : NULL;
    if (end == NULL || end[1] != ' ') {
        return '\0';
    }
    return end[2];
}

bool lr_proc_is_stopped(pid_t pid) {
    const char state = lr_proc_state(pid);
    return state == 'T' || state == 't' || state == 'Z';
}

bool lr_proc_uses_larder(pid_t pid) {
    FILE *stream = open_file(pid, "maps");
    char line[4096];
    bool found = false;
    while (stream != NULL && !found && fgets(line, sizeof line, stream) != NULL) {
        found = strstr(line, "/liblarder.so") != NULL || strstr(line, "[anon:larder]") != NULL;
    }
    if (stream != NULL) {
        fclose(stream);
    }
    return found;
}

bool lr_proc_is_there(void) { return access("/proc/self/stat", R_OK) == 0; }

void lr_proc_each(void (*visit)(pid_t pid, void *context), void *context) {
    DIR *directory = opendir("/proc");
    if (directory == NULL) {
        return;
    }
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char *end;
        const long pid = strtol(entry->d_name, &end, 10);
        if (pid > 0 && *end == '\0') {
            visit((pid_t)pid, context);
        }
    }
    closedir(directory);
}

struct area {
    uint64_t begin, end;
};

static bool inside(uint64_t address, struct area area) {
    return address >= area.begin && address < area.end;
}

// Which sum the mapping that a line of smaps begins belongs to.
static uint64_t *sum_of(const char *line, uint64_t begin, struct area window, struct area pools,
                        struct proc_memory *out) {
    const char *path = strpbrk(line, "/[");
    if (inside(begin, pools)) {
        return &out->pools;
    }
    if (inside(begin, window)) {
        return &out->records;
    }
    if (path == NULL || strncmp(path, "[anon", 5) == 0) {
        return &out->other;
    }
    if (strncmp(path, "[heap]", 6) == 0) {
        return &out->brk;
    }
    return strncmp(path, "[stack]", 7) == 0 ? &out->stack : &out->files;
}

static uint64_t kilobytes(const char *line) {
    return strtoull(strchr(line, ':') + 1, NULL, 10) * 1024;
}

bool lr_proc_memory(pid_t pid, uint64_t window_begin, uint64_t window_end, uint64_t pools_begin,
                    uint64_t pools_end, struct proc_memory *out) {
    const struct area window = {window_begin, window_end};
    const struct area pools = {pools_begin, pools_end};
    char line[4096 + 256];
    FILE *stream = open_file(pid, "smaps");
    *out = (struct proc_memory){.rss = 0};
    if (stream == NULL) {
        return false;
    }
    uint64_t *sum = &out->other;
    while (fgets(line, sizeof line, stream) != NULL) {
        char *dash;
        const uint64_t begin = strtoull(line, &dash, 16);
        if (*dash == '-') {
            sum = sum_of(line, begin, window, pools, out);
        } else if (strncmp(line, "Rss:", 4) == 0) {
            *sum += kilobytes(line);
        } else if (sum == &out->pools && strncmp(line, "AnonHugePages:", 14) == 0) {
            out->pools_huge += kilobytes(line);
        } else if (sum == &out->pools && strncmp(line, "Swap:", 5) == 0) {
            out->pools_swap += kilobytes(line);
        }
    }
    fclose(stream);
    return lr_proc_field(pid, "smaps_rollup", "Rss", &out->rss) &&
           lr_proc_field(pid, "smaps_rollup", "Swap", &out->swap);
}
