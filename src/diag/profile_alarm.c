// SPDX-License-Identifier: Apache-2.0
#include "diag/profile_alarm.h"

#include <errno.h>

#include "diag/own_file.h"
#include "heap/scavenger.h"
#include "heap/span_heap.h"
#include "prof/dump.h"
#include "prof/sample.h"

static atomic_u64 done_at; // the value of LARDER_PROFILE_AT that a profile was written for
static bool is_child;      // set before other threads exist

// Bytes of heap at which a profile is due; 0: none is.
static uint64_t due_bytes(void) {
    char name[LR_OWN_FILE_BYTES];
    bool unique;
    uint64_t at = lr_opt_profile_file() != 0 ? lr_opt_profile_at() : 0;
    if (at == 0 || at == lr_load_relaxed(&done_at) ||
        !lr_own_file_name(LR_OPTION_profile_file, "", name, &unique) || (is_child && !unique)) {
        return 0;
    }
    return at;
}

void lr_profile_alarm_follow_options(void) {
    const uint64_t at = due_bytes();
    lr_scavenger_alarm_at(at == 0 ? SIZE_MAX : (size_t)at >> LR_PAGE_SHIFT);
}

static void tell(uint64_t held, uint64_t at) {
    char name[LR_OWN_FILE_BYTES];
    char held_text[32], at_text[32];
    bool unique;
    struct lr_print p;
    lr_print_init(&p, held_text, sizeof held_text, -1);
    lr_print_bytes(&p, held);
    lr_print_init(&p, at_text, sizeof at_text, -1);
    lr_print_bytes_exact(&p, at);
    (void)lr_own_file_name(LR_OPTION_profile_file, "", name, &unique);
    lr_print_line(
        "larder: the heap holds %s, LARDER_PROFILE_AT is %s: its profile is in %s%s\n", held_text,
        at_text, name,
        lr_sample_counts().taken != 0
            ? ""
            : ", without a sample: what was allocated before LARDER_PROFILE_AT was set is "
              "not known, nor less than LARDER_PROFILE_INTERVAL");
}

void lr_profile_alarm_serve(void) {
    const uint64_t at = due_bytes();
    if (at == 0) {
        return;
    }
    const struct span_heap_counts counts = lr_span_heap_counts();
    const uint64_t held = (uint64_t)(counts.used_pages + counts.free_dirty_pages) << LR_PAGE_SHIFT;
    if (held < at) {
        lr_options_changed();
        return;
    }
    const int error = lr_own_file_write(LR_OPTION_profile_file, lr_profile_dump);
    if (error == -EBUSY) {
        return; // another thread is writing one: next time
    }
    lr_store_relaxed(&done_at, at);
    lr_options_changed();
    if (error == 0) {
        tell(held, at);
    } else {
        lr_own_file_complain(LR_OPTION_profile_file, error, "not tried again");
    }
}

void lr_profile_alarm_after_fork_child(void) {
    is_child = true;
    lr_store_relaxed(&done_at, 0);
    lr_profile_alarm_follow_options(); // nobody else is there to change an option
}
