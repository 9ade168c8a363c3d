// SPDX-License-Identifier: Apache-2.0
// Only the header's part of the page is mapped. Tables go there by pwrite(): they add nothing to
// the resident memory of the process, and no access can fault whatever happens to the file.
#include "diag/channel.h"

#include <errno.h>
#include <larder/page.h>
#include <string.h>

#include "cache/squeeze.h"
#include "cache/trace.h"
#include "conf/options.h"
#include "diag/report.h"
#include "heap/scavenger.h"
#include "heap/window.h"
#include "os/os.h"
#include "prof/dump.h"
#include "sync/latency.h"

enum {
    MAPPED_BYTES = 4096, // header and command slot; the kernel rounds up
    STATS_AT = MAPPED_BYTES,
    STATS_MOST = 128,
    CLASSES_AT = STATS_AT + STATS_MOST * sizeof(struct larder_page_stat),
    LOCKS_AT = CLASSES_AT + LR_CLASS_COUNT * sizeof(struct larder_class_stats),
    OPTIONS_AT = LOCKS_AT + LR_REPORT_LOCKS * sizeof(struct larder_page_lock),
    OPTIONS_MOST = 64,
    FILLS_AT = OPTIONS_AT + OPTIONS_MOST * sizeof(struct larder_page_option),
    LATENCIES_AT = FILLS_AT + LR_CLASS_COUNT * sizeof(struct larder_span_fills),
    LATENCIES_MOST = 16,
    THREADS_AT = LATENCIES_AT + LATENCIES_MOST * sizeof(struct larder_page_latency),
    THREADS_MOST = (LARDER_PAGE_BYTES - THREADS_AT) / sizeof(struct larder_page_thread),
    ROWS_BYTES = 5376, // of a write
};

static_assert((int)LR_STAT_COUNT <= STATS_MOST && (int)LR_OPTION_COUNT <= OPTIONS_MOST &&
                  (int)LR_LATENCY_KINDS <= LATENCIES_MOST,
              "tables fit");
static_assert(THREADS_MOST >= 512, "room for the threads of most programs");
static_assert(sizeof(struct larder_page_header) <= LARDER_PAGE_COMMAND, "the slot is behind");
static_assert(LARDER_PAGE_COMMAND + sizeof(struct larder_page_command) <= MAPPED_BYTES, "mapped");

#define CHECK_PERIOD_NS ((uint64_t)1000000000) // of looking whether our file is still open

// All of it belongs to the scavenger thread, or to the only thread of a forked child. `header`,
// `fd` and `file` change under lr_scavenger_lock.
static struct {
    struct larder_page_header *header; // NULL: no page
    int fd;
    struct lr_os_file_id file;
    uint64_t checked_ns;
    uint64_t options_age; // lr_options_age() of the options there; 0: none
    bool refused;         // it could not be made; not tried again
    bool profile_open;
    int profile_fd;
    struct lr_os_file_id profile_file;
} channel;

// Where a table is written, row by row.
struct writer {
    size_t at;
    size_t row_bytes;
    size_t waiting;
    int error;
    char rows[ROWS_BYTES];
};

static void writer_init(struct writer *w, size_t at, size_t row_bytes) {
    w->at = at;
    w->row_bytes = row_bytes;
    w->waiting = 0;
    w->error = 0;
}

static void writer_flush(struct writer *w) {
    const size_t bytes = w->waiting * w->row_bytes;
    if (bytes != 0 && w->error == 0) {
        w->error = lr_os_write_at(channel.fd, w->rows, bytes, w->at);
    }
    w->at += bytes;
    w->waiting = 0;
}

static void writer_add(struct writer *w, const void *row) {
    if ((w->waiting + 1) * w->row_bytes > sizeof w->rows) {
        writer_flush(w);
    }
    memcpy(w->rows + w->waiting * w->row_bytes, row, w->row_bytes);
    w->waiting++;
}

// `to` is all zero.
static void copy_text(char *to, size_t cap, const char *from) {
    memcpy(to, from, strnlen(from, cap - 1));
}

