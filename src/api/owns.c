// SPDX-License-Identifier: Apache-2.0
// Whose a pointer is.
#include <larder/larder.h>

#include "api/start.h"
#include "base/attr.h"
#include "cache/size_class.h"
#include "hard/hard.h"
#include "heap/large.h"
#include "heap/span.h"
#include "prof/sample.h"

// Descriptors are never unmapped, so that one of a span that ends meanwhile may be read; then the
// answer is one of two that were right at some moment.
static bool begins_small_block(const void *p, size_t page) {
    const struct span *span = lr_span_of_page(page);
    const unsigned size_class = lr_load_relaxed(lr_class_map(page)) / LR_BIN_BYTES;
    if (span == NULL || size_class == 0) {
        return false;
    }
    const size_t offset = (size_t)p - (size_t)lr_span_start(span);
    const size_t bytes = lr_classes[size_class].bytes;
    return offset % bytes == 0 && offset / bytes < span->object_count;
}

int larder_owns(const void *p) {
    if (p == NULL || !lr_start()) {
        return 0;
    }
    const size_t page = lr_page_of(p);
    return (lr_page_in_window(page) && begins_small_block(p, page)) || lr_large_bytes(p) != 0 ||
           (lr_sample_any() && lr_sample_bytes(p) != 0) || (lr_hardened && lr_hard_is_block(p));
}
