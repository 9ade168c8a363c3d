// SPDX-License-Identifier: Apache-2.0
#include "tool/page.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tool/memory_file.h"
#include "tool/proc.h"
#include "tool/tool.h"

enum {
    SLOT_BYTES = 4096,
    LOCK_TRIES = 200, // of 10 ms
    ANSWER_MS = 2000,
    COPY_TRIES = 100,
    NAMES_MS = 1000, // names of threads are as old at most
};

// -1 unless it is a page that nobody can shorten.
static int open_page(int folder, const char *link) {
    const int fd = lr_memory_file_open(folder, link, LARDER_PAGE_NAME, O_RDWR);
    if (fd >= 0 && (fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK) == 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool belongs_to(int fd, pid_t pid) {
    struct larder_page_header header;
    return pread(fd, &header, sizeof header, 0) == sizeof header &&
           header.magic == LARDER_PAGE_MAGIC && header.process_id == (uint32_t)lr_proc_own_id(pid);
}

// The page among the links of a folder, -1 if there is none. A child made without fork's handlers
// may still have its parent's.
static int find_page(pid_t pid, const char *folder) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, folder);
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return -1;
    }
    int fd = -1;
    for (const struct dirent *entry; fd < 0 && (entry = readdir(directory)) != NULL;) {
        fd = open_page(dirfd(directory), entry->d_name);
        if (fd >= 0 && !belongs_to(fd, pid)) {
            close(fd);
            fd = -1;
        }
    }
    closedir(directory);
    return fd;
}

static int refuse(pid_t pid, bool quietly) {
    char path[64];
    int status = TOOL_FAILED;
    const char *why = lr_proc_is_there()
                          ? "no such process, or /proc hides it (hidepid)"
                          : "/proc cannot be read here, and without it no process is seen";
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    if (access(path, F_OK) == 0) {
        snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
        if (access(path, R_OK | X_OK) != 0) {
            struct stat file;
            snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
            const bool own = stat(path, &file) == 0 && file.st_uid == geteuid();
            why = own ? "its files in /proc cannot be read"
                      : "it belongs to another user, or is protected (setuid, PR_SET_DUMPABLE)";
        } else if (!lr_proc_uses_larder(pid)) {
            status = TOOL_NO_LARDER;
            why = "it does not use Larder";
        } else {
            status = TOOL_NO_LARDER;
            why = "it uses Larder but shows no page: it has no background thread (small heap, or "
                  "LARDER_SCAVENGER is not thread), or LARDER_PUBLISH=0; with LARDER_PUBLISH=2 a "
                  "process shows one from its start";
        }
    }
    if (!quietly) {
        lr_tool_error("process %d: %s", (int)pid, why);
    }
    return status;
}

int lr_page_open(pid_t pid, struct page_link *out, bool quietly) {
    struct stat status;
    int fd = find_page(pid, "fd");
    if (fd < 0) {
        fd = find_page(pid, "map_files"); // its file was closed; only root may look here
    }
    if (fd < 0) {
        return refuse(pid, quietly);
    }
    void *slot = mmap(NULL, SLOT_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (slot == MAP_FAILED || fstat(fd, &status) != 0) {
        close(fd);
        if (!quietly) {
            lr_tool_error("process %d: its page cannot be used: %s", (int)pid, strerror(errno));
        }
        return TOOL_FAILED;
    }
    const size_t bytes = (size_t)status.st_size;
    *out = (struct page_link){.pid = pid,
                              .fd = fd,
                              .bytes = bytes < PAGE_BYTES_MOST ? bytes : PAGE_BYTES_MOST,
                              .slot = (const void *)((const char *)slot + LARDER_PAGE_COMMAND)};
    return TOOL_OK;
}

void lr_page_close(struct page_link *link) {
    munmap((char *)(size_t)link->slot - LARDER_PAGE_COMMAND, SLOT_BYTES);
    close(link->fd);
}

static bool take_lock(int fd) {
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            return true;
        }
        (void)usleep(10000);
    }
    return false;
}

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

#define AT(field) (LARDER_PAGE_COMMAND + (off_t)offsetof(struct larder_page_command, field))

static bool write_at(int fd, const void *data, size_t bytes, off_t offset) {
    return pwrite(fd, data, bytes, offset) == (ssize_t)bytes;
}

