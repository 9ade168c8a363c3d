// SPDX-License-Identifier: Apache-2.0
// The common part of the probes: see probe.h.

#include "probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

// The first bytes of a file, as a string; false if it cannot be read.
static bool read_head(const char *path, char *text, size_t room) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t length = read(fd, text, room - 1);
    close(fd);
    if (length <= 0)
        return false;
    text[length] = '\0';
    return true;
}

uint64_t probe_rss_bytes(void) {
    char text[1024];
    // Walks the page tables. The counter in statm lags behind where many threads add to it, but is
    // what there is on kernels without smaps_rollup (before 4.14).
    if (read_head("/proc/self/smaps_rollup", text, sizeof text)) {
        const char *line = strstr(text, "\nRss:");
        if (line != NULL)
            return strtoull(line + sizeof "\nRss:" - 1, NULL, 10) * 1024;
    }
    if (read_head("/proc/self/statm", text, sizeof text)) {
        char *second = NULL;
        strtoull(text, &second, 10);
        return strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    wl_fail("the kernel does not tell resident memory; process", (uint64_t)getpid());
}

void probe_sizes_service(struct wl_sizes *sizes) {
    wl_sizes_service(sizes);
    for (unsigned i = 0; i < WL_SIZES; i++) {
        if (sizes->bytes[i] < sizeof(struct probe_block))
            sizes->bytes[i] = sizeof(struct probe_block);
    }
}

void *probe_map(size_t bytes, bool resident) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (resident ? MAP_POPULATE : 0);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED)
        wl_fail("cannot map bytes:", bytes);
    return memory;
}

void *probe_map_shared(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        wl_fail("cannot map bytes:", bytes);
    return memory;
}

void probe_unmap(void *memory, size_t bytes) { munmap(memory, bytes); }

// User space has 47 bits on x86-64 and 48 on aarch64; a kernel asked without a hint gives no more.
enum { ADDRESS_BITS = 48, WORD_BITS = 64 };
static const size_t page_set_bytes = (UINT64_C(1) << ADDRESS_BITS) / WL_PAGE / 8;

struct probe_pages probe_pages_new(void) {
    void *bits = mmap(NULL, page_set_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bits == MAP_FAILED)
        wl_fail("cannot map bytes:", page_set_bytes);
    return (struct probe_pages){.bits = bits};
}

void probe_pages_delete(struct probe_pages *pages) { munmap(pages->bits, page_set_bytes); }

void probe_pages_clear(struct probe_pages *pages) {
    madvise(pages->bits, page_set_bytes, MADV_DONTNEED);
    pages->count = 0;
}

void probe_pages_add(struct probe_pages *pages, const void *start, size_t bytes) {
    const uint64_t first = (uint64_t)(uintptr_t)start / WL_PAGE;
    const uint64_t last = ((uint64_t)(uintptr_t)start + bytes - 1) / WL_PAGE;
    for (uint64_t page = first; page <= last; page++) {
        const uint64_t bit = UINT64_C(1) << page % WORD_BITS;
        uint64_t *word = &pages->bits[page / WORD_BITS];
        pages->count += (*word & bit) == 0;
        *word |= bit;
    }
}

void probe_sleep_until(uint64_t when_ns) {
    const struct timespec when = {
        .tv_sec = (time_t)(when_ns / NS_PER_S),
        .tv_nsec = (long)(when_ns % NS_PER_S),
    };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) != 0) {
        // interrupted by a signal
    }
}

void probe_watch_memory(struct probe_watch *watch, void (*busy)(void)) {
    const uint64_t start = wl_now_ns();
    watch->rss_bytes[0] = probe_rss_bytes();
    for (unsigned second = 1; second <= watch->seconds; second++) {
        const uint64_t due = start + (uint64_t)second * NS_PER_S;
        while (busy != NULL && wl_now_ns() + NS_PER_MS < due) {
            busy();
            probe_sleep_until(wl_now_ns() + NS_PER_MS);
        }
        probe_sleep_until(due);
        watch->rss_bytes[second] = probe_rss_bytes();
    }
}

void probe_report_watch(const struct probe_watch *watch) {
    for (unsigned second = 0; second <= watch->seconds; second++) {
        char key[32];
        snprintf(key, sizeof key, "rss_kib_%u", second);
        wl_report(key, (double)(watch->rss_bytes[second] / 1024));
    }
}