static void write_stats(struct writer *w, const struct larder_stats *stats) {
    writer_init(w, STATS_AT, sizeof(struct larder_page_stat));
    for (enum lr_stat_id id = 0; id < LR_STAT_COUNT; id++) {
        struct larder_page_stat row = {
            .value = lr_stat_value(stats, id), .kind = lr_stat_kind(id), .unit = lr_stat_unit(id)};
        copy_text(row.name, sizeof row.name, lr_stat_name(id));
        writer_add(w, &row);
    }
    writer_flush(w);
}

static void write_fills(struct writer *w, unsigned classes) {
    writer_init(w, FILLS_AT, sizeof(struct larder_span_fills));
    for (unsigned i = 0; i < classes; i++) {
        struct larder_span_fills row;
        lr_stats_fills(i, &row);
        writer_add(w, &row);
    }
    writer_flush(w);
}

static unsigned write_latencies(struct writer *w) {
    struct larder_latency_stats latency;
    unsigned count = 0;
    writer_init(w, LATENCIES_AT, sizeof(struct larder_page_latency));
    for (; lr_stats_latency(count, &latency); count++) {
        struct larder_page_latency row = {.sum_ns = latency.sum_ns};
        memcpy(row.buckets, latency.buckets, sizeof row.buckets);
        copy_text(row.name, sizeof row.name, latency.name);
        writer_add(w, &row);
    }
    writer_flush(w);
    return count;
}

static void write_locks(struct writer *w, const struct lr_report *report) {
    writer_init(w, LOCKS_AT, sizeof(struct larder_page_lock));
    for (unsigned i = 0; i < report->lock_count; i++) {
        const struct larder_lock_stats *lock = &report->locks[i];
        struct larder_page_lock row = {.takes = lock->takes, .contended = lock->contended};
        copy_text(row.name, sizeof row.name, lock->name);
        writer_add(w, &row);
    }
    writer_flush(w);
}

// Most reads find them as they were.
static void write_options(struct writer *w) {
    const uint64_t age = lr_options_age();
    if (age == channel.options_age) {
        return;
    }
    writer_init(w, OPTIONS_AT, sizeof(struct larder_page_option));
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        struct larder_page_option row = {.origin = lr_option_origin(id),
                                         .any_time = lr_option_row(id)->when == LR_WHEN_RUNTIME};
        struct lr_print p;
        copy_text(row.name, sizeof row.name, lr_option_name(id));
        lr_print_init(&p, row.value, sizeof row.value, -1);
        if (*lr_options_text(id) != '\0') {
            lr_print_str(&p, lr_options_text(id)); // the first 63 bytes
        } else {
            lr_option_print_value(&p, id, lr_options_value(lr_options_deref(), id));
        }
        lr_print_init(&p, row.range, sizeof row.range, -1);
        lr_option_print_range(&p, id);
        writer_add(w, &row);
    }
    writer_flush(w);
    channel.options_age = w->error == 0 ? age : 0;
}

static struct {
    struct writer writer;
    unsigned total;
} threads; // visited under the registry's lock; too large for two frames

static void add_thread(const struct lr_thread_figures *figures) {
    if (threads.total < THREADS_MOST) {
        const struct larder_page_thread row = {.thread_id = figures->thread_id,
                                               .state = figures->state,
                                               .cache_bytes = figures->cache_bytes,
                                               .slow_calls = figures->slow_calls};
        writer_add(&threads.writer, &row);
    }
    threads.total++;
}

