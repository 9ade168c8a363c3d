// SPDX-License-Identifier: Apache-2.0
//
// Memory for the library's own records.
#include "heap/meta.h"

#include <string.h>
#include <sys/mman.h>

#include "../../support/child.h"
#include "../../support/crew.h"
#include "../../support/interval_set.h"
#include "heap_test.h"

// What a record of `bytes` takes.
static size_t room_of(size_t bytes) {
    size_t room = 64;
    while (room < bytes)
        room = room < 256 ? room + 64 : room * 2;
    return room;
}

static bool in_metadata(const void *record, size_t bytes) {
    const char *const at = record;
    return at >= lr_window.meta_base && at + bytes <= lr_window.meta_base + lr_window.meta_bytes;
}

START_TEST(test_meta__records_are_aligned_and_apart) {
    enum { RECORDS = 2000 };
    static struct test_interval ranges[RECORDS];
    struct test_interval_set set = {.ranges = ranges, .capacity = RECORDS};
    struct test_rng rng = {test_seed()};
    start_heap(8 * LR_GIB);
    for (unsigned i = 0; i < RECORDS; i++) {
        const size_t bytes = 1 + test_rng_size(&rng, i % 100 == 0 ? LR_META_LARGEST - 1 : 4000);
        void *const record = lr_meta_alloc(bytes);
        EXPECT(record != NULL);
        EXPECT_ALIGNED(record, LR_META_GRANULE);
        EXPECT(in_metadata(record, room_of(bytes)));
        EXPECT_PTR(record, !=, lr_window.meta_base); // whose number as a span is "none"
        EXPECT(test_interval_add(&set, record, room_of(bytes)));
        if (room_of(bytes) >= 4096)
            EXPECT_ALIGNED(record, 4096);
    }
}
END_TEST

START_TEST(test_meta__a_freed_record_serves_the_next_of_its_size) {
    start_heap(LR_GIB);
    for (size_t bytes = 1; bytes <= LR_META_LARGEST; bytes += 1 + bytes / 3) {
        void *const first = lr_meta_alloc(bytes);
        void *const second = lr_meta_alloc(bytes);
        EXPECT(first != NULL && second != NULL);
        const size_t used = lr_meta_used_bytes();
        lr_meta_free(first, bytes);
        lr_meta_free(second, bytes);
        void *const again[2] = {lr_meta_alloc(room_of(bytes)), lr_meta_alloc(bytes)};
        EXPECT(again[0] == first || again[0] == second);
        EXPECT(again[1] == first || again[1] == second);
        EXPECT_PTR(again[0], !=, again[1]);
        EXPECT_UINT(lr_meta_used_bytes(), ==, used);
        void *const third = lr_meta_alloc(bytes);
        EXPECT(third != first && third != second);
        EXPECT_UINT(lr_meta_used_bytes(), >=, used + room_of(bytes));
    }
}
END_TEST

START_TEST(test_meta__other_sizes_do_not_share) {
    start_heap(LR_GIB);
    for (size_t bytes = 64; bytes < LR_META_LARGEST; bytes = room_of(bytes + 1)) {
        void *const record = lr_meta_alloc(bytes);
        lr_meta_free(record, bytes);
        EXPECT_PTR(lr_meta_alloc(bytes + 1), !=, record);
        EXPECT_PTR(lr_meta_alloc(bytes), ==, record);
    }
}
END_TEST

START_TEST(test_meta__when_it_is_full_the_rest_goes_on) {
    start_heap(16 * LR_MIB);
    void *records[64];
    unsigned count = 0;
    while ((records[count] = lr_meta_alloc(128 * LR_KIB)) != NULL)
        EXPECT_UINT(++count, <, 64);
    EXPECT_UINT(count, ==, lr_window.meta_bytes / (128 * LR_KIB) - 1);
    EXPECT_PTR(lr_meta_alloc(LR_META_LARGEST), ==, NULL);
    EXPECT(lr_meta_prepare(LR_MIB, 0)); // no more than there can be
    EXPECT(lr_meta_prepare(0, LR_MIB));
    EXPECT_UINT(lr_meta_used_bytes(), <=, lr_window.meta_bytes);
    EXPECT(lr_meta_alloc(64) != NULL); // small ones still fit
    lr_meta_free(records[3], 128 * LR_KIB);
    EXPECT_PTR(lr_meta_alloc(128 * LR_KIB), ==, records[3]);
}
END_TEST

