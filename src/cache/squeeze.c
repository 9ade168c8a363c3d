// SPDX-License-Identifier: Apache-2.0
#include "cache/squeeze.h"

#include "base/bits.h"
#include "base/config.h"
#include "cache/span_pages.h"
#include "cache/thread_cache.h"
#include "cache/transfer.h"
#include "heap/limit.h"
#include "heap/meta.h"
#include "heap/release.h"

// Whole free pages first: they cost fewer system calls and break no span's memory up.
size_t lr_squeeze(size_t bytes) {
    lr_fetch_add_relaxed(&lr_cache_looks, 1);
    lr_transfer_flush_all();
    size_t pages = bytes / LR_PAGE_BYTES + (bytes % LR_PAGE_BYTES != 0);
    size_t released = lr_release_pages(pages, LR_BREAK_ANY) << LR_PAGE_SHIFT;
    if (released < bytes) {
        released += lr_span_pages_release();
    }
    if (released < bytes) {
        released += lr_meta_release(true);
    }
    return released;
}

bool lr_squeeze_if_short(uint64_t now_ns) {
    size_t bytes = lr_limit_look(now_ns);
    if (bytes > 0) {
        lr_squeeze(bytes);
    }
    return false;
}
