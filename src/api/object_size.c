// SPDX-License-Identifier: Apache-2.0
// How much lies behind a pointer into a block.
#include <larder/larder.h>

#include <stdint.h>

#include "api/override.h"
#include "api/start.h"
#include "cache/size_class.h"
#include "hard/hard.h"
#include "heap/direct.h"
#include "heap/large.h"
#include "heap/span.h"
#include "prof/guard.h"
#include "prof/sample.h"

static size_t rest(const void *start, size_t bytes, const void *p) {
    size_t offset = (size_t)p - (size_t)start;
    return offset < bytes ? bytes - offset : 0;
}

// Descriptors are never unmapped, so that one of a span that ends meanwhile may be read.
static size_t rest_of_small(const void *p, size_t page, size_t bytes) {
    const struct span *span = lr_span_of_page(page);
    if (span == NULL) {
        return 0;
    }
    size_t offset = (size_t)p - (size_t)lr_span_start(span);
    return offset / bytes < span->object_count ? bytes - offset % bytes : 0;
}

static size_t rest_in_window(const void *p, size_t page) {
    size_t bytes = lr_classes[lr_load_relaxed(lr_class_map(page)) / LR_BIN_BYTES].bytes;
    if (bytes != 0) {
        return rest_of_small(p, page, bytes);
    }
    struct span *span = lr_large_span_around(p);
    if (LR_UNLIKELY(lr_hardened) && (span == NULL || span->is_private)) {
        return lr_hard_bytes_from(span, p);
    }
    if (span == NULL) {
        return 0;
    }
    bytes = lr_sample_any() ? lr_sample_bytes(lr_span_start(span)) : 0;
    return rest(lr_span_start(span), bytes != 0 ? bytes : lr_span_bytes(span), p);
}

size_t larder_object_size(const void *p) {
    if (p == NULL) {
        return 0;
    }
    if (!lr_start()) {
        return SIZE_MAX;
    }
    size_t page = lr_page_of(p);
    if (lr_page_in_window(page)) {
        return rest_in_window(p, page);
    }
    size_t bytes;
    if (lr_guard_bytes_from(p, &bytes)) {
        return bytes;
    }
    bytes = lr_direct_bytes_from(p);
    return bytes != 0 ? bytes : SIZE_MAX;
}

LR_OVERRIDES_OF_OBJECT_SIZE(LR_OVERRIDE_CXX)