static void allocate_what_was_prepared(void *arg) {
    enum { PREPARED = 1 << 20, RECORD = 256 };
    start_heap(LR_GIB);
    EXPECT(lr_meta_alloc(RECORD) != NULL);
    // `arg`: all at once, or pool after pool.
    EXPECT(arg != NULL ? lr_meta_prepare(0, PREPARED / 2) && lr_meta_prepare(0, PREPARED + RECORD)
                       : lr_meta_prepare(PREPARED, 0));
    limit_memory(0);
    for (unsigned i = 0; i < PREPARED / RECORD; i++)
        EXPECT(lr_meta_alloc(RECORD) != NULL);
    unsigned more = 0; // what the last step of the growth left over, of at most one eighth
    while (lr_meta_alloc(RECORD) != NULL)
        EXPECT_UINT(++more, <, 2 * PREPARED / RECORD / 8 + 64 * 1024 / RECORD);
    EXPECT(!lr_meta_prepare(PREPARED, 0));
    limit_memory(SIZE_MAX);
    EXPECT(lr_meta_alloc(RECORD) != NULL);
}

START_TEST(test_meta__what_is_prepared_is_there_when_memory_is_not) {
    struct test_child child;
    if (TEST_UNDER_ASAN || TEST_UNDER_TSAN) {
        TEST_SKIP("the sanitizer needs memory of its own");
    }
    test_child_run(&child, 20, allocate_what_was_prepared, NULL);
    EXPECT_CHILD_EXIT(&child, 0);
    test_child_run(&child, 20, allocate_what_was_prepared, &child);
    EXPECT_CHILD_EXIT(&child, 0);
}
END_TEST

static void write_records(void **records, unsigned count, size_t bytes) {
    for (unsigned i = 0; i < count; i++) {
        records[i] = lr_meta_alloc(bytes);
        EXPECT(records[i] != NULL);
        memset(records[i], 1, bytes);
    }
}

START_TEST(test_meta__what_is_free_goes_back) {
    enum { RECORDS = 20000, BYTES = 192, LARGE = 100, LARGE_BYTES = 65536 };
    static void *records[RECORDS], *large[LARGE];
    start_heap(LR_GIB);
    const size_t none = lr_meta_used_bytes();
    write_records(records, RECORDS, BYTES);
    write_records(large, LARGE, LARGE_BYTES);
    const size_t full = lr_meta_used_bytes();
    const size_t rss = test_rss_bytes();
    EXPECT_UINT(full, >=, none + (size_t)RECORDS * BYTES + (size_t)LARGE * LARGE_BYTES);
    for (unsigned i = 0; i < RECORDS; i++)
        lr_meta_free(records[i], BYTES);
    for (unsigned i = 0; i < LARGE; i++)
        lr_meta_free(large[i], LARGE_BYTES);
    EXPECT_UINT(lr_meta_used_bytes(), ==, full);
    EXPECT_UINT(lr_meta_release(false), ==, 0); // it was not free at the last call
    const size_t dirty = lr_meta_dirty_bytes();
    EXPECT_UINT(lr_meta_release(false), >=, dirty / 2);
    lr_meta_release(true);
    EXPECT_UINT(lr_meta_dirty_bytes(), ==, 0);
    EXPECT_UINT(lr_meta_used_bytes(), <, none + 64 * 1024); // the table of chunks
    if (!TEST_UNDER_TSAN)
        EXPECT_UINT(test_rss_bytes() + (full - none) - LR_MIB, <, rss);
    // It serves again, other sizes too.
    write_records(records, RECORDS, BYTES / 2);
    write_records(large, LARGE, LARGE_BYTES);
    EXPECT_UINT(lr_meta_used_bytes(), <=, full);
}
END_TEST

// What is in use again before it was returned stays where it is.
START_TEST(test_meta__release_keeps_what_was_wanted_again) {
    enum { LARGE = 50, LARGE_BYTES = 65536 };
    void *large[LARGE];
    start_heap(LR_GIB);
    write_records(large, LARGE, LARGE_BYTES);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < LARGE; i++)
            lr_meta_free(large[i], LARGE_BYTES);
        EXPECT_UINT(lr_meta_release(false), ==, 0);
        write_records(large, LARGE, LARGE_BYTES);
    }
}
END_TEST

