// SPDX-License-Identifier: Apache-2.0
// Giving memory back on request.
#include <larder/larder.h>

#include <errno.h>
#include <stdint.h>

#include "api/slow.h"
#include "api/start.h"
#include "cache/idle.h"
#include "cache/squeeze.h"

size_t larder_release(size_t bytes) {
    if (!lr_start()) {
        return 0;
    }
    int saved_errno = errno;
    size_t released = lr_squeeze(bytes);
    errno = saved_errno;
    return released;
}

size_t larder_idle(void) {
    (void)lr_flush_own_cache();
    size_t released = larder_release(SIZE_MAX);
    if (lr_start()) {
        lr_idle_hurry();
    }
    return released;
}

size_t larder_thread_flush(void) { return lr_flush_own_cache(); }

const char *larder_version(void) { return LARDER_VERSION; }
