// SPDX-License-Identifier: Apache-2.0
// Only the header's part of the page is mapped. Tables go there by pwrite(): they add nothing to
// the resident memory of the process, and no access can fault whatever happens to the file.
#include "diag/channel.h"

#include <errno.h>
#include <larder/page.h>
#include <limits.h>
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
    OPTIONS_AT = MAPPED_BYTES,
    OPTIONS_MOST = 64,
    // The other tables, one behind the other, so that one system call writes them; threads last.
    FIGURES_AT = OPTIONS_AT + OPTIONS_MOST * sizeof(struct larder_page_option),
    WRITE_BYTES = 20 << 10, // figures with a hundred threads
    THREADS_LEAST = 512,
};

static_assert((int)LR_OPTION_COUNT <= OPTIONS_MOST, "they fit");
static_assert(FIGURES_AT + LR_STAT_COUNT * sizeof(struct larder_page_stat) +
                      LR_CLASS_COUNT *
                          (sizeof(struct larder_class_stats) + sizeof(struct larder_span_fills)) +
                      LR_LATENCY_KINDS * sizeof(struct larder_page_latency) +
                      LR_REPORT_LOCKS * sizeof(struct larder_page_lock) +
                      THREADS_LEAST * sizeof(struct larder_page_thread) <=
                  LARDER_PAGE_BYTES,
              "room for the threads of most programs");
static_assert(sizeof(struct larder_page_header) <= LARDER_PAGE_COMMAND, "the slot is behind");
static_assert(LARDER_PAGE_COMMAND + sizeof(struct larder_page_command) <= MAPPED_BYTES, "mapped");

#define CHECK_PERIOD_NS ((uint64_t)1000000000) // of looking whether our file is still open
#define RESIDENT_NS ((uint64_t)100000000)      // of asking the kernel how much memory is resident

// All of it belongs to the scavenger thread, or to the only thread of a forked child. `header`,
// `fd` and `file` change under lr_scavenger_lock.
static struct {
    struct larder_page_header *header; // NULL: no page
    int fd;
    struct lr_os_file_id file;
    uint64_t checked_ns;
    uint64_t options_age; // lr_options_age() of the options there; 0: none
    uint64_t resident_bytes;
    uint64_t resident_ns; // when it was asked for
    uint64_t followed_ns; // when figures were last written for followers
    bool refused;         // it could not be made; not tried again
    bool profile_open;
    int profile_fd;
    struct lr_os_file_id profile_file;
} channel;

// Writes tables; too large for a frame.
static struct {
    struct larder_page_table table; // the one that is being written
    size_t at;
    size_t waiting; // bytes
    int error;
    _Alignas(uint64_t) char bytes[WRITE_BYTES]; // rows are written as structures
} writer;

static void writer_init(size_t at) {
    writer.at = at;
    writer.waiting = 0;
    writer.error = 0;
}

static void writer_flush(void) {
    if (writer.waiting != 0 && writer.error == 0) {
        writer.error = lr_os_write_at(channel.fd, writer.bytes, writer.waiting, writer.at);
    }
    writer.at += writer.waiting;
    writer.waiting = 0;
}

static void begin_table(size_t row_bytes) {
    writer.table = (struct larder_page_table){.offset = (uint32_t)(writer.at + writer.waiting),
                                              .row_bytes = (uint32_t)row_bytes};
}

// A row of the table, all zero; NULL: the page is full.
static void *add_row(void) {
    const size_t bytes = writer.table.row_bytes;
    if (writer.waiting + bytes > sizeof writer.bytes) {
        writer_flush();
    }
    if (writer.at + writer.waiting + bytes > LARDER_PAGE_BYTES) {
        return NULL;
    }
    void *row = writer.bytes + writer.waiting;
    writer.waiting += bytes;
    writer.table.rows++;
    return memset(row, 0, bytes);
}

// Rows that lie in memory as they do in the page.
static void add_rows(const void *rows, unsigned count) {
    const size_t bytes = writer.table.row_bytes;
    for (unsigned i = 0; i < count; i++) {
        void *row = add_row();
        if (row != NULL) {
            memcpy(row, (const char *)rows + i * bytes, bytes);
        }
    }
}

// `to` is all zero.
static void copy_text(char *to, size_t cap, const char *from) {
    memcpy(to, from, strnlen(from, cap - 1));
}

static void write_stats(const struct larder_stats *stats) {
    begin_table(sizeof(struct larder_page_stat));
    for (enum lr_stat_id id = 0; id < LR_STAT_COUNT; id++) {
        struct larder_page_stat *row = add_row();
        if (row != NULL) {
            row->value = lr_stat_value(stats, id);
            row->kind = lr_stat_kind(id);
            row->unit = lr_stat_unit(id);
            copy_text(row->name, sizeof row->name, lr_stat_name(id));
        }
    }
}

static void write_fills(const struct lr_report *report) {
    begin_table(sizeof(struct larder_span_fills));
    for (unsigned i = 0; i < report->class_count; i++) {
        struct larder_span_fills *row = add_row();
        if (row != NULL && report->classes[i].spans != 0) {
            lr_stats_fills(i, row);
        }
    }
}

