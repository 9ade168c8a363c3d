// SPDX-License-Identifier: Apache-2.0
//
// Transfer caches: what they keep, in which order they give it out, and when they let it go.
#include "cache/transfer.h"

#include "../../support/crew.h"
#include "cache_test.h"

enum { MOST = 8192 };

static void *objects[MOST];

static void get_all(unsigned size_class, unsigned count) {
    for (unsigned taken = 0; taken < count;) {
        const unsigned part = lr_transfer_get(size_class, objects + taken, count - taken);
        EXPECT_UINT(part, >, 0);
        taken += part;
    }
}

static size_t held(unsigned size_class) { return lr_transfer_objects(size_class); }

START_TEST(test_transfer__last_in_first_out) {
    start_tiers(LR_GIB);
    const unsigned c = lr_class_of(64);
    void *out[10];
    get_all(c, 100);
    EXPECT_UINT(held(c), ==, 0);
    lr_transfer_put(c, objects, 60);
    lr_transfer_put(c, objects + 60, 40);
    EXPECT_UINT(held(c), ==, 100);
    for (unsigned left = 100; left > 0; left -= 10) {
        EXPECT_UINT(lr_transfer_get(c, out, 10), ==, 10);
        EXPECT_UINT(held(c), ==, left - 10);
        for (unsigned i = 0; i < 10; i++)
            EXPECT_PTR(out[i], ==, objects[left - 10 + i]);
    }
}
END_TEST

// What is there is given first; only an empty cache asks the central list.
START_TEST(test_transfer__gives_what_it_has) {
    start_tiers(LR_GIB);
    const unsigned c = lr_class_of(64);
    void *out[50];
    get_all(c, 20);
    const size_t central = central_free_objects(c);
    lr_transfer_put(c, objects, 20);
    EXPECT_UINT(central_free_objects(c), ==, central);
    EXPECT_UINT(lr_transfer_get(c, out, 50), ==, 20);
    EXPECT_UINT(central_free_objects(c), ==, central);
    EXPECT_UINT(lr_transfer_get(c, out, 50), ==, 50);
    EXPECT_UINT(central_free_objects(c), ==, central - 50);
}
END_TEST

START_TEST(test_transfer__classes_are_apart) {
    start_tiers(LR_GIB);
    const unsigned a = lr_class_of(64), b = lr_class_of(80);
    void *object;
    get_all(a, 5);
    lr_transfer_put(a, objects, 5);
    EXPECT_UINT(lr_transfer_get(b, &object, 1), ==, 1);
    EXPECT_UINT(lr_load_relaxed(lr_class_map(lr_page_of(object))), ==, lr_bin_offset(b));
    EXPECT_UINT(held(a), ==, 5);
    EXPECT(lr_transfer_lock(a) != lr_transfer_lock(b));
}
END_TEST

START_TEST(test_transfer__a_class_holds_so_much) {
    start_tiers(4 * LR_GIB);
    for (unsigned c = 1; c < LR_CLASS_COUNT; c += 5) {
        const size_t bytes = lr_classes[c].bytes;
        const unsigned count = (unsigned)lr_min(MOST, 64 * LR_MIB / bytes);
        get_all(c, count);
        for (unsigned i = 0; i < count; i += 32)
            lr_transfer_put(c, objects + i, (unsigned)lr_min(32, count - i));
        // Of larger blocks no class holds more than a small part of the heap.
        const size_t part = bytes <= 4 * LR_KIB ? SIZE_MAX : lr_pool_bytes() / 128 / bytes;
        EXPECT_UINT(held(c), >=, lr_min(part, lr_min(8, count)));
        EXPECT_UINT(held(c), <=, part);
        EXPECT_UINT(held(c) * bytes, <=, lr_max(256 * LR_KIB, 8 * bytes));
        lr_transfer_flush_all();
        EXPECT_UINT(held(c), ==, 0);
    }
    expect_all_returned();
}
END_TEST

static size_t bytes_in_all(void) {
    size_t bytes = 0;
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++)
        bytes += held(c) * lr_classes[c].bytes;
    return bytes;
}

START_TEST(test_transfer__budget_of_all_classes) {
    enum { BUDGET = 1 << 20 };
    start_tiers(4 * LR_GIB);
    EXPECT_INT(lr_option_set("transfer_cache_max", BUDGET), ==, 0);
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        const unsigned count = (unsigned)lr_min(MOST, LR_MIB / lr_classes[c].bytes);
        get_all(c, count);
        lr_transfer_put(c, objects, count);
        EXPECT_UINT(bytes_in_all(), <=, BUDGET);
    }
    EXPECT_UINT(bytes_in_all(), >, BUDGET / 2);
    // Room that one class gives up is there for another.
    lr_transfer_flush_all();
    EXPECT_UINT(bytes_in_all(), ==, 0);
    get_all(5, 50);
    lr_transfer_put(5, objects, 50);
    EXPECT_UINT(held(5), ==, 50);
}
END_TEST

