// SPDX-License-Identifier: Apache-2.0
//
// Runs of whole huge pages in a window of the test's own, against one kind for each huge page.
#include "heap/runs.h"

#include <sys/mman.h>

#include "../../support/support.h"
#include "heap/window.h"

// Huge page 0 and the one behind the last are never in a run, as in a real window.
enum { FIRST = 1, LAST = 700, HUGE_PAGES = LAST + 2 };
enum kind { TAKEN = RUN_KINDS }; // besides RUN_DIRTY and RUN_CLEAN

static struct huge_page pages[HUGE_PAGES];
static uint8_t kinds[HUGE_PAGES]; // the reference

static void make_window(void) {
    lr_window.huge_pages = pages;
    for (unsigned i = 0; i < HUGE_PAGES; i++)
        kinds[i] = TAKEN;
}

static void add(uint32_t first, uint32_t count, enum run_kind kind) {
    for (uint32_t i = first; i < first + count; i++) {
        EXPECT_UINT(kinds[i], ==, TAKEN);
        kinds[i] = (uint8_t)kind;
    }
    lr_runs_add(first, count, kind);
}

// The whole range was of the kind, and now is nobody's.
static void note_taken(uint32_t first, uint32_t count, unsigned kind) {
    EXPECT_UINT(first, >=, FIRST);
    EXPECT_UINT(first + count - 1, <=, LAST);
    for (uint32_t i = first; i < first + count; i++) {
        EXPECT(kind == TAKEN ? kinds[i] != TAKEN : kinds[i] == kind);
        EXPECT_INT(pages[i].state, !=, HUGE_FREE);
        kinds[i] = TAKEN;
    }
}

static uint32_t run_length(uint32_t first) {
    uint32_t length = 1;
    while (kinds[first + length] == kinds[first])
        length++;
    return length;
}

// Every run of the reference is known at both ends with its kind and length: neighbours of one kind
// have been joined, and what is not in a run is not marked free.
static void expect_same_runs(void) {
    for (uint32_t first = FIRST; first <= LAST;) {
        if (kinds[first] == TAKEN) {
            EXPECT_INT(pages[first].state, !=, HUGE_FREE);
            first++;
            continue;
        }
        const uint32_t length = run_length(first);
        for (uint32_t i = first; i < first + length; i++)
            EXPECT_INT(pages[i].state, ==, HUGE_FREE);
        EXPECT_UINT(pages[first].run, ==, length);
        EXPECT_UINT(pages[first + length - 1].run, ==, length);
        EXPECT_UINT(pages[first].tag, ==, kinds[first]);
        EXPECT_UINT(pages[first + length - 1].tag, ==, kinds[first]);
        first += length;
    }
}

static uint32_t longest_run(enum run_kind kind) {
    uint32_t longest = 0;
    for (uint32_t first = FIRST; first <= LAST; first++) {
        if (kinds[first] == kind && kinds[first - 1] != kind) {
            const uint32_t length = run_length(first);
            longest = length > longest ? length : longest;
        }
    }
    return longest;
}

// Up to here each length has a list of its own; above, eight lists share a doubling.
enum { EXACT = 64 };

// Rounds a length down to the shortest one of its list.
static uint32_t list_floor(uint32_t length) {
    if (length <= EXACT)
        return length;
    uint32_t step = 1;
    while (length / step >= 16)
        step *= 2;
    return length / step * step;
}

START_TEST(test_runs__neighbours_of_one_kind_join) {
    make_window();
    add(10, 1, RUN_DIRTY);
    add(12, 1, RUN_DIRTY);
    expect_same_runs();
    add(11, 1, RUN_DIRTY); // both sides
    EXPECT_UINT(pages[10].run, ==, 3);
    expect_same_runs();
    add(13, 2, RUN_CLEAN); // another kind stays apart
    EXPECT_UINT(pages[10].run, ==, 3);
    EXPECT_UINT(pages[13].run, ==, 2);
    add(9, 1, RUN_DIRTY);
    EXPECT_UINT(pages[9].run, ==, 4);
    add(15, 5, RUN_CLEAN);
    EXPECT_UINT(pages[13].run, ==, 7);
    expect_same_runs();
}
END_TEST

START_TEST(test_runs__the_shortest_that_fits_is_split_from_its_start) {
    make_window();
    add(10, 20, RUN_DIRTY);
    add(40, 5, RUN_DIRTY);
    add(50, 9, RUN_DIRTY);
    EXPECT_UINT(lr_runs_take(5, 1, RUN_CLEAN), ==, 0);
    EXPECT_UINT(lr_runs_take(21, 1, RUN_DIRTY), ==, 0);
    EXPECT_UINT(lr_runs_take(5, 1, RUN_DIRTY), ==, 40);
    note_taken(40, 5, RUN_DIRTY);
    expect_same_runs();
    EXPECT_UINT(lr_runs_take(5, 1, RUN_DIRTY), ==, 50);
    note_taken(50, 5, RUN_DIRTY);
    expect_same_runs();
    EXPECT_UINT(lr_runs_take(10, 1, RUN_DIRTY), ==, 10);
    note_taken(10, 10, RUN_DIRTY);
    expect_same_runs();
}
END_TEST

