// SPDX-License-Identifier: Apache-2.0
//
// A crew: worker threads that start together at a barrier.
#ifndef LARDER_TESTS_CREW_H
#define LARDER_TESTS_CREW_H

#include <pthread.h>
#include <stdint.h>

enum { TEST_CREW_MAX = 256 };

struct test_worker {
    unsigned index; // 0 .. count-1
    unsigned count;
    uint64_t seed; // differs for each worker; derived from test_seed()
    void *shared;
};

// Threads of one run; no memory but its own, so it may stand on the stack or in static storage.
struct test_crew {
    unsigned count;
    pthread_barrier_t start;
    void (*body)(struct test_worker *);
    pthread_t threads[TEST_CREW_MAX];
    struct test_worker workers[TEST_CREW_MAX];
};

// Starts `count` (1 .. TEST_CREW_MAX) threads on body(worker) and returns when all of them are
// about to run it.
void test_crew_start(struct test_crew *crew, unsigned count, void (*body)(struct test_worker *),
                     void *shared);
void test_crew_join(struct test_crew *crew);

// Start and join in one.
void test_crew_run(unsigned count, void (*body)(struct test_worker *), void *shared);

#endif
