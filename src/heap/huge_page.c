// SPDX-License-Identifier: Apache-2.0
#include "heap/huge_page.h"

#include <string.h>

#include "base/attr.h"
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
static LR_ALWAYS_INLINE unsigned next_bit(const uint64_t map[WORDS], unsigned from, bool value) {
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
static LR_ALWAYS_INLINE unsigned run_start(const uint64_t used[WORDS], unsigned end) {
    for (unsigned w = (end + 63) / 64; w-- > 0;) {
        uint64_t word = used[w] & word_mask(w, 0, end);
        if (word != 0) {
            return w * 64 + 64 - (unsigned)__builtin_clzl(word);
        }
    }
    return 0;
}

// Where long runs are there are few of them; where all are short there may be a hundred, which are
// then looked at together.
enum { SHORT_RUN = 8 };

// In a map of where runs of at least `length` pages begin leaves those of at least length + step;
// 0 < step <= length. False if there are none.
static bool narrow(uint64_t starts[WORDS], unsigned step) {
    uint64_t any = 0;
    unsigned words = step / 64;
    unsigned bits = step % 64;
    for (unsigned w = 0; w < WORDS; w++) { // each word from itself and higher ones, not yet changed
        uint64_t low = w + words < WORDS ? starts[w + words] : 0;
        uint64_t high = w + words + 1 < WORDS ? starts[w + words + 1] : 0;
        starts[w] &= bits == 0 ? low : low >> bits | high << (64 - bits);
        any |= starts[w];
    }
    return any != 0;
}

static void free_pages(const struct huge_page *huge, uint64_t map[WORDS]) {
    for (unsigned w = 0; w < WORDS; w++) {
        map[w] = ~huge->used[w];
    }
}

// Bits of word `w` at multiples of `align`, a power of two.
static uint64_t aligned_bits(unsigned w, unsigned align) {
    if (align >= 64) {
        return w * 64 % align == 0 ? 1 : 0;
    }
    return ~(uint64_t)0 / (((uint64_t)1 << align) - 1);
}

unsigned lr_huge_find(const struct huge_page *huge, unsigned pages, unsigned align) {
    unsigned at = 0;
    do {
        unsigned start = (unsigned)lr_align_up(next_bit(huge->used, at, false), align);
        if (start + pages > LR_PAGES_PER_HUGE) {
            return LR_PAGES_PER_HUGE;
        }
        unsigned end = next_bit(huge->used, start, true);
        if (end - start >= pages) {
            return start;
        }
        at = end + (end == start); // an aligned start may itself be used
    } while (pages > SHORT_RUN);
    uint64_t starts[WORDS];
    free_pages(huge, starts);
    for (unsigned length = 1; length < pages;) {
        unsigned step = (unsigned)lr_min(length, pages - length);
        if (!narrow(starts, step)) {
            return LR_PAGES_PER_HUGE;
        }
        length += step;
    }
    for (unsigned w = 0; w < WORDS; w++) {
        uint64_t word = starts[w] & aligned_bits(w, align);
        if (word != 0) {
            return w * 64 + (unsigned)__builtin_ctzl(word);
        }
    }
    return LR_PAGES_PER_HUGE;
}

static unsigned longest_of_runs(const struct huge_page *huge) {
    unsigned longest = 0;
    for (unsigned start = next_bit(huge->used, 0, false); start + longest < LR_PAGES_PER_HUGE;) {
        unsigned end = next_bit(huge->used, start, true);
        longest = (unsigned)lr_max(longest, end - start);
        start = next_bit(huge->used, end, false);
    }
    return longest;
}

// Of a huge page that has a free page.
static unsigned longest_free(const struct huge_page *huge) {
    uint64_t starts[WORDS];
    uint64_t longer[WORDS];
    free_pages(huge, starts);
    unsigned length = 1;
    unsigned step = 1;
    // Doubles the length while there are such runs, then halves what is added.
    for (bool up = true; step > 0;) {
        memcpy(longer, starts, sizeof longer);
        bool found = narrow(longer, step);
        if (found) {
            memcpy(starts, longer, sizeof starts);
            length += step;
        }
        up = up && found;
        step = up ? length : step / 2;
    }
    return length;
}

// The longest free run after [first, first+pages) was taken out of the free run [start, end).
static unsigned longest_after(const struct huge_page *huge, unsigned first, unsigned pages,
                              unsigned start, unsigned end) {
    if (end - start < huge->longest) {
        return huge->longest;
    }
    unsigned before = first - start;
    unsigned behind = end - (first + pages);
    unsigned rest = (unsigned)lr_max(before, behind);
    unsigned elsewhere = LR_PAGES_PER_HUGE - huge->used_count - before - behind;
    if (elsewhere <= rest) {
        return rest;
    }
    return huge->longest <= SHORT_RUN ? longest_free(huge) : longest_of_runs(huge);
}

unsigned lr_huge_take(struct huge_page *huge, unsigned first, unsigned pages) {
    unsigned start = run_start(huge->used, first);
    unsigned end = next_bit(huge->used, first, true);
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
    huge->longest = (uint16_t)longest_after(huge, first, pages, start, end);
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