START_TEST(test_runs__alignment_leaves_both_ends) {
    make_window();
    add(33, 60, RUN_CLEAN);
    const uint32_t first = lr_runs_take(8, 32, RUN_CLEAN);
    EXPECT_UINT(first, ==, 64);
    note_taken(first, 8, RUN_CLEAN);
    EXPECT_UINT(pages[33].run, ==, 31);
    EXPECT_UINT(pages[72].run, ==, 21);
    expect_same_runs();
    EXPECT_UINT(lr_runs_take(1, 64, RUN_CLEAN), ==, 0);
}
END_TEST

// As it is where a program frees an aligned block and takes the next one.
START_TEST(test_runs__what_an_aligned_block_leaves_suffices) {
    make_window();
    add(17, 8, RUN_DIRTY);
    add(32, 8, RUN_DIRTY);
    add(41, 9, RUN_DIRTY);
    EXPECT_UINT(lr_runs_take(8, 8, RUN_DIRTY), ==, 32);
    note_taken(32, 8, RUN_DIRTY);
    expect_same_runs();
    EXPECT_UINT(lr_runs_take(8, 8, RUN_DIRTY), ==, 0);
}
END_TEST

START_TEST(test_runs__take_first) {
    make_window();
    add(20, 3, RUN_CLEAN);
    for (uint32_t i = 20; i < 23; i++) {
        lr_runs_take_first(i);
        note_taken(i, 1, RUN_CLEAN);
        expect_same_runs();
    }
    EXPECT_UINT(lr_runs_longest(RUN_CLEAN), ==, 0);
}
END_TEST

START_TEST(test_runs__take_tail) {
    make_window();
    uint32_t count;
    add(20, 10, RUN_DIRTY);
    EXPECT_UINT(lr_runs_take_tail(20, 4, &count), ==, 26);
    EXPECT_UINT(count, ==, 4);
    note_taken(26, 4, RUN_DIRTY);
    expect_same_runs();
    EXPECT_UINT(lr_runs_take_tail(20, 100, &count), ==, 20);
    EXPECT_UINT(count, ==, 6);
    note_taken(20, 6, RUN_DIRTY);
    expect_same_runs();
}
END_TEST

START_TEST(test_runs__dirty_and_clean_neighbours_serve_one_request) {
    make_window();
    EXPECT_UINT(lr_runs_take_joined(1), ==, 0);
    add(10, 3, RUN_CLEAN);
    EXPECT_UINT(lr_runs_take_joined(1), ==, 0); // there is no dirty run
    add(13, 4, RUN_DIRTY);
    add(17, 2, RUN_CLEAN);
    EXPECT_UINT(lr_runs_take_joined(10), ==, 0);
    EXPECT_UINT(lr_runs_take_joined(8), ==, 11); // what follows first, then what comes before
    note_taken(11, 8, TAKEN);
    expect_same_runs();
    EXPECT_UINT(pages[10].run, ==, 1);

    add(13, 4, RUN_DIRTY);
    add(17, 2, RUN_CLEAN);
    EXPECT_UINT(lr_runs_take_joined(5), ==, 13);
    note_taken(13, 5, TAKEN);
    expect_same_runs();
    add(13, 4, RUN_DIRTY);
    EXPECT_UINT(lr_runs_take_joined(3), ==, 13); // the dirty ones suffice
    note_taken(13, 3, RUN_DIRTY);
    expect_same_runs();
}
END_TEST

START_TEST(test_runs__longest) {
    make_window();
    EXPECT_UINT(lr_runs_longest(RUN_DIRTY), ==, 0);
    add(10, 3, RUN_DIRTY);
    add(100, 300, RUN_CLEAN);
    EXPECT_UINT(lr_runs_longest(RUN_DIRTY), ==, 10);
    add(50, 10, RUN_DIRTY);
    EXPECT_UINT(lr_runs_longest(RUN_DIRTY), ==, 50);
    EXPECT_UINT(lr_runs_longest(RUN_CLEAN), ==, 100);
}
END_TEST

