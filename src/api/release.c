// SPDX-License-Identifier: Apache-2.0
// Giving memory back on request.
#include <larder/larder.h>

#include <errno.h>

#include "api/slow.h"
#include "api/start.h"
#include "base/config.h"
#include "cache/transfer.h"
#include "heap/release.h"

size_t larder_release(size_t bytes) {
    if (!lr_start()) {
        return 0;
    }
    int saved_errno = errno;
    lr_transfer_flush_all();
    size_t pages = bytes / LR_PAGE_BYTES + (bytes % LR_PAGE_BYTES != 0);
    size_t released = lr_release_pages(pages);
    errno = saved_errno;
    return released << LR_PAGE_SHIFT;
}

size_t larder_thread_flush(void) { return lr_flush_own_cache(); }

const char *larder_version(void) { return LARDER_VERSION; }
