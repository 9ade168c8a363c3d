// SPDX-License-Identifier: Apache-2.0
//
// Sampled allocations through the whole API: how many there are, what a sampled block can do, and
// that nothing is left of them.
#include "prof/sample.h"

#include <larder/larder.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache/sampler.h"
#include "cache/thread_state.h"
#include "crew.h"
#include "heap/span_heap.h"
#include "support.h"

enum { SOME = 1000 };

static void sample_at(uint64_t mean) {
    larder_free(test_opaque_ptr(larder_malloc(1))); // starts Larder
    lr_sample_set_mean(LR_SAMPLE_PROFILE, mean);
}

static double absolute(double x) { return x < 0 ? -x : x; }

// `count` blocks are allocated and freed; the number of samples is right within five standard
// deviations of a binomial distribution.
static void expect_share(size_t size, unsigned count, uint64_t mean) {
    sample_at(mean);
    uint64_t before = lr_sample_counts().taken;
    for (unsigned i = 0; i < count; i++)
        larder_free(test_opaque_ptr(larder_malloc(size)));
    double taken = (double)(lr_sample_counts().taken - before);
    size_t bytes = larder_good_size(size, 16);
    double chance = lr_sample_chance(bytes, mean);
    double wanted = count * chance;
    double variance = wanted * (1 - chance) + 1;
    double off = taken - wanted;
    if (off * off > 25 * variance)
        test_fail(__FILE__, __LINE__, "%u of %zu bytes, mean %ju: %f samples, not %f", count, size,
                  (uintmax_t)mean, taken, wanted);
}

START_TEST(test_sample__share_of_small) {
    expect_share(16, 400000, 4096);
    expect_share(64, 400000, 4096);
    expect_share(1000, 100000, 64 * LR_KIB);
    expect_share(2048, 50000, 4096);
}
END_TEST

START_TEST(test_sample__share_above_the_table) {
    expect_share(2049, 50000, 64 * LR_KIB);
    expect_share(LR_SMALL_MAX, 5000, LR_MIB);
}
END_TEST

START_TEST(test_sample__share_of_large) {
    expect_share(LR_SMALL_MAX + 1, 5000, LR_MIB);
    expect_share(3 * LR_MIB, 1000, LR_MIB);
}
END_TEST

START_TEST(test_sample__all_of_them) {
    expect_share(16, SOME, 1);
    EXPECT_UINT(lr_sample_counts().dropped, ==, 0);
}
END_TEST

// Sizes mixed at random: each class has its own process, and they do not disturb each other.
START_TEST(test_sample__share_of_a_mixture) {
    enum { COUNT = 200000, MEAN = 32768 };
    sample_at(MEAN);
    struct test_rng rng = {test_seed()};
    uint64_t before = lr_sample_counts().taken;
    double wanted = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        size_t size = test_rng_size(&rng, 8192);
        wanted += lr_sample_chance(larder_good_size(size, 16), MEAN);
        larder_free(test_opaque_ptr(larder_malloc(size)));
    }
    double off = absolute((double)(lr_sample_counts().taken - before) - wanted);
    EXPECT(off * off < 25 * wanted);
}
END_TEST

START_TEST(test_sample__every_way_to_allocate) {
    sample_at(1);
    void *aligned = NULL;
    EXPECT_INT(larder_posix_memalign(&aligned, 1024, 100), ==, 0);
    void *blocks[] = {
        larder_malloc(100),
        larder_calloc(10, 10),
        larder_realloc(NULL, 100),
        aligned,
        larder_aligned_alloc(4096, 5),
        larder_malloc(LR_MIB),
        larder_calloc(1, 100000),
        larder_malloc(0),
        larder_valloc(1),
    };
    enum { COUNT = sizeof blocks / sizeof blocks[0] };
    EXPECT_UINT(lr_sample_counts().live, ==, COUNT);
    EXPECT_ALIGNED(aligned, 1024);
    EXPECT_ALIGNED(blocks[4], 4096);
    EXPECT_ZERO(blocks[1], 100);
    EXPECT_ZERO(blocks[6], 100000);
    for (unsigned i = 0; i < COUNT; i++)
        larder_free(blocks[i]);
    EXPECT_UINT(lr_sample_counts().live, ==, 0);
    EXPECT_UINT(lr_sample_counts().place_bytes, ==, 0);
}
END_TEST

