// SPDX-License-Identifier: Apache-2.0
#include "cache/span_look.h"

#include "cache/central.h"

bool lr_span_look(size_t page, struct span_look *out) {
    unsigned size_class = lr_load_relaxed(lr_class_map(page)) / LR_BIN_BYTES;
    if (size_class == 0) {
        return false;
    }
    lr_lock(lr_central_lock(size_class));
    // A span of the class that is in the maps stays there while the lock is held. Acquire pairs
    // with the release in set_maps(): a new one may be seen before its maker has the lock.
    unsigned now = lr_load_acquire(lr_class_map(page)) / LR_BIN_BYTES;
    const struct span *span = now == size_class ? lr_span_of_page(page) : NULL;
    if (span != NULL) {
        out->size_class = size_class;
        out->first_page = span->first_page;
        out->fresh = span->fresh;
        for (unsigned w = 0; w < (span->object_count + 63U) / 64; w++) {
            out->bits[w] = span->bits[w];
        }
    }
    lr_unlock(lr_central_lock(size_class));
    return span != NULL;
}

bool lr_span_look_free(const struct span_look *look, size_t object) {
    return object >= look->fresh || (look->bits[object / 64] >> (object % 64) & 1) != 0;
}