START_TEST(test_transfer__without_a_budget_nothing_is_kept) {
    start_tiers(LR_GIB);
    EXPECT_INT(lr_option_set("transfer_cache_max", 0), ==, 0);
    const unsigned c = lr_class_of(64);
    get_all(c, 100);
    const size_t central = central_free_objects(c);
    lr_transfer_put(c, objects, 100);
    EXPECT_UINT(held(c), ==, 0);
    EXPECT_UINT(central_free_objects(c), ==, central + 100);
}
END_TEST

static uint64_t now_ns = 1000000000;

// An ageing some time after the last one.
static bool age_after_ms(uint64_t ms) {
    now_ns += ms * 1000000;
    return lr_transfer_age(now_ns);
}

static bool age(void) { return age_after_ms(250); }

// What no one needed between two looks goes, the oldest first; what is in use stays.
START_TEST(test_transfer__ageing) {
    start_tiers(LR_GIB);
    const unsigned c = lr_class_of(64);
    void *out[100];
    get_all(c, 100);
    lr_transfer_put(c, objects, 100);
    EXPECT(age()); // filled since the last look, in which it was empty
    EXPECT_UINT(held(c), ==, 100);
    EXPECT_UINT(lr_transfer_get(c, out, 30), ==, 30);
    lr_transfer_put(c, out, 30);
    EXPECT(age()); // 70 of them were never asked for
    EXPECT_UINT(held(c), ==, 30);
    EXPECT_UINT(lr_transfer_get(c, out, 100), ==, 30);
    for (unsigned i = 0; i < 30; i++)
        EXPECT_PTR(out[i], ==, objects[70 + i]);
    lr_transfer_put(c, out, 30);
    EXPECT(age());
    EXPECT_UINT(held(c), ==, 30);
    EXPECT(!age()); // nothing happened
    EXPECT_UINT(held(c), ==, 0);
    EXPECT_UINT(lr_central_counts(c).spans, ==, 0); // the spare one has gone too
    expect_all_returned();
}
END_TEST

// A class of which blocks are only freed keeps none: each could hold a span of its own.
START_TEST(test_transfer__a_class_nobody_asks_for) {
    start_tiers(LR_GIB);
    const unsigned c = lr_class_of(64);
    void *out[10];
    get_all(c, 100);
    lr_transfer_put(c, objects, 50);
    for (unsigned looks = 0; looks < 3; looks++) {
        EXPECT(age_after_ms(8));
        EXPECT_UINT(held(c), ==, 50);
        EXPECT(!age_after_ms(1) == (held(c) == 0)); // too soon for another look
    }
    age_after_ms(8);
    EXPECT_UINT(held(c), ==, 0);
    lr_transfer_put(c, objects + 50, 10);
    EXPECT_UINT(held(c), ==, 0);
    EXPECT_UINT(lr_transfer_get(c, out, 10), ==, 10); // now somebody does
    age_after_ms(8);
    lr_transfer_put(c, out, 10);
    EXPECT_UINT(held(c), ==, 10);
    lr_transfer_put(c, objects + 60, 40);
    expect_all_returned();
}
END_TEST

enum { THREADS = 4, HELD = 200, ROUNDS = 6000 };

static void use_objects(struct test_worker *worker) {
    void *mine[HELD];
    unsigned count = 0;
    struct test_rng rng = {worker->seed};
    const unsigned c = lr_class_of(96);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const unsigned part = 1 + (unsigned)test_rng_below(&rng, 32);
        if (worker->index == 0 && i % 16 == 0) {
            age();
        } else if (worker->index == 0 && i % 128 == 1) {
            lr_transfer_flush_all();
        } else if (count + part <= HELD && test_rng_below(&rng, 2) == 0) {
            const unsigned got = lr_transfer_get(c, mine + count, part);
            for (unsigned j = 0; j < got; j++)
                test_fill(mine[count + j], 96, worker->seed);
            count += got;
        } else if (count >= part) {
            count -= part;
            for (unsigned j = 0; j < part; j++)
                EXPECT_FILLED(mine[count + j], 96, worker->seed);
            lr_transfer_put(c, mine + count, part);
        }
    }
    lr_transfer_put(c, mine, count);
}

START_TEST(test_transfer__threads) {
    start_tiers(LR_GIB);
    test_crew_run(THREADS, use_objects, NULL);
    expect_all_returned();
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("transfer");
    test_add(suite, test_transfer__last_in_first_out);
    test_add(suite, test_transfer__gives_what_it_has);
    test_add(suite, test_transfer__classes_are_apart);
    test_add(suite, test_transfer__a_class_holds_so_much);
    test_add(suite, test_transfer__budget_of_all_classes);
    test_add(suite, test_transfer__without_a_budget_nothing_is_kept);
    test_add(suite, test_transfer__ageing);
    test_add(suite, test_transfer__a_class_nobody_asks_for);
    test_add(suite, test_transfer__threads);
    return suite;
}