START_TEST(test_sample__usable_size_is_the_class) {
    sample_at(1);
    for (size_t size = 0; size <= LR_SMALL_MAX; size = size * 5 / 4 + 7) {
        char *block = larder_malloc(size);
        EXPECT_UINT(larder_malloc_usable_size(block), ==, larder_good_size(size, 16));
        EXPECT_ALIGNED(block, 16);
        memset(block, 1, larder_malloc_usable_size(block));
        larder_free_sized(block, size);
    }
    EXPECT_UINT(lr_sample_counts().live, ==, 0);
}
END_TEST

START_TEST(test_sample__realloc_keeps_contents) {
    sample_at(1);
    size_t sizes[] = {10,         11,         500,         490,    5000, 300000,
                      2 * LR_MIB, 1 * LR_MIB, 40 * LR_MIB, 300001, 100,  1};
    char *block = NULL;
    size_t before = 0;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        block = larder_realloc(block, sizes[i]);
        EXPECT(block != NULL);
        EXPECT_FILLED(block, before < sizes[i] ? before : sizes[i], i);
        test_fill(block, sizes[i], i + 1);
        before = sizes[i];
        EXPECT_UINT(lr_sample_counts().live, ==, 1);
        EXPECT_UINT(larder_malloc_usable_size(block), >=, sizes[i]);
    }
    EXPECT_PTR(larder_realloc(block, 0), ==, NULL);
    EXPECT_UINT(lr_sample_counts().live, ==, 0);
}
END_TEST

// Off: malloc comes back to the ordinary bin, and what waited in sampling bins goes home.
START_TEST(test_sample__off_leaves_nothing) {
    sample_at(LR_GIB);
    void *blocks[SOME];
    for (unsigned i = 0; i < SOME; i++)
        blocks[i] = larder_malloc(48);
    struct thread_cache *cache = lr_load_relaxed(&lr_thread_cache);
    struct sample_bin *ahead = &cache->sample_bins[lr_class_of(48)];
    EXPECT(ahead->top > ahead->base);
    sample_at(0);
    EXPECT_UINT(lr_load_relaxed(&lr_bin_offsets[48]), ==, lr_bin_offset(lr_class_of(48)));
    for (unsigned i = 0; i < SOME; i++)
        larder_free(blocks[i]); // fills the bin, which takes the slow path
    EXPECT_PTR(ahead->top, ==, NULL);
    EXPECT_PTR(cache->sampler, ==, NULL);
    (void)larder_thread_flush();
    EXPECT_UINT(lr_cache_bytes_racy(cache), ==, 0);
}
END_TEST

START_TEST(test_sample__flush_takes_waiting_blocks) {
    sample_at(LR_GIB);
    void *block = larder_malloc(48);
    larder_free(block);
    struct thread_cache *cache = lr_load_relaxed(&lr_thread_cache);
    EXPECT_UINT(lr_cache_objects_racy(cache, lr_class_of(48)), >, 0);
    EXPECT_UINT(larder_thread_flush(), >, 0);
    EXPECT_UINT(lr_cache_bytes_racy(cache), ==, 0);
}
END_TEST

static void allocate_and_leave(struct test_worker *worker) {
    void **kept = worker->shared;
    for (unsigned i = 0; i < SOME; i++)
        kept[worker->index * SOME + i] = larder_malloc(i);
}

// Threads allocate while another one switches; the main thread frees all of it.
START_TEST(test_sample__threads_and_switches) {
    enum { THREADS = 4 };
    static void *kept[THREADS * SOME];
    static struct test_crew crew;
    sample_at(512);
    test_crew_start(&crew, THREADS, allocate_and_leave, kept);
    for (unsigned i = 0; i < 50; i++)
        sample_at(i % 2 == 0 ? 0 : 512);
    test_crew_join(&crew);
    for (unsigned i = 0; i < THREADS * SOME; i++)
        larder_free(kept[i]);
    EXPECT_UINT(lr_sample_counts().live, ==, 0);
}
END_TEST

static unsigned places_taken, places_given;
static char guard_area[SOME][4096] __attribute__((aligned(4096)));

static void *take_area(size_t size, size_t bytes) {
    EXPECT_UINT(size, <=, bytes);
    return places_taken < SOME ? guard_area[places_taken++] : NULL;
}

static void give_area(void *block, size_t size, size_t bytes) {
    EXPECT_UINT(size, <=, bytes);
    EXPECT((char *)block >= guard_area[0] && (char *)block < guard_area[SOME]);
    places_given++;
}