// Waits until the answer to `request` is there.
static int wait_for(const struct page_link *link, uint32_t request,
                    struct larder_page_command *out) {
    const uint64_t end = now_ms() + ANSWER_MS;
    for (;;) {
        if (pread(link->fd, out, sizeof *out, LARDER_PAGE_COMMAND) != sizeof *out) {
            return -EIO;
        }
        if (out->served == request) {
            return 0;
        }
        const uint64_t now = now_ms();
        if (now >= end) {
            return -ETIMEDOUT;
        }
        // The kernel looks at the word and says EFAULT where we would be ended by a signal.
        const struct timespec wait = {.tv_nsec = 100 * 1000000L};
        if (syscall(SYS_futex, &link->slot->served, FUTEX_WAIT, out->served, &wait, NULL, 0) != 0 &&
            errno == EFAULT) {
            return -EFAULT;
        }
    }
}

static int ask_locked(const struct page_link *link, struct larder_page_command *command) {
    struct larder_page_command old;
    const uint32_t wake = 1;
    if (pread(link->fd, &old, sizeof old, LARDER_PAGE_COMMAND) != sizeof old) {
        return -EIO;
    }
    const uint32_t request = old.served + 1;
    const size_t from = offsetof(struct larder_page_command, kind);
    const size_t bytes = offsetof(struct larder_page_command, served) - from;
    if (!write_at(link->fd, (const char *)command + from, bytes, AT(kind)) ||
        !write_at(link->fd, &request, sizeof request, AT(request)) ||
        !write_at(link->fd, &wake, sizeof wake, AT(wake))) {
        return -EIO;
    }
    syscall(SYS_futex, &link->slot->wake, FUTEX_WAKE, 1, NULL, NULL, 0);
    return wait_for(link, request, command);
}

int lr_page_ask(const struct page_link *link, enum larder_page_command_kind kind, const char *name,
                const char *value, struct page_answer *answer) {
    struct larder_page_command command = {.kind = kind};
    if (strlen(name) >= sizeof command.name || strlen(value) >= sizeof command.value) {
        return -E2BIG;
    }
    memcpy(command.name, name, strlen(name));
    memcpy(command.value, value, strlen(value));
    if (!take_lock(link->fd)) {
        return -EBUSY;
    }
    const int error = ask_locked(link, &command);
    flock(link->fd, LOCK_UN);
    *answer = (struct page_answer){.result = command.result, .number = command.number};
    return error;
}

static bool read_sequence(const struct page_link *link, uint32_t *out) {
    return pread(link->fd, out, sizeof *out, offsetof(struct larder_page_header, sequence)) ==
           sizeof *out;
}

const char *lr_page_read(const struct page_link *link, struct page_view *out) {
    static char copy[PAGE_BYTES_MOST];
    const char *wrong = "it changes all the time";
    for (int i = 0; i < COPY_TRIES; i++) {
        uint32_t before;
        uint32_t after;
        if (!read_sequence(link, &before)) {
            return "it cannot be read";
        }
        const ssize_t got = pread(link->fd, copy, link->bytes, 0);
        if (got < 0 || !read_sequence(link, &after)) {
            return "it cannot be read";
        }
        if (before == after && before % 2 == 0) {
            return lr_page_decode(copy, (size_t)got, out);
        }
        (void)usleep(1000);
    }
    return wrong;
}

// A name is a file, and names rarely change.
static void name_threads(pid_t pid, struct page_view *view) {
    const uint64_t now = now_ms();
    const bool all = view->named_pid != pid || now - view->named_ms >= NAMES_MS;
    if (all) {
        view->named_pid = pid;
        view->named_ms = now;
    }
    for (unsigned i = 0; i < view->report.thread_count; i++) {
        struct lr_report_thread *thread = &view->threads[i];
        if (all || thread->name[0] == '\0') {
            lr_proc_thread_name(pid, thread->thread_id, thread->name, sizeof thread->name);
        }
    }
}

int lr_page_look(const struct page_link *link, struct page_view *out) {
    struct page_answer answer;
    const int error = lr_page_ask(link, LARDER_PAGE_REFRESH, "", "", &answer);
    if (error != 0 && !lr_proc_uses_larder(link->pid)) {
        lr_tool_error("process %d has ended", (int)link->pid);
        return TOOL_FAILED;
    }
    if (error != 0) {
        lr_tool_error("process %d does not answer (%s); what follows may be old", (int)link->pid,
                      strerror(-error));
    }
    const char *wrong = lr_page_read(link, out);
    if (wrong != NULL) {
        lr_tool_error("process %d: its page is not usable: %s", (int)link->pid, wrong);
        return TOOL_FAILED;
    }
    out->report.process_id = (uint32_t)link->pid;
    name_threads(link->pid, out);
    return TOOL_OK;
}
