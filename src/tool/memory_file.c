// SPDX-License-Identifier: Apache-2.0
#include "tool/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U // Linux 6.3
#endif

int lr_memory_file_make(const char *name) {
    int fd = memfd_create(name, MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) {
        fd = memfd_create(name, MFD_ALLOW_SEALING);
    }
    return fd;
}

static bool leads_to(int folder, const char *link, const char *name) {
    char wanted[64];
    char text[sizeof wanted];
    const int length = snprintf(wanted, sizeof wanted, "/memfd:%s (deleted)", name);
    return readlinkat(folder, link, text, sizeof text) == length &&
           memcmp(text, wanted, (size_t)length) == 0;
}

// A handle opens nothing, so that what it stands for can be looked at before.
static bool is_memory(int handle) {
    struct stat status;
    struct statfs system;
    return fstat(handle, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 0 &&
           fstatfs(handle, &system) == 0 && system.f_type == TMPFS_MAGIC;
}

int lr_memory_file_open(int folder, const char *link, const char *name, int flags) {
    const int handle = leads_to(folder, link, name) ? openat(folder, link, O_PATH | O_CLOEXEC) : -1;
    if (handle < 0) {
        return -1;
    }
    int fd = -1;
    if (is_memory(handle)) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", handle);
        fd = open(path, flags | O_CLOEXEC);
    }
    close(handle);
    return fd;
}