START_TEST(test_sample__places_of_a_guard) {
    static const struct lr_sample_place place = {.take = take_area, .give = give_area};
    lr_sample_set_place(&place);
    larder_free(larder_malloc(1));
    lr_sample_set_mean(LR_SAMPLE_GUARD, 1);
    char *block = test_opaque_ptr(larder_malloc(100));
    EXPECT_PTR(block, ==, guard_area[0]);
    EXPECT_UINT(larder_malloc_usable_size(block), ==, larder_good_size(100, 16));
    EXPECT_UINT(lr_sample_counts().place_bytes, ==, 0);
    larder_free(block);
    EXPECT_UINT(places_given, ==, 1);
    // No place left: the ordinary block.
    places_taken = SOME;
    block = larder_malloc(100);
    EXPECT(block != NULL && lr_sample_bytes(block) == 0);
    EXPECT_UINT(lr_sample_counts().dropped, ==, 1);
    larder_free(block);
}
END_TEST

// A user with a longer distance gets its own share of the points, not all.
START_TEST(test_sample__users_have_their_own_rates) {
    enum { COUNT = 100000, GUARD_MEAN = 64000, PROFILE_MEAN = 1600 };
    static const struct lr_sample_place place = {.take = take_area, .give = give_area};
    lr_sample_set_place(&place);
    sample_at(PROFILE_MEAN);
    lr_sample_set_mean(LR_SAMPLE_GUARD, GUARD_MEAN);
    for (unsigned i = 0; i < COUNT; i++)
        larder_free(test_opaque_ptr(larder_malloc(160)));
    double guarded = places_taken;
    double wanted = COUNT * lr_sample_chance(160, GUARD_MEAN);
    double off = guarded - wanted;
    EXPECT(off * off < 25 * wanted);
    double taken = (double)lr_sample_counts().taken;
    EXPECT(taken > 0.9 * COUNT * lr_sample_chance(160, PROFILE_MEAN));
    // The denser one goes; the other stays.
    lr_sample_set_mean(LR_SAMPLE_PROFILE, 0);
    EXPECT_UINT(lr_load_relaxed(&lr_sampler_mean), ==, GUARD_MEAN);
    lr_sample_set_mean(LR_SAMPLE_GUARD, 0);
    EXPECT(!lr_sampling_on());
}
END_TEST

START_TEST(test_sample__fork) {
    sample_at(1);
    void *before = larder_malloc(100);
    pid_t child = fork();
    if (child == 0) {
        larder_free(before);
        void *block = larder_malloc(50);
        bool good = lr_sample_counts().live == 1 && lr_sample_bytes(block) == 64;
        larder_free(block);
        _exit(good ? 0 : 1);
    }
    int status = -1;
    EXPECT_INT(waitpid(child, &status, 0), ==, child);
    EXPECT_INT(status, ==, 0);
    larder_free(before);
    EXPECT_UINT(lr_sample_counts().live, ==, 0);
}
END_TEST

// The span heap is as it was: shadow and place are both back.
START_TEST(test_sample__all_memory_comes_back) {
    sample_at(1);
    void *blocks[SOME];
    for (unsigned i = 0; i < SOME; i++)
        blocks[i] = larder_malloc(i * 7);
    for (unsigned i = 0; i < SOME; i++)
        larder_free(blocks[i]);
    sample_at(0);
    (void)larder_thread_flush();
    (void)larder_release(SIZE_MAX);
    EXPECT_UINT(lr_span_heap_counts().used_pages, ==, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("prof/sample");
    test_add(suite, test_sample__share_of_small);
    test_add(suite, test_sample__share_above_the_table);
    test_add(suite, test_sample__share_of_large);
    test_add(suite, test_sample__all_of_them);
    test_add(suite, test_sample__share_of_a_mixture);
    test_add(suite, test_sample__every_way_to_allocate);
    test_add(suite, test_sample__usable_size_is_the_class);
    test_add(suite, test_sample__realloc_keeps_contents);
    test_add(suite, test_sample__off_leaves_nothing);
    test_add(suite, test_sample__flush_takes_waiting_blocks);
    test_add(suite, test_sample__threads_and_switches);
    test_add(suite, test_sample__places_of_a_guard);
    test_add(suite, test_sample__users_have_their_own_rates);
    test_add(suite, test_sample__fork);
    test_add(suite, test_sample__all_memory_comes_back);
    return suite;
}
