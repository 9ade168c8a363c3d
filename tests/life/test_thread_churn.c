// SPDX-License-Identifier: Apache-2.0
//
// Thousands of short threads: what their caches held is used again, resident memory stays bounded.
#include <larder/larder.h>

#include <pthread.h>

#include "../support/support.h"

static const size_t mib = 1024 * 1024;

enum { KEPT = 32 };

// A thread allocates and frees a few hundred KiB, and leaves some blocks to whoever joins it.
struct short_life {
    uint64_t seed;
    char *kept[KEPT];
    size_t sizes[KEPT];
};

static void *live_shortly(void *arg) {
    struct short_life *const life = arg;
    struct test_rng rng = {life->seed};
    enum { LOCAL = 128 };
    void *local[LOCAL];
    for (unsigned i = 0; i < LOCAL; i++) {
        const size_t bytes = test_rng_size(&rng, 30000);
        local[i] = larder_malloc(bytes);
        EXPECT(local[i] != NULL);
        test_fill(local[i], bytes, i);
    }
    for (unsigned i = 0; i < KEPT; i++) {
        life->sizes[i] = test_rng_size(&rng, 5000);
        life->kept[i] = larder_malloc(life->sizes[i]);
        EXPECT(life->kept[i] != NULL);
        test_fill(life->kept[i], life->sizes[i], i);
    }
    for (unsigned i = 0; i < LOCAL; i++)
        larder_free(local[i]);
    return NULL;
}

static void run_generations(unsigned generations, unsigned width, struct test_rng *rng) {
    enum { WIDTH_MAX = 16 };
    static struct short_life lives[WIDTH_MAX];
    for (unsigned g = 0; g < generations; g++) {
        pthread_t threads[WIDTH_MAX];
        for (unsigned i = 0; i < width; i++) {
            lives[i].seed = test_rng_next(rng);
            EXPECT_INT(pthread_create(&threads[i], NULL, live_shortly, &lives[i]), ==, 0);
        }
        for (unsigned i = 0; i < width; i++) {
            EXPECT_INT(pthread_join(threads[i], NULL), ==, 0);
            for (unsigned k = 0; k < KEPT; k++) {
                EXPECT_FILLED(lives[i].kept[k], lives[i].sizes[k], k);
                larder_free(lives[i].kept[k]);
            }
        }
    }
}

static void expect_bounded(unsigned width) {
    const unsigned threads = TEST_UNDER_TSAN || TEST_UNDER_ASAN ? 500 : 6000;
    struct test_rng rng = {test_seed()};
    run_generations(20, width, &rng);
    const size_t before = test_rss_bytes();
    run_generations(threads / width, width, &rng);
    if (!TEST_UNDER_TSAN) // its own memory grows by the thread
        EXPECT_UINT(test_rss_bytes(), <, before + 24 * mib);
}

START_TEST(test_thread_churn__one_after_the_other) { expect_bounded(1); }
END_TEST

START_TEST(test_thread_churn__sixteen_at_a_time) { expect_bounded(16); }
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("thread_churn");
    test_add(suite, test_thread_churn__one_after_the_other);
    test_add(suite, test_thread_churn__sixteen_at_a_time);
    return suite;
}
