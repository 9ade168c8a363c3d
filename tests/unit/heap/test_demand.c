// SPDX-License-Identifier: Apache-2.0
//
// How much free memory is worth keeping, on histories made up for it.
#include "heap/demand.h"

#include "../../support/support.h"

#define MS ((uint64_t)1000000)
#define DELAY (800 * MS)
#define LONGEST (8000 * MS)
enum { LITTLE = 512, TOLERATED = 16384 };
#define STEP (DELAY / LR_DEMAND_STEPS)

static struct demand demand;
static uint64_t now;

// A step later: `used` pages of at most `peak` are in use, and `taken` were taken, `clean` of them
// not resident.
static size_t step(size_t used, size_t peak, size_t taken, size_t clean) {
    now += STEP;
    const struct demand_sample sample = {.now_ns = now,
                                         .used_pages = used,
                                         .peak_pages = peak,
                                         .taken_pages = taken,
                                         .taken_clean = clean};
    return lr_demand_keep(&demand, &sample, DELAY);
}

static void begin(void) { now = 1000 * DELAY; }

START_TEST(test_demand__keeps_what_the_delay_s_peak_would_take) {
    begin();
    EXPECT_UINT(step(10000, 10000, 100, 0), ==, 0);
    EXPECT_UINT(step(4000, 9000, 100, 0), ==, 5000);
    // The longer ago, the less of it.
    for (int i = 1; i < LR_DEMAND_STEPS - 1; i++)
        EXPECT_UINT(step(4000, 4000, 100, 0), ==, 5000 * (LR_DEMAND_STEPS - i) / LR_DEMAND_STEPS);
    EXPECT_UINT(step(4000, 4000, 100, 0), ==, 5000 / LR_DEMAND_STEPS);
    EXPECT_UINT(step(4000, 4000, 100, 0), ==, LITTLE);
    EXPECT_UINT(step(15000, 4000, 100, 0), ==, 0); // the use may have risen since the peak was read
}
END_TEST

// A few pages are kept for long, as long as there is a load.
START_TEST(test_demand__little_is_kept_while_there_is_a_load) {
    begin();
    EXPECT_UINT(step(1000, 1000, 100, 0), ==, 0);
    for (uint64_t past = 0; past < LONGEST - 2 * STEP; past += STEP)
        EXPECT_UINT(step(700, 700, 100, 0), ==, 300);
    for (uint64_t past = 0; past < 3 * STEP; past += STEP)
        step(700, 700, 100, 0);
    EXPECT_UINT(step(700, 700, 100, 0), ==, 0);
    step(3000, 3000, 100, 0);
    for (uint64_t past = 0; past < 2 * DELAY; past += STEP)
        step(100, 100, 100, 0);
    EXPECT_UINT(step(100, 100, 100, 0), ==, LITTLE);
    for (uint64_t past = 0; past < 3 * DELAY; past += STEP)
        step(100, 100, 0, 0);
    EXPECT_UINT(step(100, 100, 0, 0), ==, 0); // no load
}
END_TEST

START_TEST(test_demand__samples_within_a_step_count_as_one) {
    begin();
    EXPECT_UINT(step(10, 100, 100, 0), ==, 90);
    EXPECT_UINT(step(10, 100, 100, 0), ==, 90);
    for (int i = 0; i < 100; i++) {
        const struct demand_sample sample = {.now_ns = now + STEP - 1, .used_pages = 10};
        EXPECT_UINT(lr_demand_keep(&demand, &sample, DELAY), ==, 90);
    }
}
END_TEST

// Memory that was returned and is wanted again at once: a swing longer than the delay.
START_TEST(test_demand__refaults_lengthen_the_watch) {
    begin();
    step(100000, 100000, 100000, 100000); // fresh memory is no refault
    for (int i = 0; i < 2 * LR_DEMAND_STEPS; i++)
        step(20000, 20000, 100, 0);
    EXPECT_UINT(step(20000, 20000, 100, 0), ==, 80000 - TOLERATED);
    lr_demand_note_released(&demand, 80000);
    for (int i = 0; i < 2 * LR_DEMAND_STEPS; i++) // remembered for longer than the delay
        step(20000, 20000, 100, 0);
    step(100000, 100000, 80000, 80000);
    for (uint64_t past = 0; past < LONGEST - 2 * STEP; past += STEP)
        EXPECT_UINT(step(20000, 20000, 100, 0), >=, 80000);
    for (uint64_t past = 0; past < 20 * LONGEST; past += STEP)
        step(20000, 20000, 100, 0);
    EXPECT_UINT(step(20000, 20000, 100, 0), <, 1000); // it was not wanted again
}
END_TEST

