// SPDX-License-Identifier: Apache-2.0
//
// Worker threads of tests: see crew.h.
#include "crew.h"

#include "support.h"

// Enough for a worker of a test under a sanitizer; the default of 8 MiB would hide behind
// hundreds of threads what RLIMIT_AS tests measure.
enum { STACK_BYTES = 512 * 1024 };

static void *run_worker(void *arg) {
    struct test_worker *const worker = arg;
    // The first member of a crew's worker array is found from any member by its index.
    struct test_worker *const first = worker - worker->index;
    struct test_crew *const crew =
        (struct test_crew *)(void *)((char *)first - offsetof(struct test_crew, workers));
    pthread_barrier_wait(&crew->start);
    crew->body(worker);
    return NULL;
}

void test_crew_start(struct test_crew *crew, unsigned count, void (*body)(struct test_worker *),
                     void *shared) {
    EXPECT_UINT(count, >=, 1);
    EXPECT_UINT(count, <=, TEST_CREW_MAX);
    crew->count = count;
    crew->body = body;
    EXPECT_INT(pthread_barrier_init(&crew->start, NULL, count + 1), ==, 0);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < count; i++) {
        crew->workers[i] = (struct test_worker){
            .index = i, .count = count, .seed = test_rng_next(&rng), .shared = shared};
        EXPECT_INT(pthread_create(&crew->threads[i], &attr, run_worker, &crew->workers[i]), ==, 0);
    }
    pthread_attr_destroy(&attr);
    pthread_barrier_wait(&crew->start);
}

void test_crew_join(struct test_crew *crew) {
    for (unsigned i = 0; i < crew->count; i++)
        EXPECT_INT(pthread_join(crew->threads[i], NULL), ==, 0);
    pthread_barrier_destroy(&crew->start);
}

void test_crew_run(unsigned count, void (*body)(struct test_worker *), void *shared) {
    struct test_crew crew;
    test_crew_start(&crew, count, body, shared);
    test_crew_join(&crew);
}
