// SPDX-License-Identifier: Apache-2.0
//
// A huge page's bitmaps against one bool a page.
#include "heap/huge_page.h"

#include <signal.h>

#include "../../support/child.h"
#include "../../support/support.h"

enum { PAGES = LR_PAGES_PER_HUGE, STEPS = 20000 };

struct slow_page {
    bool used[PAGES];
    bool clean[PAGES];
};

// Both, starting as a fresh huge page does: all free, and clean if `clean`.
struct pair {
    struct huge_page fast;
    struct slow_page slow;
};

static void make_pair(struct pair *pair, bool clean) {
    *pair = (struct pair){.fast = {.longest = PAGES}};
    for (unsigned i = 0; i < PAGES; i++)
        pair->slow.clean[i] = clean;
    if (clean) {
        for (unsigned w = 0; w < 4; w++)
            pair->fast.clean[w] = UINT64_MAX;
        pair->fast.clean_count = PAGES;
    }
}

static bool slow_range_free(const struct slow_page *slow, unsigned first, unsigned pages) {
    for (unsigned i = first; i < first + pages; i++)
        if (slow->used[i])
            return false;
    return true;
}

static unsigned slow_find(const struct slow_page *slow, unsigned pages, unsigned align) {
    for (unsigned first = 0; first + pages <= PAGES; first += align)
        if (slow_range_free(slow, first, pages))
            return first;
    return PAGES;
}

static bool slow_dirty(const struct slow_page *slow, unsigned i) {
    return !slow->used[i] && !slow->clean[i];
}

static unsigned slow_next_dirty(const struct slow_page *slow, unsigned from, unsigned *first) {
    unsigned length = 0;
    while (from < PAGES && !slow_dirty(slow, from))
        from++;
    *first = from;
    while (from + length < PAGES && slow_dirty(slow, from + length))
        length++;
    return length;
}

static void expect_equal(const struct pair *pair) {
    unsigned used = 0, clean = 0, run = 0, longest = 0;
    for (unsigned i = 0; i < PAGES; i++) {
        const uint64_t bit = (uint64_t)1 << (i % 64);
        EXPECT_INT((pair->fast.used[i / 64] & bit) != 0, ==, pair->slow.used[i]);
        EXPECT_INT((pair->fast.clean[i / 64] & bit) != 0, ==, pair->slow.clean[i]);
        used += pair->slow.used[i];
        clean += pair->slow.clean[i];
        run = pair->slow.used[i] ? 0 : run + 1;
        longest = run > longest ? run : longest;
    }
    EXPECT_UINT(pair->fast.used_count, ==, used);
    EXPECT_UINT(pair->fast.clean_count, ==, clean);
    EXPECT_UINT(pair->fast.longest, ==, longest);
}

static void take(struct pair *pair, unsigned first, unsigned pages) {
    unsigned were_clean = 0;
    for (unsigned i = first; i < first + pages; i++) {
        were_clean += pair->slow.clean[i];
        pair->slow.used[i] = true;
        pair->slow.clean[i] = false;
    }
    EXPECT_UINT(lr_huge_take(&pair->fast, first, pages), ==, were_clean);
}

static void give(struct pair *pair, unsigned first, unsigned pages, bool clean) {
    for (unsigned i = first; i < first + pages; i++) {
        pair->slow.used[i] = false;
        pair->slow.clean[i] = clean;
    }
    lr_huge_give(&pair->fast, first, pages, clean);
}

static void expect_same_answers(const struct pair *pair, struct test_rng *rng) {
    const unsigned pages = 1 + (unsigned)test_rng_size(rng, PAGES - 1);
    const unsigned align = 1u << test_rng_below(rng, 9);
    EXPECT_UINT(lr_huge_find(&pair->fast, pages, align), ==, slow_find(&pair->slow, pages, align));
    const unsigned first = (unsigned)test_rng_below(rng, PAGES - pages + 1);
    EXPECT_INT(lr_huge_range_free(&pair->fast, first, pages), ==,
               slow_range_free(&pair->slow, first, pages));
    const unsigned from = (unsigned)test_rng_below(rng, PAGES + 1);
    unsigned expected_at, at = PAGES;
    const unsigned length = slow_next_dirty(&pair->slow, from, &expected_at);
    EXPECT_UINT(lr_huge_next_dirty(&pair->fast, from, &at), ==, length);
    if (length != 0)
        EXPECT_UINT(at, ==, expected_at);
}

// The part of [first, first+pages) that has the same use as its first page.
static unsigned same_use(const struct slow_page *slow, unsigned first, unsigned pages) {
    unsigned length = 1;
    while (length < pages && slow->used[first + length] == slow->used[first])
        length++;
    return length;
}