// More than could be taken again without being noticed.
START_TEST(test_demand__much_is_kept_while_there_is_a_load) {
    begin();
    EXPECT_UINT(step(100000, 100000, 100, 0), ==, 0);
    for (uint64_t past = 0; past < LR_DEMAND_STEPS * STEP; past += STEP)
        EXPECT_UINT(step(20000, 20000, 100, 0), >=, 80000 - TOLERATED);
    for (uint64_t past = LR_DEMAND_STEPS * STEP; past < LONGEST - 2 * STEP; past += STEP)
        EXPECT_UINT(step(20000, 20000, 100, 0), ==, 80000 - TOLERATED);
    for (uint64_t past = 0; past < 4 * STEP; past += STEP)
        step(20000, 20000, 100, 0);
    EXPECT_UINT(step(20000, 20000, 100, 0), ==, 0);
}
END_TEST

// Refaults that cost a few percent of a processor change nothing.
START_TEST(test_demand__some_refaults_are_tolerated) {
    begin();
    for (unsigned round = 0; round < 50; round++) {
        lr_demand_note_released(&demand, 4000);
        step(10000, 10000, 4000, 4000);
        for (int i = 0; i < 2 * LR_DEMAND_STEPS; i++)
            step(6000, 6000, 100, 0);
        EXPECT_UINT(step(6000, 6000, 100, 0), ==, LITTLE);
    }
}
END_TEST

// Free runs that are too short: the demand is no higher, and yet memory is touched anew.
START_TEST(test_demand__refaults_keep_what_is_split_up) {
    begin();
    for (int i = 0; i < LR_DEMAND_STEPS; i++)
        EXPECT_UINT(step(50000, 50000, 100, 0), ==, 0);
    lr_demand_note_released(&demand, 3 * TOLERATED);
    EXPECT_UINT(step(50000, 50000, 100, 2 * TOLERATED), ==, 2 * TOLERATED);
    // Only so many had been returned.
    EXPECT_UINT(step(50000, 50000, 100, 9 * TOLERATED), ==, 3 * TOLERATED);
}
END_TEST

// While what is free will be taken again no huge page is worth breaking up.
START_TEST(test_demand__knows_a_load_that_swings) {
    begin();
    for (int i = 0; i < 3 * LR_DEMAND_STEPS; i++)
        step(10000, 10000, 100, 0);
    EXPECT(!demand.swings);
    for (size_t used = 10000; used < 11000; used += 100) { // it rises
        step(used, used, 100, 0);
        EXPECT_INT(demand.swings, ==, used > 10000);
    }
    for (int i = 0; i < 2 * LR_DEMAND_STEPS; i++)
        step(8000, 8000, 100, 0);
    EXPECT(!demand.swings);
    step(100000, 100000, 100000, 100000);
    step(10000, 10000, 100, 0); // most of it is kept for long
    EXPECT(demand.swings);
    for (uint64_t past = 0; past < LONGEST + 2 * STEP; past += STEP)
        step(10000, 10000, 100, 0);
    EXPECT(!demand.swings);
    lr_demand_note_released(&demand, 3 * TOLERATED);
    step(10000, 10000, 100, 2 * TOLERATED); // it was wanted back
    for (int i = 0; i < 2 * LR_DEMAND_STEPS; i++)
        step(10000, 10000, 100, 0);
    EXPECT(demand.swings);
    for (uint64_t past = 0; past < 3 * DELAY; past += STEP)
        step(10000, 10000, 0, 0);
    EXPECT(!demand.swings); // no load
}
END_TEST

