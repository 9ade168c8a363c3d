// SPDX-License-Identifier: Apache-2.0
// Memory limits of control groups and the kernel's counters of short memory.
//
// Paths in /proc/self/cgroup count from the root of the caller's cgroup namespace, the mount shows
// the hierarchy from some group on. Where both agree each group on the way has a folder; where they
// do not (a container without a namespace of its own) folders are missing until the mount itself is
// reached, which is the container's group. So what is missing is passed over.
#include <stdlib.h>
#include <string.h>

#include "os/os.h"

enum {
    PATH_BYTES = 1024,
    LIST_BYTES = 4096, // of /proc/self/cgroup
    TEXT_BYTES = 512,  // of the files looked at
};

#define MOUNT "/sys/fs/cgroup"
#define MOUNT_V1 "/sys/fs/cgroup/memory"
#define NO_LIMIT ((uint64_t)1 << 62) // version 1 says so with a number as large

// A group's folder.
struct folder {
    char path[PATH_BYTES];
    size_t length;
    size_t mount_length; // the part that is the mount
};

static bool append(char *path, size_t *length, const char *text, size_t bytes) {
    if (*length + bytes >= PATH_BYTES) {
        return false;
    }
    memcpy(path + *length, text, bytes);
    *length += bytes;
    path[*length] = '\0';
    return true;
}

static bool append_all(char *path, size_t *length, const char *text) {
    return append(path, length, text, strlen(text));
}

static bool names_memory(const char *controllers, const char *end) {
    static const char wanted[] = "memory";
    const size_t length = sizeof wanted - 1;
    while (controllers < end) {
        const char *comma = memchr(controllers, ',', (size_t)(end - controllers));
        const char *stop = comma != NULL ? comma : end;
        if ((size_t)(stop - controllers) == length && memcmp(controllers, wanted, length) == 0) {
            return true;
        }
        controllers = stop + 1;
    }
    return false;
}

// The path of the process's group among lines "number:controllers:path"; NULL if there is none.
static const char *own_group(const char *list, bool version_2, size_t *bytes) {
    for (const char *line = list; *line != '\0';) {
        const char *end = line + strcspn(line, "\n");
        const char *controllers = strchr(line, ':');
        const char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL || path > end) {
            return NULL;
        }
        const bool unified = path == controllers + 1;
        if (version_2 ? unified : !unified && names_memory(controllers + 1, path)) {
            *bytes = (size_t)(end - path - 1);
            return path + 1;
        }
        line = *end == '\0' ? end : end + 1;
    }
    return NULL;
}

// False if the process is in no such group.
static bool find_folder(const char *root, bool version_2, struct folder *folder) {
    char name[PATH_BYTES];
    char list[LIST_BYTES];
    size_t length = 0;
    size_t bytes = 0;
    if (!append_all(name, &length, root) || !append_all(name, &length, "/proc/self/cgroup")) {
        return false;
    }
    lr_os_read_file(name, list, sizeof list);
    const char *group = own_group(list, version_2, &bytes);
    *folder = (struct folder){0};
    if (group == NULL || !append_all(folder->path, &folder->length, root) ||
        !append_all(folder->path, &folder->length, version_2 ? MOUNT : MOUNT_V1)) {
        return false;
    }
    folder->mount_length = folder->length;
    // A group outside the namespace has ".." in its path. A path that is too long is like one whose
    // folders are missing.
    const bool outside = bytes >= 3 && memcmp(group, "/..", 3) == 0;
    if (!outside && !append(folder->path, &folder->length, group, bytes)) {
        folder->length = folder->mount_length;
    }
    return true;
}

// Reads a file of the group.
static size_t read_leaf(const struct folder *folder, const char *leaf, char text[TEXT_BYTES]) {
    char name[PATH_BYTES];
    size_t length = 0;
    text[0] = '\0';
    return append(name, &length, folder->path, folder->length) && append_all(name, &length, "/") &&
                   append_all(name, &length, leaf)
               ? lr_os_read_file(name, text, TEXT_BYTES)
               : 0;
}

static size_t limit_in(const struct folder *folder, const char *leaf) {
    char text[TEXT_BYTES];
    read_leaf(folder, leaf, text);
    if (text[0] < '0' || text[0] > '9') {
        return SIZE_MAX; // "max", or no such file
    }
    const uint64_t limit = strtoull(text, NULL, 10);
    return limit < NO_LIMIT ? (size_t)limit : SIZE_MAX;
}

// The smallest in the group's folder and those above it.
static size_t smallest_on_the_way(struct folder folder, const char *leaf) {
    size_t least = SIZE_MAX;
    for (;;) {
        const size_t limit = limit_in(&folder, leaf);
        least = limit < least ? limit : least;
        if (folder.length <= folder.mount_length) {
            return least;
        }
        do {
            folder.length--;
        } while (folder.length > folder.mount_length && folder.path[folder.length] != '/');
    }
}

size_t lr_os_memory_allowed(const char *root) {
    struct folder folder;
    size_t least = SIZE_MAX;
    if (find_folder(root, true, &folder)) {
        static const char *const leaves[] = {"memory.max", "memory.high"};
        for (unsigned i = 0; i < sizeof leaves / sizeof leaves[0]; i++) {
            const size_t limit = smallest_on_the_way(folder, leaves[i]);
            least = limit < least ? limit : least;
        }
    }
    if (find_folder(root, false, &folder)) {
        const size_t limit = smallest_on_the_way(folder, "memory.limit_in_bytes");
        least = limit < least ? limit : least;
    }
    return least;
}

// The number behind the first `key`.
static uint64_t number_behind(const char *text, const char *key) {
    const char *at = strstr(text, key);
    return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

struct lr_os_memory_trouble lr_os_memory_trouble(const char *root) {
    struct lr_os_memory_trouble trouble = {0};
    struct folder folder;
    char text[TEXT_BYTES];
    text[0] = '\0';
    if (find_folder(root, true, &folder)) {
        read_leaf(&folder, "memory.events", text);
        trouble.limit_hits = number_behind(text, "high ") + number_behind(text, "\nmax ");
        read_leaf(&folder, "memory.pressure", text);
    }
    if (text[0] == '\0') {
        char name[PATH_BYTES];
        size_t length = 0;
        if (append_all(name, &length, root) && append_all(name, &length, "/proc/pressure/memory")) {
            lr_os_read_file(name, text, sizeof text);
        }
    }
    trouble.stalled_us = number_behind(text, "total="); // "some" is the first line
    if (find_folder(root, false, &folder)) {
        read_leaf(&folder, "memory.failcnt", text);
        trouble.limit_hits += strtoull(text, NULL, 10);
    }
    return trouble;
}