// Readers take a copy only if the sequence is the same, and even, before and after.
static void refresh(void) {
    struct larder_page_header *header = channel.header;
    atomic_u32 *sequence = (atomic_u32 *)&header->sequence;
    struct lr_report report;
    struct writer writer;
    lr_report_gather(&report);
    // Pairs with the reads of a reader: its copy is between two system calls, and so is ours.
    lr_store_release(sequence, lr_load_relaxed(sequence) | 1);
    header->pools_begin = (uint64_t)lr_page_address(lr_window.first_pool_page);
    header->pools_end = (uint64_t)lr_page_address(lr_load_relaxed(&lr_window.pages));
    write_stats(&writer, &report.stats);
    writer_init(&writer, CLASSES_AT, sizeof(struct larder_class_stats));
    for (unsigned i = 0; i < report.class_count; i++) {
        writer_add(&writer, &report.classes[i]);
    }
    writer_flush(&writer);
    write_fills(&writer, report.class_count);
    write_locks(&writer, &report);
    write_options(&writer);
    writer_init(&threads.writer, THREADS_AT, sizeof(struct larder_page_thread));
    threads.total = 0;
    lr_stats_threads(add_thread);
    writer_flush(&threads.writer);
    header->threads_total = threads.total;
    header->threads.rows = threads.total < THREADS_MOST ? threads.total : THREADS_MOST;
    header->stats.rows = LR_STAT_COUNT;
    header->classes.rows = report.class_count;
    header->fills.rows = report.class_count;
    header->latencies.rows = write_latencies(&writer);
    header->locks.rows = report.lock_count;
    header->options.rows = LR_OPTION_COUNT;
    header->updated_ns = lr_os_now_ns();
    lr_store_release(sequence, (lr_load_relaxed(sequence) | 1) + 1);
}

static struct larder_page_table table(size_t offset, size_t row_bytes) {
    return (struct larder_page_table){.offset = (uint32_t)offset, .row_bytes = (uint32_t)row_bytes};
}

static int write_header(int fd) {
    struct larder_page_header header = {
        .magic = LARDER_PAGE_MAGIC,
        .version = LARDER_PAGE_VERSION,
        .header_bytes = sizeof header,
        .page_bytes = LARDER_PAGE_BYTES,
        .process_id = lr_os_process_id(),
        .window_begin = (uint64_t)lr_window.base,
        .window_end = (uint64_t)lr_window.base + lr_window.bytes,
        .stats = table(STATS_AT, sizeof(struct larder_page_stat)),
        .classes = table(CLASSES_AT, sizeof(struct larder_class_stats)),
        .locks = table(LOCKS_AT, sizeof(struct larder_page_lock)),
        .threads = table(THREADS_AT, sizeof(struct larder_page_thread)),
        .options = table(OPTIONS_AT, sizeof(struct larder_page_option)),
        .fills = table(FILLS_AT, sizeof(struct larder_span_fills)),
        .latencies = table(LATENCIES_AT, sizeof(struct larder_page_latency)),
    };
    copy_text(header.larder_version, sizeof header.larder_version, larder_version());
    return lr_os_write_at(fd, &header, sizeof header, 0);
}

// A new file in the place of the one before, if there was one: the thread's futex word keeps its
// address.
static bool make_page(void) {
    const int fd = lr_os_share_create(LARDER_PAGE_NAME, LARDER_PAGE_BYTES);
    if (fd < 0) {
        return false;
    }
    struct lr_os_file_id file;
    void *page = NULL;
    if (write_header(fd) == 0 && lr_os_file_identify(fd, &file)) {
        page = lr_os_share_map(fd, MAPPED_BYTES, channel.header);
    }
    if (page == NULL) {
        lr_os_close(fd);
        return false;
    }
    channel.header = page;
    channel.fd = fd;
    channel.file = file;
    channel.options_age = 0;
    return true;
}

static struct larder_page_command *slot(void) {
    return (struct larder_page_command *)(void *)((char *)channel.header + LARDER_PAGE_COMMAND);
}

void lr_channel_publish(void) {
    if (channel.refused || lr_opt_publish() == 0 || lr_os_is_secure()) {
        return;
    }
    const uint64_t now = lr_os_now_ns();
    if (channel.header != NULL) {
        if (now - channel.checked_ns < CHECK_PERIOD_NS) {
            return;
        }
        channel.checked_ns = now;
        if (lr_os_file_is(channel.fd, &channel.file)) {
            return;
        }
    }
    channel.checked_ns = now;
    // A fork waits for it: a child must know which descriptor is ours.
    lr_lock(&lr_scavenger_lock);
    if (make_page()) {
        lr_scavenger_sleep_on((atomic_u32 *)&slot()->wake);
    } else if (channel.header == NULL) {
        channel.refused = true;
    }
    lr_unlock(&lr_scavenger_lock);
}