START_TEST(test_demand__when_the_load_ends_all_is_given_up) {
    begin();
    step(50000, 50000, 100, 0);
    lr_demand_note_released(&demand, 50000);
    EXPECT_UINT(step(50000, 50000, 50000, 50000), ==, 50000);
    EXPECT_UINT(step(100, 50000, 0, 0), >=, 50000);
    size_t keep = SIZE_MAX;
    for (int i = 0; i < 3 * LR_DEMAND_STEPS + 1; i++)
        keep = step(100, 100, 0, 0);
    EXPECT_UINT(keep, ==, 0);
}
END_TEST

START_TEST(test_demand__without_a_delay_only_the_last_samples_count) {
    begin();
    const struct demand_sample high = {.now_ns = now, .used_pages = 5, .peak_pages = 100};
    EXPECT_UINT(lr_demand_keep(&demand, &high, 0), ==, 95);
    for (int i = 0; i < LR_DEMAND_STEPS; i++) {
        const struct demand_sample low = {.now_ns = ++now, .used_pages = 5, .peak_pages = 5};
        lr_demand_keep(&demand, &low, 0);
    }
    const struct demand_sample low = {.now_ns = ++now, .used_pages = 5, .peak_pages = 5};
    EXPECT_UINT(lr_demand_keep(&demand, &low, 0), ==, 0);
    const struct demand_sample large = {
        .now_ns = ++now, .used_pages = 5, .peak_pages = 5, .large_peak = 100, .large_taken = 100};
    EXPECT_UINT(lr_demand_keep(&demand, &large, 0), ==, 0);
}
END_TEST

// `large` pages of large blocks, at most `peak`, are all that is in use; `taken` were taken.
static size_t step_large(uint64_t ms, size_t large, size_t peak, size_t taken) {
    now += ms * MS;
    const struct demand_sample sample = {.now_ns = now,
                                         .used_pages = large,
                                         .peak_pages = peak,
                                         .large_pages = large,
                                         .large_peak = peak,
                                         .large_taken = taken};
    return lr_demand_keep(&demand, &sample, 10 * MS);
}

// What large blocks took in the last second, but no more than would make twice their peak.
START_TEST(test_demand__keeps_what_large_blocks_would_take) {
    begin();
    step_large(1000, 9000, 10000, 50000);
    EXPECT_UINT(step_large(100, 4000, 4000, 0), ==, 2 * 10000 - 4000);
    EXPECT_UINT(step_large(390, 1000, 4000, 0), ==, 2 * 10000 - 1000);
    // The next half of the second, in which the last one counts too.
    EXPECT_UINT(step_large(20, 1000, 1000, 500), ==, 2 * 10000 - 1000);
    EXPECT_UINT(step_large(470, 1000, 1000, 0), ==, 2 * 10000 - 1000);
    EXPECT_UINT(step_large(40, 1000, 1000, 0), ==, 500);
    EXPECT_UINT(step_large(480, 1000, 1000, 100), ==, 600);
    EXPECT_UINT(step_large(20, 1000, 1000, 0), ==, 100);
    // What is only held is no reason to keep as much.
    EXPECT_UINT(step_large(500, 1000, 1000, 0), ==, 0);
    EXPECT_UINT(step_large(10, 30000, 30000, 29000), ==, 29000);
    EXPECT_UINT(step_large(5000, 0, 0, 0), ==, 0); // nobody looked for long
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("demand");
    test_add(suite, test_demand__keeps_what_the_delay_s_peak_would_take);
    test_add(suite, test_demand__samples_within_a_step_count_as_one);
    test_add(suite, test_demand__keeps_what_large_blocks_would_take);
    test_add(suite, test_demand__refaults_lengthen_the_watch);
    test_add(suite, test_demand__little_is_kept_while_there_is_a_load);
    test_add(suite, test_demand__much_is_kept_while_there_is_a_load);
    test_add(suite, test_demand__some_refaults_are_tolerated);
    test_add(suite, test_demand__refaults_keep_what_is_split_up);
    test_add(suite, test_demand__knows_a_load_that_swings);
    test_add(suite, test_demand__when_the_load_ends_all_is_given_up);
    test_add(suite, test_demand__without_a_delay_only_the_last_samples_count);
    return suite;
}
