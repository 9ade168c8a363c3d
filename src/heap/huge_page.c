// SPDX-License-Identifier: Apache-2.0
#include "heap/huge_page.h"

#include <string.h>

#include "base/bits.h"
#include "base/fail.h"
#include "os/os.h"

enum { WORDS = 4 };

// Bits [first, last) of word `w` of a 256-bit map, for the part of the range that lies in it.
static uint64_t word_mask(unsigned w, unsigned first, unsigned last) {
    unsigned lo = first > w * 64 ? first - w * 64 : 0;
    unsigned hi = last < (w + 1) * 64 ? last - w * 64 : 64;
    uint64_t below_hi = hi == 64 ? ~(uint64_t)0 : ((uint64_t)1 << hi) - 1;
    return below_hi & ~(((uint64_t)1 << lo) - 1);
}

// First position at or after `from` whose bit equals `value` in map; 256 if none.
static unsigned next_bit(const uint64_t map[WORDS], unsigned from, bool value) {
    for (unsigned w = from / 64; w < WORDS; w++) {
        uint64_t word = value ? map[w] : ~map[w];
        if (w == from / 64) {
            word &= ~(uint64_t)0 << (from % 64);
        }
        if (word != 0) {
            return w * 64 + (unsigned)__builtin_ctzl(word);
        }
    }
    return LR_PAGES_PER_HUGE;
}

// Where the run of free pages that reaches up to `end` begins; `end` if the page below is used.
static unsigned run_start(const uint64_t used[WORDS], unsigned end) {
    for (unsigned w = (end + 63) / 64; w-- > 0;) {
        uint64_t word = used[w] & word_mask(w, 0, end);
        if (word != 0) {
            return w * 64 + 64 - (unsigned)__builtin_clzl(word);
        }
    }
    return 0;
}

unsigned lr_huge_find(const struct huge_page *huge, unsigned pages, unsigned align) {
    unsigned at = 0;
    for (;;) {
        unsigned start = (unsigned)lr_align_up(next_bit(huge->used, at, false), align);
        if (start + pages > LR_PAGES_PER_HUGE) {
            return LR_PAGES_PER_HUGE;
        }
        unsigned end = next_bit(huge->used, start, true);
        if (end - start >= pages) {
            return start;
        }
        at = end + (end == start); // an aligned start may itself be used
    }
}

static unsigned longest_free(const struct huge_page *huge) {
    unsigned longest = 0;
    for (unsigned start = next_bit(huge->used, 0, false); start < LR_PAGES_PER_HUGE;) {
        unsigned end = next_bit(huge->used, start, true);
        if (end - start > longest) {
            longest = end - start;
        }
        start = next_bit(huge->used, end, false);
    }
    return longest;
}

unsigned lr_huge_take(struct huge_page *huge, unsigned first, unsigned pages) {
    unsigned was_clean = 0;
    for (unsigned w = first / 64; w <= (first + pages - 1) / 64; w++) {
        uint64_t mask = word_mask(w, first, first + pages);
        LR_ASSERT((huge->used[w] & mask) == 0);
        huge->used[w] |= mask;
        uint64_t clean = huge->clean[w] & mask;
        if (clean != 0) {
            was_clean += (unsigned)__builtin_popcountl(clean);
            huge->clean[w] &= ~clean;
        }
    }
    huge->used_count = (uint16_t)(huge->used_count + pages);
    huge->clean_count = (uint16_t)(huge->clean_count - was_clean);
    huge->longest = huge->used_count == LR_PAGES_PER_HUGE ? 0 : (uint16_t)longest_free(huge);
    return was_clean;
}

void lr_huge_give(struct huge_page *huge, unsigned first, unsigned pages, bool clean) {
    for (unsigned w = first / 64; w <= (first + pages - 1) / 64; w++) {
        uint64_t mask = word_mask(w, first, first + pages);
        LR_ASSERT((huge->used[w] & mask) == mask);
        huge->used[w] &= ~mask;
        huge->clean[w] |= clean ? mask : 0;
    }
    huge->used_count = (uint16_t)(huge->used_count - pages);
    huge->clean_count = (uint16_t)(huge->clean_count + (clean ? pages : 0));
    // Only the run that these pages are now part of is longer than it was.
    unsigned length = next_bit(huge->used, first + pages, true) - run_start(huge->used, first);
    huge->longest = (uint16_t)lr_max(huge->longest, length);
}

void lr_huge_populate(struct huge_page *huge) {
    LR_ASSERT(huge->clean_count == LR_PAGES_PER_HUGE);
    memset(huge->clean, 0, sizeof huge->clean);
    huge->clean_count = 0;
}

bool lr_huge_range_free(const struct huge_page *huge, unsigned first, unsigned pages) {
    return next_bit(huge->used, first, true) >= first + pages;
}

unsigned lr_huge_next_dirty(const struct huge_page *huge, unsigned from, unsigned *first) {
    uint64_t busy[WORDS]; // used or clean: nothing to return there
    for (unsigned w = 0; w < WORDS; w++) {
        busy[w] = huge->used[w] | huge->clean[w];
    }
    unsigned start = from < LR_PAGES_PER_HUGE ? next_bit(busy, from, false) : LR_PAGES_PER_HUGE;
    if (start == LR_PAGES_PER_HUGE) {
        return 0;
    }
    *first = start;
    return next_bit(busy, start, true) - start;
}

size_t lr_huge_dirty_hole(const struct huge_page *huge, size_t most, unsigned *first) {
    unsigned unit = (unsigned)lr_max(lr_os_page_bytes() >> LR_PAGE_SHIFT, 1);
    unsigned from = 0;
    unsigned length;
    while ((length = lr_huge_next_dirty(huge, from, first)) != 0) {
        unsigned start = (unsigned)lr_align_up(*first, unit);
        unsigned end = (unsigned)lr_align_down(*first + length, unit);
        if (start < end) {
            *first = start;
            return lr_min(end - start, lr_align_up(most, unit));
        }
        from = *first + length;
    }
    return 0;
}
