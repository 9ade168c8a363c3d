// SPDX-License-Identifier: Apache-2.0
//
// A program that locks its memory, as real-time services do: neither what Larder reserved when it
// was loaded nor what it takes later is faulted in by the gigabyte.
#define _GNU_SOURCE 1

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "../support/plain.h"

static const size_t mib = 1024 * 1024;

static void *use_heap(void *arg) {
    enum { COUNT = 40 };
    char *blocks[COUNT];
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            const size_t bytes = i % 8 == 0 ? mib : 5000;
            blocks[i] = malloc(bytes);
            CHECK(blocks[i] != NULL);
            memset(blocks[i], (int)i, bytes);
        }
        for (unsigned i = 0; i < COUNT; i++)
            free(blocks[i]);
    }
    return arg;
}

int main(void) {
    plain_require_larder();
    alarm(60); // faulting in a terabyte takes longer than anybody waits
    use_heap(NULL);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        SKIP("mlockall is not permitted");
    pthread_t threads[4];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, mib);
    for (unsigned i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], &attr, use_heap, NULL) == 0);
    for (unsigned i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    if (usage.ru_maxrss > 256 * 1024)
        fprintf(stderr, "peak RSS %ld KiB\n", usage.ru_maxrss);
    CHECK(usage.ru_maxrss <= 256 * 1024);
    return 0;
}
