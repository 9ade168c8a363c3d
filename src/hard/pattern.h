// SPDX-License-Identifier: Apache-2.0
// What lies behind a block: a canary of eight bytes, then zeroes. What lies in a free one: zeroes.
//
// The first byte of a canary is zero: a string that lacks its terminator ends there, and an off-by-
// one that writes a terminator changes nothing. The other bytes are a secret of the process mixed
// with the address, so that one read canary does not tell the next.
#ifndef LARDER_HARD_PATTERN_H
#define LARDER_HARD_PATTERN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"
#include "base/bits.h"

enum { LR_CANARY_BYTES = 8 };

extern uint64_t lr_canary_key LR_HIDDEN; // immutable once hardened mode is on

static inline uint64_t lr_canary(const void *at) {
    return (lr_canary_key ^ ((uint64_t)(size_t)at * UINT64_C(0x9e3779b97f4a7c15))) &
           ~UINT64_C(0xff);
}

// Where the first byte that is not zero lies; `bytes` if there is none.
static inline size_t lr_first_nonzero(const void *start, size_t bytes) {
    const char *at = start;
    size_t i = 0;
    for (; i + 64 <= bytes; i += 64) {
        uint64_t words[8];
        memcpy(words, at + i, sizeof words);
        if ((words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] |
             words[7]) != 0) {
            break;
        }
    }
    while (i < bytes && at[i] == 0) {
        i++;
    }
    return i;
}

// Marks what lies between the block's `bytes` and the `room` it has, which reads as zero.
static inline void lr_mark_end(char *block, size_t bytes, size_t room) {
    uint64_t canary = lr_canary(block);
    memcpy(block + bytes, &canary, lr_min(room - bytes, LR_CANARY_BYTES));
}

// Where the first byte behind the block lies that was changed, counted from the block's start;
// `room` if there is none.
static inline size_t lr_first_changed(const char *block, size_t bytes, size_t room) {
    uint64_t canary = lr_canary(block);
    size_t marked = lr_min(room - bytes, LR_CANARY_BYTES);
    if (LR_UNLIKELY(memcmp(block + bytes, &canary, marked) != 0)) {
        const char *expected = (const char *)&canary;
        size_t i = 0;
        while (block[bytes + i] == expected[i]) {
            i++;
        }
        return bytes + i;
    }
    size_t zeroes = bytes + marked;
    return zeroes + lr_first_nonzero(block + zeroes, room - zeroes);
}

#endif
