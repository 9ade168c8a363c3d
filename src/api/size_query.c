// SPDX-License-Identifier: Apache-2.0
// How large a block a request would get.
#include <larder/larder.h>

#include "base/bits.h"
#include "base/config.h"
#include "cache/size_class.h"
#include "hard/hard.h"

size_t larder_good_size(size_t size, size_t alignment) {
    if (alignment != 0 && !lr_is_pow2(alignment)) {
        return 0;
    }
    size_t bytes = lr_good_size(size, lr_max(alignment, LR_MIN_ALIGN));
    return lr_hardened && bytes != 0 ? size : bytes; // the rest is watched
}
