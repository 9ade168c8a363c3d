// SPDX-License-Identifier: Apache-2.0
//
// Size classes: each request gets the smallest class that serves it, aligned as it wants, and each
// offset in a span belongs to the object it lies in.
#include "fuzz.h"

#include "base/bits.h"
#include "cache/size_class.h"

static void one_size(size_t size) {
    const unsigned c = lr_class_of(size);
    MUST(c > 0 && c < LR_CLASS_COUNT);
    MUST(lr_classes[c].bytes >= size);
    MUST(c == 1 || lr_classes[c - 1].bytes < size);
    MUST(lr_good_size(size, LR_MIN_ALIGN) == lr_classes[c].bytes);
}

static void one_alignment(size_t size, size_t align) {
    const unsigned c = lr_class_of_aligned(size, align);
    for (unsigned k = 1; k < (c == 0 ? LR_CLASS_COUNT : c); k++)
        MUST(lr_classes[k].bytes < size || lr_classes[k].bytes % align != 0);
    if (c != 0)
        MUST(lr_classes[c].bytes >= size && lr_classes[c].bytes % align == 0);
}

static void one_offset(unsigned c, size_t offset) {
    const struct class_info *const info = &lr_classes[c];
    offset %= (size_t)info->objects * info->bytes;
    MUST(lr_object_index(info, offset) == offset / info->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {data, size};
    while (in.left > 0) {
        const unsigned choice = (unsigned)fuzz_below(&in, 3);
        if (choice == 0) {
            one_size(fuzz_size(&in, LR_SMALL_MAX));
        } else if (choice == 1) {
            const size_t align = (size_t)1 << fuzz_below(&in, 14);
            one_alignment(fuzz_size(&in, 2 * LR_SMALL_MAX), align);
        } else {
            const unsigned c = 1 + (unsigned)fuzz_below(&in, LR_CLASS_COUNT - 1);
            one_offset(c, fuzz_take(&in, 3));
        }
        const size_t any = fuzz_take(&in, 8), align = (size_t)1 << fuzz_below(&in, 64);
        const size_t good = lr_good_size(any, align);
        MUST(good == 0 || good >= any);
    }
    return 0;
}
