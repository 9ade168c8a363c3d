// SPDX-License-Identifier: Apache-2.0
//
// The bitmaps of a huge page against two arrays of flags.
#include "fuzz.h"

#include <string.h>

#include "heap/huge_page.h"

enum { PAGES = LR_PAGES_PER_HUGE };

static struct huge_page huge;
static bool used[PAGES], clean[PAGES];

static unsigned longest_free(void) {
    unsigned longest = 0, run = 0;
    for (unsigned i = 0; i < PAGES; i++) {
        run = used[i] ? 0 : run + 1;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static unsigned count(const bool *flags, unsigned first, unsigned pages) {
    unsigned sum = 0;
    for (unsigned i = first; i < first + pages; i++)
        sum += flags[i];
    return sum;
}

static void expect_same(void) {
    for (unsigned i = 0; i < PAGES; i++) {
        MUST((huge.used[i / 64] >> (i % 64) & 1) == used[i]);
        MUST((huge.clean[i / 64] >> (i % 64) & 1) == clean[i]);
    }
    MUST(huge.used_count == count(used, 0, PAGES));
    MUST(huge.clean_count == count(clean, 0, PAGES));
    MUST(huge.longest == longest_free());
}

static unsigned find(unsigned pages, unsigned align) {
    for (unsigned first = 0; first + pages <= PAGES; first += align)
        if (count(used, first, pages) == 0)
            return first;
    return PAGES;
}

static void take(struct fuzz_input *in) {
    const unsigned pages = 1 + (unsigned)fuzz_below(in, fuzz_below(in, 4) == 0 ? PAGES : 16);
    const unsigned align = 1U << fuzz_below(in, 9);
    const unsigned first = lr_huge_find(&huge, pages, align);
    MUST(first == find(pages, align));
    if (first == PAGES)
        return;
    MUST(lr_huge_range_free(&huge, first, pages));
    MUST(lr_huge_take(&huge, first, pages) == count(clean, first, pages));
    memset(used + first, true, pages);
    memset(clean + first, false, pages);
}

// A run of used pages from a random one on.
static void give(struct fuzz_input *in) {
    const unsigned first = (unsigned)fuzz_below(in, PAGES);
    const unsigned most = 1 + (unsigned)fuzz_below(in, PAGES - first);
    const bool as_clean = fuzz_below(in, 2) == 0;
    unsigned pages = 0;
    while (pages < most && used[first + pages])
        pages++;
    if (pages == 0)
        return;
    lr_huge_give(&huge, first, pages, as_clean);
    memset(used + first, false, pages);
    memset(clean + first, as_clean, pages);
}

static void look(struct fuzz_input *in) {
    unsigned first = PAGES, at = (unsigned)fuzz_below(in, PAGES);
    const unsigned length = lr_huge_next_dirty(&huge, at, &first);
    while (at < PAGES && (used[at] || clean[at]))
        at++;
    unsigned end = at;
    while (end < PAGES && !used[end] && !clean[end])
        end++;
    MUST(length == end - at);
    MUST(length == 0 || first == at);
    const unsigned pages = 1 + (unsigned)fuzz_below(in, PAGES),
                   from = (unsigned)fuzz_below(in, 256);
    if (from + pages <= PAGES)
        MUST(lr_huge_range_free(&huge, from, pages) == (count(used, from, pages) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {data, size};
    memset(&huge, 0, sizeof huge);
    memset(used, true, sizeof used);
    memset(clean, false, sizeof clean);
    lr_huge_take(&huge, 0, PAGES);
    while (in.left > 0) {
        const unsigned choice = (unsigned)fuzz_below(&in, 8);
        if (choice < 3)
            take(&in);
        else if (choice < 7)
            give(&in);
        else
            look(&in);
        expect_same();
    }
    return 0;
}
