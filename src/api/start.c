// SPDX-License-Identifier: Apache-2.0
// First call, load and exit of the library.
#include "api/start.h"

#include <fcntl.h>
#include <unistd.h>

#include "api/slow.h"
#include "base/bits.h"
#include "cache/idle.h"
#include "cache/misuse.h"
#include "cache/size_class.h"
#include "cache/span_pages.h"
#include "cache/squeeze.h"
#include "cache/thread_state.h"
#include "cache/trace.h"
#include "cache/transfer.h"
#include "conf/options.h"
#include "diag/channel.h"
#include "diag/metrics_file.h"
#include "diag/profile_alarm.h"
#include "diag/report.h"
#include "hard/hard.h"
#include "heap/scavenger.h"
#include "heap/span_heap.h"
#include "heap/window.h"
#include "os/os.h"
#include "prof/dump.h"
#include "prof/frames.h"
#include "prof/guard.h"
#include "prof/pace.h"
#include "prof/profile.h"
#include "sync/latency.h"
#include "sync/lock.h"

enum { STATS_FD_MIN = 500 }; // out of the way of programs that expect low numbers

atomic_u32 lr_started;
static struct lr_lock start_lock = LR_LOCK_INIT(LR_RANK_INIT);
static int report_fd = -1;

static void serve(void) {
    lr_channel_serve();
    lr_metrics_file_serve();
    lr_profile_alarm_serve();
    lr_pace_serve();
}

static uint64_t due_ns(void) { return lr_min(lr_metrics_file_due_ns(), lr_pace_due_ns()); }

// What options switch on and off elsewhere.
static void follow_options(void) {
    lr_profile_follow_options();
    lr_profile_alarm_follow_options();
    lr_pace_follow_options();
    lr_latency_switch(lr_opt_latency() != 0);
}

// A descriptor that is no such file comes from a variable meant for another process.
static void follow_trace_fd(void) {
    if (lr_opt_trace_fd() != 0 && !lr_os_is_secure()) {
        (void)lr_trace_begin_with((int)lr_opt_trace_fd());
    }
}

static bool start_locked(void) {
    lr_os_init();
    lr_options_init();
    lr_size_class_init();
    if (!lr_window_init(lr_opt_window_size())) {
        return false;
    }
    lr_thread_state_init();
    lr_span_heap_set_reclaim(lr_transfer_flush_all);
    lr_scavenger_add_task(lr_squeeze_if_short);
    // Outermost cache first: what it gives back can travel on in the same tick.
    lr_scavenger_add_task(lr_idle_drain);
    lr_scavenger_add_task(lr_transfer_age);
    lr_scavenger_add_task(lr_thread_state_reclaim);
    lr_scavenger_add_task(lr_span_pages_age);
    if (lr_opt_hardened() != 0) {
        lr_hard_enable();
    }
    lr_misuse_set_callers(lr_frames_print_callers);
    lr_guard_init();
    lr_options_set_watcher(follow_options);
    follow_options();
    follow_trace_fd();
    lr_scavenger_set_service((struct lr_scavenger_service){
        .publish = lr_channel_publish, .serve = serve, .due_ns = due_ns});
    return true;
}

LR_COLD bool lr_start_slow(void) {
    lr_lock(&start_lock);
    bool done = lr_load_relaxed(&lr_started) != 0;
    bool first = !done && start_locked();
    if (first) {
        lr_store_release(&lr_started, 1);
    }
    lr_unlock(&start_lock);
    if (first) {
        // Handlers run before fork in reverse order of their registration. Ours is registered at
        // the first request of the process and so runs last, when most handlers of others have
        // allocated what they need (for the rest see sync/lock.h). Outside the lock, because
        // registering may allocate.
        lr_fork_install_handlers();
    }
    return done || first;
}

// The environment is readable here even if the first request came before libc was ready.
__attribute__((constructor)) static void on_load(void) {
    bool ready = lr_start() && lr_options_init();
    if (ready) {
        follow_trace_fd(); // the first request may have come too early to know
    }
    if (ready && lr_opt_hardened() != 0) {
        if (!lr_hardened) { // the first request came too early to know
            lr_hard_enable();
            lr_flush_own_cache();
            lr_store_relaxed(&lr_thread_cache, &lr_empty_cache);
        }
        lr_options_seal();
    }
    if (ready && (lr_opt_stats() != 0 || lr_opt_leak_check() != 0)) {
        // Programs close standard error before the library's destructor runs (coreutils do).
        report_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STATS_FD_MIN);
    }
}

// A last look, so that programs that end soon hear of their misuse too. exit() may come from a
// signal handler that interrupted this thread with a lock held, or in a child that was made without
// fork's handlers, where a lock may be held for ever: then there is none. The scavenger is waited
// for, because it has blocks and locks in hand while the kernel takes pages, tens of milliseconds
// for a GiB.
static void check_at_exit(void) {
    const uint64_t wait_ns = 200 * UINT64_C(1000000);
    if (!lr_thread_state_is_ours() || lr_opt_on_error() == LR_ON_ERROR_IGNORE) {
        return;
    }
    bool held = lr_lock_depth == 0 && lr_scavenger_hold(wait_ns);
    if (lr_no_lock_is_stuck(wait_ns)) {
        if (lr_hardened) {
            lr_hard_check_all();
        } else {
            lr_check_cached();
        }
    }
    if (held) {
        lr_scavenger_let_go();
    }
}

__attribute__((destructor)) static void on_exit_or_unload(void) {
    if (lr_load_relaxed(&lr_started) == 0) {
        return;
    }
    lr_metrics_file_end();
    const int fd = report_fd >= 0 ? report_fd : STDERR_FILENO;
    if (lr_opt_stats() != 0) {
        (void)lr_report_print(fd, LARDER_FORMAT_TEXT);
    }
    if (lr_opt_leak_check() != 0) {
        (void)lr_profile_leaks(fd);
    }
    check_at_exit();
}
