// SPDX-License-Identifier: Apache-2.0
//
// Central free lists: what they give, from which span, and what they take back. Objects that they
// must refuse are test_central_misuse.c's.
#include "cache/central.h"

#include <string.h>

#include "../../support/crew.h"
#include "cache_test.h"

enum { MOST = 4096 };

static void *objects[MOST];

static unsigned remove_all(unsigned size_class, unsigned count) {
    unsigned taken = 0;
    while (taken < count) {
        const unsigned part = lr_central_remove(size_class, objects + taken, count - taken);
        EXPECT_UINT(part, >, 0);
        taken += part;
    }
    return taken;
}

static struct span *span_of(const void *object) {
    struct span *const span = lr_span_of_page(lr_page_of(object));
    EXPECT(span != NULL);
    return span;
}

// How many empty spans the list keeps: one, where it is a small part of the heap.
static size_t spares(unsigned size_class) {
    const size_t bytes = lr_classes[size_class].pages * LR_PAGE_BYTES;
    return bytes <= lr_max(32 * LR_KIB, lr_pool_bytes() / 512) ? 1 : 0;
}

static size_t index_of(const void *object) {
    return (size_t)((const char *)object - lr_span_start(span_of(object)));
}

START_TEST(test_central__objects_of_each_class) {
    start_tiers(8 * LR_GIB);
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        const struct class_info *const info = &lr_classes[c];
        EXPECT(!lr_central_is_used(c));
        const unsigned count = lr_central_remove(c, objects, info->objects);
        EXPECT_UINT(count, ==, info->objects); // a whole span
        EXPECT(lr_central_is_used(c));
        for (unsigned i = 0; i < count; i++) {
            EXPECT_UINT(span_of(objects[i])->size_class, ==, c);
            EXPECT_UINT(lr_load_relaxed(lr_class_map(lr_page_of(objects[i]))), ==,
                        lr_bin_offset(c));
            // Falling, so that a stack that is popped from its end gives rising addresses.
            EXPECT_UINT(index_of(objects[i]), ==, (count - 1 - i) * info->bytes);
            memset(objects[i], (int)c, info->bytes);
        }
        EXPECT_UINT(lr_central_counts(c).spans, ==, 1);
        EXPECT_UINT(central_free_objects(c), ==, 0);
        lr_central_insert(c, objects, count);
        EXPECT_UINT(lr_central_counts(c).spans, ==, spares(c));
        EXPECT_UINT(central_free_objects(c), ==, spares(c) * info->objects);
    }
    lr_central_release_spares();
    expect_all_returned();
}
END_TEST

START_TEST(test_central__counts) {
    start_tiers(LR_GIB);
    const unsigned c = lr_class_of(1024), per_span = lr_classes[c].objects;
    remove_all(c, 5 * per_span + 3);
    EXPECT_UINT(lr_central_counts(c).spans, ==, 6);
    EXPECT_UINT(central_free_objects(c), ==, per_span - 3);
    EXPECT_UINT(lr_span_heap_counts().small_spans, ==, 6);
    lr_central_insert(c, objects, 5 * per_span + 3);
    EXPECT_UINT(lr_central_counts(c).spans, ==, 1);
    EXPECT_UINT(central_free_objects(c), ==, per_span);
    EXPECT_UINT(lr_span_heap_counts().small_spans, ==, 1);
    // The spare serves the next request, and is not one span heap round trip each time.
    EXPECT_UINT(lr_central_remove(c, objects, 1), ==, 1);
    EXPECT_UINT(lr_span_heap_counts().small_spans, ==, 1);
    lr_central_insert(c, objects, 1);
    lr_central_release_spares();
    EXPECT_UINT(lr_central_counts(c).spans, ==, 0);
    expect_all_returned();
}
END_TEST

// Few, full spans: the others empty out and go back.
START_TEST(test_central__the_fullest_span_comes_first) {
    start_tiers(LR_GIB);
    const unsigned c = lr_class_of(256), per_span = lr_classes[c].objects;
    const unsigned spans = 4;
    remove_all(c, spans * per_span);
    // Of span i, i + 1 quarters are given back (with four spans: the last is left empty).
    unsigned left[4];
    const struct span *of[4];
    for (unsigned i = 0; i < spans; i++) {
        of[i] = span_of(objects[i * per_span]);
        left[i] = per_span / 4 * (i + 1) - (i == 3);
        lr_central_insert(c, objects + i * per_span, left[i]);
    }
    for (unsigned i = 0; i < spans; i++) {
        for (; left[i] > 0; left[i]--) {
            void *object;
            EXPECT_UINT(lr_central_remove(c, &object, 1), ==, 1);
            EXPECT_PTR(span_of(object), ==, of[i]);
        }
    }
    EXPECT_UINT(central_free_objects(c), ==, 0);
}
END_TEST