enum { THREADS = 4, HELD = 200, ROUNDS = 20000 };

static void use_records(struct test_worker *worker) {
    struct {
        void *record;
        size_t bytes;
        uint64_t seed;
    } held[HELD] = {{0}};
    struct test_rng rng = {worker->seed};
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % 128 == 0)
            lr_meta_release(worker->index == 0);
        const unsigned at = (unsigned)test_rng_below(&rng, HELD);
        if (held[at].record != NULL) {
            EXPECT_FILLED(held[at].record, held[at].bytes, held[at].seed);
            lr_meta_free(held[at].record, held[at].bytes);
            held[at].record = NULL;
            continue;
        }
        held[at].bytes = 1 + test_rng_size(&rng, 5000);
        held[at].seed = test_rng_next(&rng);
        held[at].record = lr_meta_alloc(held[at].bytes);
        EXPECT(held[at].record != NULL);
        test_fill(held[at].record, held[at].bytes, held[at].seed);
    }
}

START_TEST(test_meta__threads_do_not_get_each_others_records) {
    start_heap(LR_GIB);
    test_crew_run(THREADS, use_records, NULL);
}
END_TEST

// A mapping of the program; MAP_FIXED, because the place is known to be free.
static void take_place(char *at) {
    void *const p = mmap(at, lr_os_page_bytes(), PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    EXPECT_PTR(p, ==, at);
}

START_TEST(test_meta__the_window_moves_before_the_first_record) {
    start_heap(LR_GIB);
    if (lr_window.reserved)
        TEST_SKIP("the window is reserved here: nothing can take its place");
    char *const planned = lr_window.base;
    take_place(lr_window.meta_base +
               lr_window.meta_bytes / 256); // the first record's: behind the table
    char *const record = lr_meta_alloc(300);
    EXPECT(record != NULL);
    EXPECT(lr_window.reserved);
    EXPECT_PTR(lr_window.base, !=, planned);
    EXPECT(in_metadata(record, 300));
    test_fill(record, 300, 1);
    lr_meta_free(record, 300);
    // Of the place that it left nothing is kept, but for the program's mapping.
    EXPECT(lr_os_is_unmapped(planned + LR_GIB - LR_GIB / 32, lr_os_page_bytes()));
    uint32_t count = 0;
    lr_lock(&lr_pool_lock);
    EXPECT_UINT(lr_pool_grow_locked(1, &count), !=, 0);
    lr_unlock(&lr_pool_lock);
}
END_TEST

START_TEST(test_meta__the_window_stays_where_a_record_is) {
    start_heap(LR_GIB);
    if (lr_window.reserved)
        TEST_SKIP("the window is reserved here: nothing can take its place");
    char *const planned = lr_window.base;
    char *const record = lr_meta_alloc(300);
    EXPECT(record != NULL);
    test_fill(record, 300, 1);
    take_place(lr_window.meta_base + 8 * LR_MIB);
    unsigned more = 0;
    while (lr_meta_alloc(LR_META_LARGEST) != NULL)
        more++;
    EXPECT_UINT(more, <, 8);
    EXPECT_PTR(lr_window.base, ==, planned);
    EXPECT_FILLED(record, 300, 1);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("meta");
    test_add(suite, test_meta__the_window_moves_before_the_first_record);
    test_add(suite, test_meta__the_window_stays_where_a_record_is);
    test_add(suite, test_meta__records_are_aligned_and_apart);
    test_add(suite, test_meta__a_freed_record_serves_the_next_of_its_size);
    test_add(suite, test_meta__other_sizes_do_not_share);
    test_add(suite, test_meta__when_it_is_full_the_rest_goes_on);
    test_add(suite, test_meta__what_is_prepared_is_there_when_memory_is_not);
    test_add(suite, test_meta__what_is_free_goes_back);
    test_add(suite, test_meta__release_keeps_what_was_wanted_again);
    test_add(suite, test_meta__threads_do_not_get_each_others_records);
    return suite;
}
