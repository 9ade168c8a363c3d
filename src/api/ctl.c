// SPDX-License-Identifier: Apache-2.0
// <larder/ctl.h>, <larder/stats.h>, <larder/profile.h>: checks arguments and keeps errno around
// what does the work.
#include <larder/ctl.h>
#include <larder/profile.h>
#include <larder/stats.h>

#include <errno.h>
#include <string.h>

#include "conf/options.h"
#include "conf/stats.h"
#include "diag/report.h"
#include "diag/walk.h"
#include "prof/dump.h"

int larder_option_get(const char *name, uint64_t *value) {
    return name == NULL || value == NULL ? -EINVAL : lr_option_get(name, value);
}

int larder_option_set(const char *name, uint64_t value) {
    const int saved_errno = errno;
    const int result = name == NULL ? -EINVAL : lr_option_set(name, value);
    errno = saved_errno;
    return result;
}

int larder_options_print(int fd) {
    const int saved_errno = errno;
    const int result = fd < 0 ? -EBADF : lr_options_print(fd);
    errno = saved_errno;
    return result;
}

int larder_stats_get(struct larder_stats *out, size_t out_bytes) {
    if (out == NULL || out_bytes < offsetof(struct larder_stats, live_bytes)) {
        return -EINVAL;
    }
    const int saved_errno = errno;
    struct larder_stats stats;
    lr_stats_collect(&stats);
    memcpy(out, &stats, out_bytes < sizeof stats ? out_bytes : sizeof stats);
    errno = saved_errno;
    return 0;
}

int larder_stats_class(unsigned index, struct larder_class_stats *out) {
    if (out == NULL) {
        return -EINVAL;
    }
    return lr_stats_class(index, out) ? 0 : -ENOENT;
}

int larder_stats_fills(unsigned index, struct larder_span_fills *out) {
    if (out == NULL) {
        return -EINVAL;
    }
    return lr_stats_fills(index, out) ? 0 : -ENOENT;
}

int larder_stats_lock(unsigned index, struct larder_lock_stats *out) {
    if (out == NULL) {
        return -EINVAL;
    }
    return lr_stats_lock(index, out) ? 0 : -ENOENT;
}

int larder_stats_latency(unsigned index, struct larder_latency_stats *out) {
    if (out == NULL) {
        return -EINVAL;
    }
    return lr_stats_latency(index, out) ? 0 : -ENOENT;
}

int larder_stats_print(int fd) { return larder_stats_print_as(fd, LARDER_FORMAT_TEXT); }

int larder_stats_print_as(int fd, enum larder_format format) {
    if ((unsigned)format > LARDER_FORMAT_PROMETHEUS) {
        return -EINVAL;
    }
    const int saved_errno = errno;
    const int result = fd < 0 ? -EBADF : lr_report_print(fd, format);
    errno = saved_errno;
    return result;
}

int larder_heap_walk(larder_heap_visitor visit, void *context) {
    if (visit == NULL) {
        return -EINVAL;
    }
    const int saved_errno = errno;
    const int result = lr_heap_walk(visit, context);
    errno = saved_errno;
    return result;
}

int larder_profile_write(int fd) {
    const int saved_errno = errno;
    const int result = fd < 0 ? -EBADF : lr_profile_dump(fd);
    errno = saved_errno;
    return result;
}