static void write_latencies(void) {
    struct larder_latency_stats latency;
    begin_table(sizeof(struct larder_page_latency));
    for (unsigned i = 0; lr_stats_latency(i, &latency); i++) {
        struct larder_page_latency *row = add_row();
        if (row != NULL) {
            row->sum_ns = latency.sum_ns;
            memcpy(row->buckets, latency.buckets, sizeof row->buckets);
            copy_text(row->name, sizeof row->name, latency.name);
        }
    }
}

static void write_locks(const struct lr_report *report) {
    begin_table(sizeof(struct larder_page_lock));
    for (unsigned i = 0; i < report->lock_count; i++) {
        struct larder_page_lock *row = add_row();
        if (row != NULL) {
            row->takes = report->locks[i].takes;
            row->contended = report->locks[i].contended;
            copy_text(row->name, sizeof row->name, report->locks[i].name);
        }
    }
}

// Most reads find them as they were.
static void write_options(void) {
    const uint64_t age = lr_options_age();
    if (age == channel.options_age) {
        return;
    }
    writer_init(OPTIONS_AT);
    begin_table(sizeof(struct larder_page_option));
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        struct larder_page_option *row = add_row();
        struct lr_print p;
        if (row == NULL) {
            break;
        }
        row->origin = lr_option_origin(id);
        row->any_time = lr_option_row(id)->when == LR_WHEN_RUNTIME;
        copy_text(row->name, sizeof row->name, lr_option_name(id));
        lr_print_init(&p, row->value, sizeof row->value, -1);
        if (*lr_options_text(id) != '\0') {
            lr_print_str(&p, lr_options_text(id)); // the first 63 bytes
        } else {
            lr_option_print_value(&p, id, lr_options_value(lr_options_deref(), id));
        }
        lr_print_init(&p, row->range, sizeof row->range, -1);
        lr_option_print_range(&p, id);
    }
    writer_flush();
    channel.header->options = writer.table;
    channel.header->options_ns = lr_os_now_ns();
    channel.options_age = writer.error == 0 ? age : 0;
}

static uint32_t threads_total; // visited under the registry's lock

static void add_thread(const struct lr_thread_figures *figures) {
    struct larder_page_thread *row = add_row();
    if (row != NULL) {
        row->thread_id = figures->thread_id;
        row->state = figures->state;
        row->cache_bytes = figures->cache_bytes;
        row->slow_calls = figures->slow_calls;
    }
    threads_total++;
}

// Opens and reads a file, which is more than all the rest: readers may come often.
static uint64_t resident_bytes(uint64_t now_ns) {
    if (channel.resident_ns == 0 || now_ns - channel.resident_ns >= RESIDENT_NS) {
        channel.resident_bytes = lr_os_resident_bytes();
        channel.resident_ns = now_ns;
    }
    return channel.resident_bytes;
}

// Readers take a copy only if the sequence is the same, and even, before and after.
static void refresh(void) {
    struct larder_page_header *header = channel.header;
    atomic_u32 *sequence = (atomic_u32 *)&header->sequence;
    struct lr_report report;
    lr_report_gather_with(&report, resident_bytes(lr_os_now_ns()));
    // Pairs with a reader's fence before its second look: who copied anything of what follows sees
    // the sequence changed.
    lr_store_relaxed(sequence, lr_load_relaxed(sequence) | 1);
    lr_fence_release();
    header->pools_begin = (uint64_t)lr_page_address(lr_window.first_pool_page);
    header->pools_end = (uint64_t)lr_page_address(lr_load_relaxed(&lr_window.pages));
    write_options();
    writer_init(FIGURES_AT);
    write_stats(&report.stats);
    header->stats = writer.table;
    begin_table(sizeof(struct larder_class_stats));
    add_rows(report.classes, report.class_count);
    header->classes = writer.table;
    write_fills(&report);
    header->fills = writer.table;
    write_latencies();
    header->latencies = writer.table;
    write_locks(&report);
    header->locks = writer.table;
    begin_table(sizeof(struct larder_page_thread));
    threads_total = 0;
    lr_stats_threads(add_thread);
    header->threads = writer.table;
    header->threads_total = threads_total;
    writer_flush();
    header->updated_ns = lr_os_now_ns();
    lr_store_release(sequence, (lr_load_relaxed(sequence) | 1) + 1);
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

// Whether somebody who reads often needs newer figures.
static bool is_followed(struct larder_page_command *command) {
    const uint32_t left = lr_load_relaxed((atomic_u32 *)&command->follow);
    if (left == 0) {
        return false;
    }
    const uint64_t period_ns = (uint64_t)lr_load_relaxed((atomic_u32 *)&command->follow_us) * 1000;
    const uint64_t now_ns = lr_os_now_ns();
    // Ticks are not as regular as readers; answers to others do not shift what comes by itself.
    if (now_ns - channel.followed_ns < period_ns / 2) {
        return false;
    }
    channel.followed_ns = now_ns;
    // A reader's write that is lost to this one comes again.
    lr_store_relaxed((atomic_u32 *)&command->follow, left - 1);
    return true;
}

void lr_channel_serve(void) {
    if (channel.header == NULL) {
        return;
    }
    struct larder_page_command *command = slot();
    // Acquire pairs with the asker's write of the number, which comes after the rest.
    const uint32_t request = lr_load_acquire((atomic_u32 *)&command->request);
    if (request == command->served) {
        if (is_followed(command)) {
            refresh();
        }
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
    lr_os_futex_wake_shared(&command->served, INT_MAX);
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