static int set_option(const struct larder_page_command *command) {
    const enum lr_option_id id = lr_option_by_name(command->name);
    uint64_t value;
    if (id == LR_OPTION_COUNT) {
        return -ENOENT;
    }
    switch (lr_option_read(id, command->value, &value)) {
    case LR_OPTION_GOOD:
        return lr_option_set(command->name, value);
    case LR_OPTION_OUT_OF_RANGE:
        return -ERANGE;
    default:
        return -EINVAL;
    }
}

static void close_profile(void) {
    // The program may have closed it and use the number for a file of its own.
    if (channel.profile_open && lr_os_file_is(channel.profile_fd, &channel.profile_file)) {
        lr_os_close(channel.profile_fd);
    }
    channel.profile_open = false;
}

static int write_profile(uint64_t *number) {
    close_profile();
    const int fd = lr_os_file_create("larder-profile");
    if (fd < 0) {
        return fd;
    }
    const int result = lr_profile_dump(fd);
    channel.profile_open = result == 0 && lr_os_file_identify(fd, &channel.profile_file);
    if (!channel.profile_open) {
        lr_os_close(fd);
        return result != 0 ? result : -EIO;
    }
    channel.profile_fd = fd;
    *number = (uint64_t)fd;
    return 0;
}

static int begin_trace(const char *size, uint64_t *number) {
    uint64_t bytes;
    // Read as the option that takes bytes without a lower limit.
    if (lr_option_read(LR_OPTION_heap_limit, size, &bytes) != LR_OPTION_GOOD) {
        return -EINVAL;
    }
    return lr_trace_begin(bytes, number);
}

static int obey(const struct larder_page_command *command, uint64_t *number) {
    switch (command->kind) {
    case LARDER_PAGE_REFRESH:
        return 0;
    case LARDER_PAGE_SET:
        return set_option(command);
    case LARDER_PAGE_TRIM:
        *number = lr_squeeze(SIZE_MAX);
        return 0;
    case LARDER_PAGE_PROFILE:
        return write_profile(number);
    case LARDER_PAGE_PROFILE_END:
        close_profile();
        return 0;
    case LARDER_PAGE_TRACE:
        return begin_trace(command->value, number);
    case LARDER_PAGE_TRACE_END:
        lr_trace_end();
        return 0;
    default:
        return -ENOSYS;
    }
}

void lr_channel_serve(void) {
    if (channel.header == NULL) {
        return;
    }
    struct larder_page_command *command = slot();
    // Acquire pairs with the asker's write of the number, which comes after the rest.
    const uint32_t request = lr_load_acquire((atomic_u32 *)&command->request);
    if (request == command->served) {
        return;
    }
    // A copy: others may write while we read, whatever the contract says.
    struct larder_page_command copy = *(volatile struct larder_page_command *)command;
    copy.name[sizeof copy.name - 1] = '\0';
    copy.value[sizeof copy.value - 1] = '\0';
    uint64_t number = 0;
    const int result = obey(&copy, &number);
    refresh();
    command->result = result;
    command->number = number;
    // Pairs with the asker's read of the number: result and tables are there.
    lr_store_release((atomic_u32 *)&command->served, request);
    lr_os_futex_wake_shared(&command->served, 1);
}

void lr_channel_after_fork_child(void) {
    close_profile();
    channel.refused = false;
    if (channel.header == NULL) {
        return;
    }
    lr_os_unmap(channel.header, MAPPED_BYTES);
    channel.header = NULL;
    if (lr_os_file_is(channel.fd, &channel.file)) {
        lr_os_close(channel.fd);
    }
}
