// SPDX-License-Identifier: Apache-2.0
//
// What fuzz targets share. A target defines LLVMFuzzerTestOneInput(): with libFuzzer (ci/fuzz)
// inputs come from it, in the test suite from driver.c. Bytes of the input decide what is done;
// when they are used up, the target has finished. What must hold is said by MUST, which ends the
// process.
#ifndef LARDER_TESTS_FUZZ_H
#define LARDER_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)                                                                                 \
    ((cond) ? (void)0                                                                              \
            : (fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #cond), abort()))

struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

// The next number of that many bytes; zeroes behind the end.
static inline uint64_t fuzz_take(struct fuzz_input *in, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes && in->left > 0; i++, in->left--)
        value |= (uint64_t)*in->at++ << (8 * i);
    return value;
}

// Below `bound`, which is not 0.
static inline uint64_t fuzz_below(struct fuzz_input *in, uint64_t bound) {
    return fuzz_take(in, bound <= 256 ? 1 : bound <= 65536 ? 2 : 4) % bound;
}

// 0 to `most`, small ones as likely as large ones.
static inline size_t fuzz_size(struct fuzz_input *in, size_t most) {
    const unsigned bits = (unsigned)fuzz_below(in, 64 - (unsigned)__builtin_clzl(most) + 1);
    const size_t size = fuzz_take(in, 4) & (((size_t)1 << bits) - 1);
    return size <= most ? size : most;
}

#endif
