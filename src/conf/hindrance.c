// SPDX-License-Identifier: Apache-2.0
#include "conf/hindrance.h"

#include <string.h>

static const char by_hardened[] = "LARDER_HARDENED is 1";
static const char by_scavenger[] = "LARDER_SCAVENGER is not thread";
static const char by_profile_file[] = "LARDER_PROFILE_FILE is not set";
static const char by_metrics_file[] = "LARDER_METRICS_FILE is not set";

// Hardened mode has no caches, no background thread and no samples.
static bool lives_hardened(enum lr_option_id id) {
    static const uint8_t not_hardened[] = {
        LR_OPTION_thread_cache_max,
        LR_OPTION_thread_cache_total,
        LR_OPTION_bin_objects_max,
        LR_OPTION_batch_max,
        LR_OPTION_transfer_cache_max,
        LR_OPTION_scavenge_delay_ms,
        LR_OPTION_scavenge_rate,
        LR_OPTION_scavenge_cpu_percent,
        LR_OPTION_scavenge_start,
        LR_OPTION_idle_thread_ms,
        LR_OPTION_soft_limit,
        LR_OPTION_soft_limit_percent,
        LR_OPTION_watch_memory,
        LR_OPTION_profile,
        LR_OPTION_profile_interval,
        LR_OPTION_profile_at,
        LR_OPTION_profile_file,
        LR_OPTION_leak_check,
        LR_OPTION_metrics_file,
        LR_OPTION_metrics_seconds,
        LR_OPTION_guard_sample,
        LR_OPTION_publish,
        LR_OPTION_thp,
    };
    return memchr(not_hardened, (int)id, sizeof not_hardened) == NULL;
}

// Whether only the background thread does what the option asks for.
static bool needs_thread(enum lr_option_id id, uint64_t value) {
    return id == LR_OPTION_metrics_file || id == LR_OPTION_profile_at ||
           (id == LR_OPTION_publish && value == 2);
}

const char *lr_option_hindrance(enum lr_option_id id, const uint64_t values[LR_OPTION_COUNT]) {
    if (values[LR_OPTION_hardened] != 0) {
        return lives_hardened(id) ? NULL : by_hardened;
    }
    if (values[id] == lr_option_row(id)->fallback) {
        return NULL;
    }
    if (id == LR_OPTION_profile_at && values[LR_OPTION_profile_file] == 0) {
        return by_profile_file;
    }
    if (id == LR_OPTION_metrics_seconds && values[LR_OPTION_metrics_file] == 0) {
        return by_metrics_file;
    }
    return values[LR_OPTION_scavenger] != LR_SCAVENGER_THREAD && needs_thread(id, values[id])
               ? by_scavenger
               : NULL;
}
