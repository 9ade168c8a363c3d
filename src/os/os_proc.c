// SPDX-License-Identifier: Apache-2.0
// Facts about this process and its threads, from /proc and libc, without stdio.
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/atomic.h"

static size_t limit_bytes(bool known, const struct rlimit *limit) {
    return !known || limit->rlim_cur == RLIM_INFINITY ? SIZE_MAX : limit->rlim_cur;
}

size_t lr_os_address_limit(void) {
    struct rlimit limit;
    bool known = getrlimit(RLIMIT_AS, &limit) == 0;
    return limit_bytes(known, &limit);
}

size_t lr_os_data_limit(void) {
    struct rlimit limit;
    bool known = getrlimit(RLIMIT_DATA, &limit) == 0;
    return limit_bytes(known, &limit);
}

// System calls by number: open(), read() and close() are cancellation points, which malloc and free
// must not be.
static int open_file(const char *path, int flags) {
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | flags);
}

static void close_file(int fd) { syscall(SYS_close, fd); }

size_t lr_os_read_file(const char *path, char *text, size_t cap) {
    long got = -1;
    int fd = open_file(path, 0);
    if (fd >= 0) {
        got = syscall(SYS_read, fd, text, cap - 1);
        close_file(fd);
    }
    size_t len = got > 0 ? (size_t)got : 0;
    text[len] = '\0';
    return len;
}

enum lr_os_thp lr_os_thp(void) {
    char text[64];
    lr_os_read_file("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text);
    if (strstr(text, "[always]") != NULL) {
        return LR_OS_THP_ALWAYS;
    }
    return strstr(text, "[madvise]") != NULL ? LR_OS_THP_ASKED : LR_OS_THP_NEVER;
}

size_t lr_os_physical_bytes(void) {
    // sysconf(_SC_PHYS_PAGES) reads /proc in old glibc versions, through stdio, which would
    // allocate.
    struct sysinfo info;
    return sysinfo(&info) == 0 ? (size_t)info.totalram * info.mem_unit : 0;
}

size_t lr_os_resident_bytes(void) {
    char text[128];
    if (lr_os_read_file("/proc/self/statm", text, sizeof text) == 0) {
        return 0;
    }
    char *end;
    (void)strtoul(text, &end, 10);
    return strtoul(end, NULL, 10) * lr_os_page_bytes();
}

void lr_os_command(char name[LR_OS_COMMAND_BYTES]) {
    const size_t length = lr_os_read_file("/proc/self/comm", name, LR_OS_COMMAND_BYTES);
    if (length > 0 && name[length - 1] == '\n') {
        name[length - 1] = '\0';
    }
}

void lr_os_random(void *out, size_t bytes) {
    int saved_errno = errno;
    if (syscall(SYS_getrandom, out, bytes, GRND_NONBLOCK) != (long)bytes) {
        // Early at boot, or a filter of system calls: addresses and the clock have some entropy.
        static atomic_u64 state;
        unsigned char *at = out;
        for (size_t i = 0; i < bytes; i++) {
            uint64_t x = lr_load_relaxed(&state) + lr_os_now_ns() + (size_t)out + (size_t)&state;
            x = (x ^ (x >> 31)) * UINT64_C(0x9e3779b97f4a7c15);
            lr_store_relaxed(&state, x);
            at[i] = (unsigned char)(x >> 56);
        }
    }
    errno = saved_errno;
}

// environ is NULL until libc has taken it from the stack of a new program.
const char *lr_os_getenv(const char *name) { return environ == NULL ? NULL : secure_getenv(name); }

bool lr_os_is_secure(void) { return getauxval(AT_SECURE) != 0; }

char **lr_os_environ(void) { return lr_os_is_secure() ? NULL : environ; }

bool lr_os_environ_ready(void) { return environ != NULL || lr_os_is_secure(); }

size_t lr_os_program_entry(void) { return getauxval(AT_ENTRY); }

static void task_path(char *path, uint32_t tid, const char *leaf) {
    char digits[16];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + tid % 10);
        tid /= 10;
    } while (tid != 0);
    static const char prefix[] = "/proc/self/task/";
    memcpy(path, prefix, sizeof prefix);
    char *at = path + sizeof prefix - 1;
    while (n > 0) {
        *at++ = digits[--n];
    }
    *at++ = '/';
    memcpy(at, leaf, strlen(leaf) + 1);
}

// System calls during which other code may run on the caller's thread pointer: the child of vfork
// and of clone(CLONE_VM) starts in its parent's memory with its parent's thread-local variables.
static bool call_shares_thread(long number) {
#ifdef SYS_vfork
    if (number == SYS_vfork) {
        return true;
    }
#endif
#ifdef SYS_clone3
    if (number == SYS_clone3) {
        return true;
    }
#endif
    return number == SYS_clone;
}

enum lr_os_thread_activity lr_os_thread_activity(uint32_t tid, uint64_t allowed_mask) {
    char path[64];
    char text[1536];
    task_path(path, tid, "syscall");
    if (lr_os_read_file(path, text, sizeof text) == 0) {
        // The kernel's word, not a file that may be missing for other reasons. Signal 0 is not
        // sent.
        bool gone = syscall(SYS_tgkill, getpid(), tid, 0) != 0 && errno == ESRCH;
        return gone ? LR_OS_THREAD_GONE : LR_OS_THREAD_RUNNING;
    }
    // "running", or "-1 sp pc" outside a system call (a page fault), or "number args sp pc".
    if (text[0] < '0' || text[0] > '9' || call_shares_thread(strtol(text, NULL, 10))) {
        return LR_OS_THREAD_RUNNING;
    }
    task_path(path, tid, "status");
    lr_os_read_file(path, text, sizeof text);
    const char *blocked = strstr(text, "SigBlk:");
    if (blocked == NULL) {
        return LR_OS_THREAD_RUNNING;
    }
    uint64_t mask = strtoull(blocked + strlen("SigBlk:"), NULL, 16);
    return (mask & ~allowed_mask) != 0 ? LR_OS_THREAD_RUNNING : LR_OS_THREAD_BLOCKED;
}

bool lr_os_proc_is_ours(void) {
    char text[64];
    if (lr_os_read_file("/proc/self/stat", text, sizeof text) == 0) {
        return false;
    }
    return strtol(text, NULL, 10) == getpid();
}

// Linux's directory record; getdents64 is used because opendir() allocates.
struct task_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t bytes;
    uint8_t type;
    char name[];
};

static bool main_thread_has_ended(void) {
    char path[64];
    char text[512];
    task_path(path, (uint32_t)getpid(), "stat");
    lr_os_read_file(path, text, sizeof text);
    const char *after_name = strrchr(text, ')'); // the name itself may hold any character
    return after_name != NULL && after_name[1] == ' ' && after_name[2] == 'Z';
}

bool lr_os_only_thread_left(void) {
    int fd = open_file("/proc/self/task", O_DIRECTORY);
    if (fd < 0) {
        return false;
    }
    union {
        char bytes[1024];
        struct task_entry align;
    } buffer;
    unsigned tasks = 0;
    long got;
    while (tasks <= 2 && (got = syscall(SYS_getdents64, fd, buffer.bytes, sizeof buffer)) > 0) {
        for (long at = 0; at < got;) {
            const struct task_entry *entry = (const void *)(buffer.bytes + at);
            tasks += entry->name[0] != '.';
            at += entry->bytes;
        }
    }
    close_file(fd);
    return tasks == 1 || (tasks == 2 && main_thread_has_ended());
}