START_TEST(test_huge_page__random_steps_agree_with_a_slow_one) {
    static struct pair pair;
    struct test_rng rng = {test_seed()};
    make_pair(&pair, false);
    for (unsigned step = 0; step < STEPS; step++) {
        if (step % 500 == 0)
            make_pair(&pair, step % 1000 == 0);
        unsigned pages = 1 + (unsigned)test_rng_size(&rng, PAGES - 1);
        const unsigned first = (unsigned)test_rng_below(&rng, PAGES - pages + 1);
        pages = same_use(&pair.slow, first, pages);
        if (pair.slow.used[first])
            give(&pair, first, pages, test_rng_below(&rng, 3) == 0);
        else
            take(&pair, first, pages);
        expect_equal(&pair);
        expect_same_answers(&pair, &rng);
    }
}
END_TEST

START_TEST(test_huge_page__every_range_is_taken_and_given_exactly) {
    static struct pair pair;
    for (unsigned first = 0; first < PAGES; first++) {
        for (unsigned last = first; last < PAGES; last += 1 + last % 13) {
            make_pair(&pair, true);
            take(&pair, first, last + 1 - first);
            expect_equal(&pair);
            give(&pair, first, last + 1 - first, first % 2 == 0);
            expect_equal(&pair);
        }
    }
}
END_TEST

START_TEST(test_huge_page__the_lowest_run_that_fits_is_found) {
    static struct pair pair;
    make_pair(&pair, false);
    take(&pair, 0, PAGES);
    EXPECT_UINT(lr_huge_find(&pair.fast, 1, 1), ==, PAGES);
    give(&pair, 5, 3, false);
    give(&pair, 64, 4, false); // at the border of two words
    give(&pair, 126, 10, false);
    EXPECT_UINT(lr_huge_find(&pair.fast, 1, 1), ==, 5);
    EXPECT_UINT(lr_huge_find(&pair.fast, 4, 1), ==, 64);
    EXPECT_UINT(lr_huge_find(&pair.fast, 5, 1), ==, 126);
    EXPECT_UINT(lr_huge_find(&pair.fast, 11, 1), ==, PAGES);
    EXPECT_UINT(lr_huge_find(&pair.fast, 1, 8), ==, 64);
    EXPECT_UINT(lr_huge_find(&pair.fast, 8, 2), ==, 126);
    EXPECT_UINT(lr_huge_find(&pair.fast, 8, 8), ==, 128);
    EXPECT_UINT(lr_huge_find(&pair.fast, 9, 8), ==, PAGES);
    EXPECT_UINT(lr_huge_find(&pair.fast, 2, 128), ==, 128);
    EXPECT_UINT(lr_huge_find(&pair.fast, 1, 256), ==, PAGES);
}
END_TEST

START_TEST(test_huge_page__the_longest_run_is_elsewhere_once_the_longest_is_split) {
    static struct pair pair;
    for (unsigned other = 1; other <= 12; other++) {
        for (unsigned before = 0; before < 12; before++) {
            make_pair(&pair, false);
            take(&pair, 0, PAGES);
            give(&pair, 10, other, false);
            give(&pair, 100, 12, false);
            take(&pair, 100 + before, 1); // two runs are left of the twelve pages
            expect_equal(&pair);
        }
    }
}
END_TEST

static void take_twice(void *arg) {
    struct huge_page *const huge = arg;
    lr_huge_take(huge, 10, 2);
    lr_huge_take(huge, 11, 2);
}

static void give_free(void *arg) { lr_huge_give(arg, 10, 1, false); }

START_TEST(test_huge_page__checked_builds_see_wrong_ranges) {
    if (!LARDER_CHECKED) {
        TEST_SKIP("assertions are not compiled into this build");
    }
    struct huge_page huge = {.longest = PAGES};
    struct test_child child;
    test_child_run(&child, 20, take_twice, &huge);
    EXPECT_CHILD_SIGNAL(&child, SIGABRT);
    test_child_run(&child, 20, give_free, &huge);
    EXPECT_CHILD_SIGNAL(&child, SIGABRT);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("huge_page");
    test_add(suite, test_huge_page__random_steps_agree_with_a_slow_one);
    test_add(suite, test_huge_page__every_range_is_taken_and_given_exactly);
    test_add(suite, test_huge_page__the_lowest_run_that_fits_is_found);
    test_add(suite, test_huge_page__the_longest_run_is_elsewhere_once_the_longest_is_split);
    test_add(suite, test_huge_page__checked_builds_see_wrong_ranges);
    return suite;
}
