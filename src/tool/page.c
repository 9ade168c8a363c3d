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

#include "base/atomic.h"
#include "base/bits.h"
#include "tool/memory_file.h"
#include "tool/proc.h"
#include "tool/tool.h"

enum {
    LOCK_TRIES = 200, // of 10 ms
    COPY_TRIES = 100,
    NAMES_MS = 1000,    // names of threads are as old at most
    NEW_NAMES_MS = 250, // and so late
    FOLLOWED = 200,     // figures wanted in advance
    FOLLOWED_MS = 50,   // and so old without being asked for:
    FOLLOWED_US = 40000 // wanted so often at most
};

// -1 unless it is a page that nobody can shorten.
static int open_page(int folder, const char *link) {
    const int fd = lr_memory_file_open(folder, link, LARDER_PAGE_NAME, O_RDWR);
    const int seals = fd >= 0 ? fcntl(fd, F_GET_SEALS) : -1;
    if (fd >= 0 && (seals < 0 || (seals & F_SEAL_SHRINK) == 0)) {
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

// Opening decides, not the permissions that access() looks at.
static bool is_readable(const char *path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
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
        } else if (lr_proc_state(pid) == 'Z') {
            why = "it has ended, and its parent has not taken notice (zombie)";
        } else if (snprintf(path, sizeof path, "/proc/%d/maps", (int)pid), !is_readable(path)) {
            why = "its mappings (/proc/PID/maps) cannot be read";
        } else if (!lr_proc_uses_larder(pid)) {
            status = TOOL_NO_LARDER;
            why = "it does not use Larder";
        } else {
            status = TOOL_NO_LARDER;
            why = "it uses Larder but shows no page: it has no background thread (small heap, "
                  "LARDER_HARDENED=1, or LARDER_SCAVENGER is not thread), or LARDER_PUBLISH=0; "
                  "with LARDER_PUBLISH=2 a process with a small heap shows one from its start";
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
    void *map = MAP_FAILED;
    size_t bytes = 0;
    if (fstat(fd, &status) == 0) {
        bytes = (size_t)lr_min((uint64_t)status.st_size, PAGE_BYTES_MOST);
        map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (map == MAP_FAILED || bytes < LARDER_PAGE_COMMAND + sizeof(struct larder_page_command)) {
        if (!quietly) {
            lr_tool_error("process %d: its page cannot be used: %s", (int)pid,
                          map == MAP_FAILED ? strerror(errno) : "it is too short");
        }
        if (map != MAP_FAILED) {
            munmap(map, bytes);
        }
        close(fd);
        return TOOL_FAILED;
    }
    *out = (struct page_link){.pid = pid, .fd = fd, .bytes = bytes, .map = map};
    return TOOL_OK;
}

void lr_page_close(struct page_link *link) {
    munmap(link->map, link->bytes);
    close(link->fd);
}

static struct larder_page_command *slot_of(const struct page_link *link) {
    return (struct larder_page_command *)(void *)(link->map + LARDER_PAGE_COMMAND);
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

static uint32_t served(const struct page_link *link) {
    // Pairs with the process's store: answer and tables were written before.
    return lr_load_acquire((atomic_u32 *)&slot_of(link)->served);
}

static void wake(const struct page_link *link) {
    atomic_u32 *word = (atomic_u32 *)&slot_of(link)->wake;
    lr_store_release(word, 1); // pairs with the process's exchange: it sees the request
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

// Others may have asked later.
static bool answers(uint32_t served_now, uint32_t request) {
    return (int32_t)(served_now - request) >= 0;
}

// Waits until `request` is answered.
static int wait_for(const struct page_link *link, uint32_t request) {
    const uint64_t end = now_ms() + (link->wait_ms != 0 ? link->wait_ms : PAGE_ANSWER_MS);
    for (uint32_t last; last = served(link), !answers(last, request);) {
        if (now_ms() >= end) {
            return -ETIMEDOUT;
        }
        const struct timespec wait = {.tv_nsec = 100 * 1000000L};
        syscall(SYS_futex, &slot_of(link)->served, FUTEX_WAIT, last, &wait, NULL, 0);
    }
    return 0;
}

// The caller has the lock. A request of somebody who did not wait for the answer is not written
// over while the process may be reading it.
static int post_locked(const struct page_link *link, const struct larder_page_command *command,
                       uint32_t *request) {
    struct larder_page_command *slot = slot_of(link);
    const uint32_t before = lr_load_relaxed((atomic_u32 *)&slot->request);
    if (before != served(link)) {
        wake(link);
        const int error = wait_for(link, before);
        if (error != 0) {
            return error;
        }
    }
    slot->kind = command->kind;
    memcpy(slot->name, command->name, sizeof slot->name);
    memcpy(slot->value, command->value, sizeof slot->value);
    *request = before + 1;
    // Pairs with the process's load: it sees the rest of the request.
    lr_store_release((atomic_u32 *)&slot->request, *request);
    return 0;
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
    uint32_t request;
    int error = post_locked(link, &command, &request);
    if (error == 0) {
        wake(link);
        error = wait_for(link, request);
    }
    const struct larder_page_command *slot = slot_of(link);
    *answer = (struct page_answer){.result = slot->result, .number = slot->number};
    flock(link->fd, LOCK_UN);
    return error;
}

static void copy_table(char *copy, const struct page_link *link,
                       const struct larder_page_table *table) {
    const uint64_t bytes = (uint64_t)table->rows * table->row_bytes;
    if (table->offset < link->bytes) {
        memcpy(copy + table->offset, link->map + table->offset,
               lr_min(bytes, link->bytes - table->offset));
    }
}

// The header last: tables that lie elsewhere than they should may reach into it.
static void copy_page(char *copy, const struct page_link *link,
                      const struct larder_page_header *header, bool options) {
    const struct larder_page_table *const tables[] = {
        &header->stats, &header->classes,   &header->locks,  &header->threads,
        &header->fills, &header->latencies, &header->options};
    const size_t count = sizeof tables / sizeof tables[0] - (options ? 0 : 1);
    for (size_t i = 0; i < count; i++) {
        copy_table(copy, link, tables[i]);
    }
    memcpy(copy, header, sizeof *header);
}

static atomic_u32 *sequence_of(const struct page_link *link) {
    return (atomic_u32 *)(void *)(link->map + offsetof(struct larder_page_header, sequence));
}

const char *lr_page_read(const struct page_link *link, struct page_view *out) {
    static char copy[PAGE_BYTES_MOST];
    atomic_u32 *sequence = sequence_of(link);
    for (int i = 0; i < COPY_TRIES; i++) {
        struct larder_page_header header;
        // Pairs with the process's stores before and after it writes. The fence keeps the copy
        // before the second look.
        const uint32_t before = lr_load_acquire(sequence);
        memcpy(&header, link->map, sizeof header);
        copy_page(copy, link, &header, !lr_page_knows_options(out, &header));
        lr_fence_acquire();
        if (before % 2 == 0 && lr_load_relaxed(sequence) == before) {
            return lr_page_decode(copy, link->bytes, out);
        }
        (void)usleep(1000);
    }
    return "it changes all the time";
}

// A name is a file, and names rarely change. Programs that start threads all the time are not asked
// for each.
static void name_threads(pid_t pid, struct page_view *view) {
    const uint64_t now = now_ms();
    const bool all = view->named_pid != pid || now - view->named_ms >= NAMES_MS;
    if (!all && now - view->new_named_ms < NEW_NAMES_MS) {
        return;
    }
    view->named_pid = pid;
    view->named_ms = all ? now : view->named_ms;
    view->new_named_ms = now;
    for (unsigned i = 0; i < view->report.thread_count; i++) {
        struct lr_report_thread *thread = &view->threads[i];
        if (all || thread->name[0] == '\0') {
            lr_proc_thread_name(pid, thread->thread_id, thread->name, sizeof thread->name);
        }
    }
}

// Has the process write figures by itself, for as long as somebody comes for them.
static void follow(const struct page_link *link) {
    struct larder_page_command *slot = slot_of(link);
    const uint32_t follow_us = (uint32_t)lr_max(link->follow_us, FOLLOWED_US);
    const uint32_t left = lr_load_relaxed((atomic_u32 *)&slot->follow);
    // Whoever tops up sets the pace, so that of readers that left goes with them.
    if (left < FOLLOWED / 2 || follow_us < lr_load_relaxed((atomic_u32 *)&slot->follow_us)) {
        lr_store_relaxed((atomic_u32 *)&slot->follow_us, follow_us);
        lr_store_relaxed((atomic_u32 *)&slot->follow, FOLLOWED);
    }
}

// Figures that are not older than the last call of lr_page_look().
static int ask_for_figures(struct page_link *link) {
    const struct larder_page_header *header = (const struct larder_page_header *)(void *)link->map;
    struct page_answer answer;
    if (link->follow_us != 0) {
        follow(link);
        const uint64_t updated_ns = lr_load_relaxed((const atomic_u64 *)&header->updated_ns);
        if (link->seen_ns != 0 && now_ms() < updated_ns / 1000000 + FOLLOWED_MS) {
            return 0;
        }
    }
    if (lr_proc_is_stopped(link->pid)) {
        return -ETIMEDOUT; // no need to wait for that
    }
    return lr_page_ask(link, LARDER_PAGE_REFRESH, "", "", &answer);
}

int lr_page_look(struct page_link *link, struct page_view *out) {
    const int error = ask_for_figures(link);
    if (error != 0 && !lr_proc_uses_larder(link->pid)) {
        lr_tool_error("process %d has ended", (int)link->pid);
        return TOOL_FAILED;
    }
    const uint32_t sequence = lr_load_acquire(sequence_of(link));
    const bool at_rest = sequence % 2 == 0; // not being written
    out->stale = error != 0;
    out->same = error == 0 && link->seen_ns != 0 && at_rest && sequence == link->sequence;
    if (out->same) {
        return TOOL_OK;
    }
    link->sequence = sequence;
    const char *wrong = lr_page_read(link, out);
    const bool stopped = (wrong != NULL || out->stale) && lr_proc_is_stopped(link->pid);
    if (wrong != NULL && stopped) {
        lr_tool_error(
            "process %d is stopped (kill -CONT lets it go on), and nobody has looked at it "
            "before: there are no figures",
            (int)link->pid);
        return TOOL_FAILED;
    }
    if (wrong != NULL) {
        lr_tool_error("process %d: its page is not usable: %s", (int)link->pid, wrong);
        return TOOL_FAILED;
    }
    if (out->stale) {
        const uint64_t now = now_ms();
        lr_tool_error("process %d does not answer%s: its figures are %ju s old", (int)link->pid,
                      stopped ? ", it is stopped" : " in time",
                      (uintmax_t)(now - lr_min(out->updated_ns / 1000000, now)) / 1000);
    }
    link->seen_ns = out->updated_ns;
    out->report.process_id = (uint32_t)link->pid;
    name_threads(link->pid, out);
    return TOOL_OK;
}