// Above 2^18 huge pages all lengths share the last list, which is searched to its end.
START_TEST(test_runs__the_last_list_has_no_bound) {
    enum { BASE = 1 << 18, GAP = 1 };
    const uint32_t lengths[] = {BASE + 500, BASE + 5, BASE + 7};
    uint32_t first = 1;
    lr_window.huge_pages = mmap(NULL, 4ul * BASE * sizeof *pages, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(lr_window.huge_pages != MAP_FAILED);
    for (unsigned i = 0; i < 3; i++) {
        lr_runs_add(first, lengths[i], RUN_CLEAN);
        first += lengths[i] + GAP;
    }
    EXPECT_UINT(lr_runs_take(BASE + 501, 1, RUN_CLEAN), ==, 0);
    EXPECT_UINT(lr_runs_take(BASE + 500, 1, RUN_CLEAN), ==, 1);
    EXPECT_UINT(lr_runs_take(BASE + 6, 1, RUN_CLEAN), ==, first - GAP - lengths[2]);
    EXPECT_UINT(lr_runs_take(BASE + 6, 1, RUN_CLEAN), ==, 0);
    EXPECT_UINT(lr_runs_take(BASE + 4, 1, RUN_CLEAN), ==, 1 + lengths[0] + GAP);
}
END_TEST

// A free stretch of the reference to be added, or 0.
static uint32_t pick_taken(struct test_rng *rng, uint32_t *first) {
    *first = FIRST + (uint32_t)test_rng_below(rng, LAST - FIRST + 1);
    uint32_t most = 1 + (uint32_t)test_rng_size(rng, 299), count = 0;
    while (count < most && *first + count <= LAST && kinds[*first + count] == TAKEN)
        count++;
    return count;
}

static void take_some(struct test_rng *rng, enum run_kind kind) {
    const uint32_t count = 1 + (uint32_t)test_rng_size(rng, 99);
    const uint32_t align = 1u << (test_rng_below(rng, 3) == 0 ? test_rng_below(rng, 7) : 0);
    const uint32_t longest = longest_run(kind);
    const uint32_t first = lr_runs_take(count, align, kind);
    if (first != 0) {
        EXPECT_UINT(first % align, ==, 0);
        // The whole run is at least as long as asked for with the slack of the alignment.
        note_taken(first, count, kind);
    } else {
        // Runs of one list are not told apart: only a run of a higher list is certain to be found.
        EXPECT_UINT(list_floor(longest), <=, count + align - 1);
        EXPECT(longest <= EXACT ? longest < count + align - 1 : true);
    }
}

static void take_from_longest(struct test_rng *rng, enum run_kind kind) {
    const uint32_t longest = longest_run(kind);
    const uint32_t first = lr_runs_longest(kind);
    EXPECT_INT(first == 0, ==, longest == 0);
    if (first == 0)
        return;
    EXPECT_UINT(run_length(first), >=, list_floor(longest));
    EXPECT(kinds[first - 1] != kind);
    if (test_rng_below(rng, 2) == 0) {
        lr_runs_take_first(first);
        note_taken(first, 1, kind);
    } else {
        const uint32_t length = run_length(first), most = 1 + (uint32_t)test_rng_size(rng, 99);
        uint32_t count = 0;
        const uint32_t from = lr_runs_take_tail(first, most, &count);
        EXPECT_UINT(count, ==, most < length ? most : length);
        EXPECT_UINT(from + count, ==, first + length);
        note_taken(from, count, kind);
    }
}

static void take_joined(struct test_rng *rng) {
    const uint32_t first = lr_runs_longest(RUN_DIRTY);
    const uint32_t count = 1 + (uint32_t)test_rng_size(rng, 199);
    uint32_t from = first, end = first;
    for (; first != 0 && kinds[from - 1] != TAKEN &&
           (kinds[from - 1] == kinds[from] || from == first);
         from--)
        continue;
    if (first != 0) {
        end = first + run_length(first);
        end += kinds[end] == TAKEN ? 0 : run_length(end);
    }
    const uint32_t taken = lr_runs_take_joined(count);
    EXPECT_INT(taken != 0, ==, first != 0 && end - from >= count);
    if (taken != 0) {
        EXPECT_UINT(taken, >=, from);
        EXPECT_UINT(taken + count, <=, end);
        note_taken(taken, count, TAKEN);
    }
}

START_TEST(test_runs__random_steps_agree_with_an_array) {
    struct test_rng rng = {test_seed()};
    make_window();
    for (unsigned step = 0; step < 30000; step++) {
        const enum run_kind kind = test_rng_below(&rng, 2) == 0 ? RUN_DIRTY : RUN_CLEAN;
        switch (test_rng_below(&rng, 5)) {
        case 0:
            take_from_longest(&rng, kind);
            break;
        case 1:
            take_joined(&rng);
            break;
        case 2:
            take_some(&rng, kind);
            break;
        default: {
            uint32_t first;
            const uint32_t count = pick_taken(&rng, &first);
            if (count > 0)
                add(first, count, kind);
            break;
        }
        }
        expect_same_runs();
    }
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("runs");
    test_add(suite, test_runs__neighbours_of_one_kind_join);
    test_add(suite, test_runs__the_shortest_that_fits_is_split_from_its_start);
    test_add(suite, test_runs__alignment_leaves_both_ends);
    test_add(suite, test_runs__what_an_aligned_block_leaves_suffices);
    test_add(suite, test_runs__take_first);
    test_add(suite, test_runs__take_tail);
    test_add(suite, test_runs__dirty_and_clean_neighbours_serve_one_request);
    test_add(suite, test_runs__longest);
    test_add(suite, test_runs__the_last_list_has_no_bound);
    test_add(suite, test_runs__random_steps_agree_with_an_array);
    return suite;
}
