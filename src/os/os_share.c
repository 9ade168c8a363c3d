// SPDX-License-Identifier: Apache-2.0
// Files without a name that other processes are let into, and files that they read.
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U // Linux 6.3
#endif

enum { FD_MIN = 500 }; // out of the way of programs that expect low numbers

static void close_file(int fd) { syscall(SYS_close, fd); } // not a cancellation point

static int move_up(int fd) {
    const int high = fcntl(fd, F_DUPFD_CLOEXEC, FD_MIN);
    if (high < 0) {
        return fd;
    }
    close_file(fd);
    return high;
}

int lr_os_share_create(const char *name, size_t bytes) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) {
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (fd < 0) {
        return -errno;
    }
    if (fchmod(fd, S_IRUSR | S_IWUSR) != 0 || ftruncate(fd, (off_t)bytes) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        const int error = errno;
        close_file(fd);
        return -error;
    }
    return move_up(fd);
}

int lr_os_file_create(const char *name) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) {
        fd = memfd_create(name, MFD_CLOEXEC);
    }
    return fd < 0 ? -errno : move_up(fd);
}

size_t lr_os_share_bytes(int fd) {
    struct stat status;
    const int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &status) != 0) {
        return 0;
    }
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return (size_t)status.st_size;
}

bool lr_os_read_at(int fd, void *out, size_t bytes, size_t offset) {
    return syscall(SYS_pread64, fd, out, bytes, offset) == (long)bytes;
}

void *lr_os_share_map(int fd, size_t bytes, void *at) {
    void *p =
        mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (at != NULL ? MAP_FIXED : 0), fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

bool lr_os_file_identify(int fd, struct lr_os_file_id *id) {
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return false;
    }
    *id = (struct lr_os_file_id){.device = status.st_dev, .inode = status.st_ino};
    return true;
}

bool lr_os_file_is(int fd, const struct lr_os_file_id *id) {
    struct lr_os_file_id now;
    return lr_os_file_identify(fd, &now) && now.device == id->device && now.inode == id->inode;
}

int lr_os_write_at(int fd, const void *data, size_t bytes, size_t offset) {
    const char *at = data;
    while (bytes > 0) {
        const long done = syscall(SYS_pwrite64, fd, at, bytes, offset);
        if (done < 0 && errno != EINTR) {
            return -errno;
        }
        if (done > 0) {
            at += done;
            offset += (size_t)done;
            bytes -= (size_t)done;
        }
    }
    return 0;
}

void lr_os_close(int fd) { close_file(fd); }

int lr_os_file_begin(const char *path) {
    unlink(path);
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path,
                                O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    return fd < 0 ? -errno : move_up(fd);
}

int lr_os_file_replace(const char *path, const char *other) {
    if (rename(other, path) == 0) {
        return 0;
    }
    const int error = -errno;
    unlink(other);
    return error;
}

void lr_os_file_remove(const char *path) { unlink(path); }