// Of one span what was used before, because its memory is there.
START_TEST(test_central__recycled_before_fresh) {
    start_tiers(LR_GIB);
    const unsigned c = lr_class_of(512), per_span = lr_classes[c].objects;
    remove_all(c, per_span / 2);
    void *given[4];
    for (unsigned i = 0; i < 4; i++)
        given[i] = objects[i * 5];
    lr_central_insert(c, given, 4);
    void *out[6];
    EXPECT_UINT(lr_central_remove(c, out, 6), ==, 6);
    // The array is filled from its end.
    for (unsigned i = 0; i < 4; i++) {
        bool was_given = false;
        for (unsigned j = 0; j < 4; j++)
            was_given |= out[5 - i] == given[j];
        EXPECT(was_given);
    }
    EXPECT_UINT(index_of(out[1]), ==, per_span / 2 * 512);
    EXPECT_UINT(index_of(out[0]), ==, (per_span / 2 + 1) * 512);
}
END_TEST

START_TEST(test_central__one_request_takes_from_several_spans) {
    start_tiers(LR_GIB);
    const unsigned c = lr_class_of(2048), per_span = lr_classes[c].objects;
    remove_all(c, 3 * per_span);
    void *given[3];
    for (unsigned i = 0; i < 3; i++)
        given[i] = objects[i * per_span];
    lr_central_insert(c, given, 3);
    void *out[8];
    EXPECT_UINT(lr_central_remove(c, out, 8), ==, 3); // no new span while there is anything
    for (unsigned i = 0; i < 3; i++)
        EXPECT(out[i] == given[0] || out[i] == given[1] || out[i] == given[2]);
    EXPECT(out[0] != out[1] && out[1] != out[2] && out[0] != out[2]);
    EXPECT_UINT(lr_central_counts(c).spans, ==, 3);
}
END_TEST

START_TEST(test_central__out_of_memory) {
    start_tiers(LR_GIB);
    const unsigned c = LR_CLASS_COUNT - 1;
    EXPECT_INT(lr_option_set("heap_limit", 4 * lr_classes[c].bytes), ==, 0);
    EXPECT_UINT(remove_all(c, 4), ==, 4);
    EXPECT_UINT(lr_central_remove(c, objects + 4, 1), ==, 0);
    lr_central_insert(c, objects, 1);
    EXPECT_UINT(lr_central_remove(c, objects + 4, 2), ==, 1);
    EXPECT_PTR(objects[4], ==, objects[0]);
}
END_TEST

START_TEST(test_central__random_order_gives_everything_back) {
    struct test_rng rng = {test_seed()};
    start_tiers(LR_GIB);
    for (unsigned round = 0; round < 30; round++) {
        const unsigned c = 1 + (unsigned)test_rng_below(&rng, 60);
        const unsigned count = 1 + (unsigned)test_rng_below(&rng, MOST);
        remove_all(c, count);
        for (unsigned i = count; i-- > 1;) {
            const unsigned other = (unsigned)test_rng_below(&rng, i + 1);
            void *const swapped = objects[i];
            objects[i] = objects[other];
            objects[other] = swapped;
        }
        for (unsigned i = 0; i < count;) {
            const size_t part = 1 + test_rng_below(&rng, count - i);
            lr_central_insert(c, objects + i, (unsigned)part);
            i += (unsigned)part;
        }
        EXPECT_UINT(lr_central_counts(c).spans, ==, spares(c));
        EXPECT_UINT(central_free_objects(c), ==, spares(c) * lr_classes[c].objects);
    }
    lr_central_release_spares();
    expect_all_returned();
}
END_TEST

enum { THREADS = 4, HELD = 300, ROUNDS = 4000 };

static void use_objects(struct test_worker *worker) {
    void *held[HELD];
    unsigned count = 0;
    struct test_rng rng = {worker->seed};
    const unsigned c = lr_class_of((size_t)64 << worker->index / 2); // two threads a class
    const size_t bytes = lr_classes[c].bytes;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const unsigned part = 1 + (unsigned)test_rng_below(&rng, 40);
        if (count + part <= HELD && test_rng_below(&rng, 2) == 0) {
            const unsigned got = lr_central_remove(c, held + count, part);
            EXPECT_UINT(got, >, 0);
            for (unsigned j = 0; j < got; j++)
                test_fill(held[count + j], bytes, worker->seed);
            count += got;
        } else if (count >= part) {
            count -= part;
            for (unsigned j = 0; j < part; j++)
                EXPECT_FILLED(held[count + j], bytes, worker->seed);
            lr_central_insert(c, held + count, part);
        }
    }
    lr_central_insert(c, held, count);
}

START_TEST(test_central__threads) {
    start_tiers(LR_GIB);
    test_crew_run(THREADS, use_objects, NULL);
    lr_central_release_spares();
    expect_all_returned();
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("central");
    test_add(suite, test_central__objects_of_each_class);
    test_add(suite, test_central__counts);
    test_add(suite, test_central__the_fullest_span_comes_first);
    test_add(suite, test_central__recycled_before_fresh);
    test_add(suite, test_central__one_request_takes_from_several_spans);
    test_add(suite, test_central__out_of_memory);
    test_add(suite, test_central__random_order_gives_everything_back);
    test_add(suite, test_central__threads);
    return suite;
}
