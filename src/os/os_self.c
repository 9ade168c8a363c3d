// SPDX-License-Identifier: Apache-2.0
// The process's own address space, looked at without trust.
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LINE_MOST = 8192 }; // a path of 4,095 bytes behind the numbers

size_t lr_os_peek(void *to, const void *from, size_t bytes) {
    struct iovec local = {.iov_base = to, .iov_len = bytes};
    struct iovec remote = {.iov_base = (void *)(size_t)from, .iov_len = bytes};
    long got = syscall(SYS_process_vm_readv, getpid(), &local, 1L, &remote, 1L, 0L);
    return got > 0 ? (size_t)got : 0;
}

bool lr_os_is_readable(const void *word) {
    // The kernel reads the new mask before it finds that nothing is to be done with it.
    enum { NO_SUCH_CHANGE = -1, MASK_BYTES = 8 };
    long result = syscall(SYS_rt_sigprocmask, NO_SUCH_CHANGE, word, NULL, (long)MASK_BYTES);
    return result == -1 && errno == EINVAL;
}

static const char *read_hex(const char *at, size_t *value) {
    *value = 0;
    for (;; at++) {
        unsigned digit = (unsigned)*at - '0';
        if (digit > 9) {
            digit = (unsigned)*at - 'a' + 10;
            if (digit < 10 || digit > 15) {
                return at;
            }
        }
        *value = *value * 16 + digit;
    }
}

// "start-end perms offset device inode   path"
static bool parse(const char *line, struct lr_os_mapping *out) {
    const char *at = read_hex(line, &out->start);
    if (*at++ != '-') {
        return false;
    }
    at = read_hex(at, &out->end);
    if (strlen(at) < 6) {
        return false;
    }
    out->executable = at[3] == 'x';
    at = read_hex(at + 6, &out->offset);
    for (int field = 0; field < 2 && *at != '\0'; field++) { // device, inode
        at += strspn(at, " ");
        at += strcspn(at, " ");
    }
    out->path = at + strspn(at, " ");
    return true;
}

bool lr_os_each_mapping(lr_os_mapping_visit *visit, void *context) {
    int saved_errno = errno;
    long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        errno = saved_errno;
        return false;
    }
    char *text = lr_os_map(LINE_MOST, 1); // the caller may have a small stack
    if (text == NULL) {
        syscall(SYS_close, fd);
        errno = saved_errno;
        return false;
    }
    size_t held = 0;
    for (;;) {
        long got = syscall(SYS_read, fd, text + held, LINE_MOST - 1 - held);
        if (got <= 0) {
            break;
        }
        held += (size_t)got;
        text[held] = '\0';
        char *line = text;
        char *end;
        while ((end = strchr(line, '\n')) != NULL) {
            *end = '\0';
            struct lr_os_mapping mapping;
            if (parse(line, &mapping)) {
                visit(&mapping, context);
            }
            line = end + 1;
        }
        held -= (size_t)(line - text);
        memmove(text, line, held);
    }
    lr_os_unmap(text, LINE_MOST);
    syscall(SYS_close, fd);
    errno = saved_errno;
    return true;
}
