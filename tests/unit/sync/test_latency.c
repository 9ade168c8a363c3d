// SPDX-License-Identifier: Apache-2.0
//
// Latencies fall into the right bucket, each slow operation is measured while the option is set,
// and nothing is while it is not.
#include "sync/latency.h"

#include <errno.h>
#include <larder/ctl.h>
#include <larder/stats.h>
#include <pthread.h>
#include <string.h>

#include "../../support/support.h"
#include "sync/lock.h"

static uint64_t sum_of(enum lr_latency_kind kind) {
    const struct lr_latency_counts counts = lr_latency_read(kind);
    uint64_t sum = 0;
    for (unsigned i = 0; i < LR_LATENCY_BUCKETS; i++) {
        sum += counts.buckets[i];
    }
    return sum;
}

static unsigned bucket_of(uint64_t ns) {
    const struct lr_latency_counts before = lr_latency_read(LR_LATENCY_POOL);
    unsigned found = LR_LATENCY_BUCKETS;
    lr_latency_add(LR_LATENCY_POOL, ns);
    const struct lr_latency_counts after = lr_latency_read(LR_LATENCY_POOL);
    EXPECT_UINT(after.sum_ns - before.sum_ns, ==, ns);
    for (unsigned i = 0; i < LR_LATENCY_BUCKETS; i++) {
        if (after.buckets[i] != before.buckets[i]) {
            EXPECT_UINT(after.buckets[i], ==, before.buckets[i] + 1);
            EXPECT_UINT(found, ==, LR_LATENCY_BUCKETS);
            found = i;
        }
    }
    return found;
}

START_TEST(test_latency__buckets) {
    EXPECT_UINT(bucket_of(0), ==, 0);
    EXPECT_UINT(bucket_of(128), ==, 0);
    EXPECT_UINT(bucket_of(129), ==, 1);
    EXPECT_UINT(bucket_of(256), ==, 1);
    EXPECT_UINT(bucket_of(257), ==, 2);
    EXPECT_UINT(bucket_of((uint64_t)1 << 30), ==, 23);
    EXPECT_UINT(bucket_of(((uint64_t)1 << 30) + 1), ==, 24);
    EXPECT_UINT(bucket_of(UINT64_MAX / 2), ==, 24);
}
END_TEST

static void work(void) {
    enum { COUNT = 3000 };
    static void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = larder_malloc(9000);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        larder_free(blocks[i]);
    }
    larder_thread_flush();
    larder_release(SIZE_MAX);
}

START_TEST(test_latency__each_operation_while_the_option_is_set) {
    static const enum lr_latency_kind kinds[] = {LR_LATENCY_REFILL, LR_LATENCY_CENTRAL,
                                                 LR_LATENCY_POOL, LR_LATENCY_RELEASE};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    uint64_t before[KINDS];
    EXPECT_INT(larder_option_set("scavenger", 2), ==, 0);
    EXPECT_INT(larder_option_set("latency", 1), ==, 0);
    work();
    EXPECT_INT(larder_option_set("latency", 0), ==, 0);
    for (unsigned k = 0; k < KINDS; k++) {
        before[k] = sum_of(kinds[k]);
        EXPECT_UINT(before[k], >, 0);
        EXPECT_UINT(lr_latency_read(kinds[k]).sum_ns, >, 0);
    }
    EXPECT_UINT(before[0], >=, before[1]); // a refill goes to the central list once at most
    work();
    for (unsigned k = 0; k < KINDS; k++) {
        EXPECT_UINT(sum_of(kinds[k]), ==, before[k]);
    }
}
END_TEST

static void *wait_for(void *lock) {
    lr_lock(lock);
    lr_unlock(lock);
    return NULL;
}

static void expect_wait(unsigned rank, enum lr_latency_kind kind) {
    enum { HELD_MS = 20 };
    struct lr_lock lock = LR_LOCK_INIT(rank);
    pthread_t thread;
    lr_latency_switch(true);
    const uint64_t before = sum_of(kind);
    const uint64_t before_ns = lr_latency_read(kind).sum_ns;
    lr_lock(&lock);
    EXPECT_INT(pthread_create(&thread, NULL, wait_for, &lock), ==, 0);
    while (lr_load_relaxed(&lock.word) != 2) { // until it sleeps
        test_sleep_ms(1);
    }
    test_sleep_ms(HELD_MS);
    lr_unlock(&lock);
    EXPECT_INT(pthread_join(thread, NULL), ==, 0);
    lr_latency_switch(false);
    EXPECT_UINT(sum_of(kind), ==, before + 1);
    EXPECT_UINT(lr_latency_read(kind).sum_ns - before_ns, >=, HELD_MS * 1000000);
}

START_TEST(test_latency__waits_for_locks) {
    expect_wait(LR_RANK_CENTRAL, LR_LATENCY_CENTRAL_WAIT);
    expect_wait(LR_RANK_SPAN_HEAP, LR_LATENCY_SPAN_HEAP_WAIT);
    const uint64_t before = sum_of(LR_LATENCY_CENTRAL_WAIT);
    struct lr_lock lock = LR_LOCK_INIT(LR_RANK_CENTRAL);
    lr_latency_switch(true);
    wait_for(&lock); // without anybody to wait for
    lr_latency_switch(false);
    EXPECT_UINT(sum_of(LR_LATENCY_CENTRAL_WAIT), ==, before);
}
END_TEST

START_TEST(test_latency__by_the_api) {
    struct larder_latency_stats stats;
    unsigned index = 0;
    lr_latency_add(LR_LATENCY_RELEASE, 1000);
    for (; larder_stats_latency(index, &stats) == 0; index++) {
        EXPECT_INT(strcmp(stats.name, lr_latency_name(index)), ==, 0);
        EXPECT_UINT(strlen(stats.name), <, 32);
        EXPECT_UINT(stats.buckets[3], ==, index == LR_LATENCY_RELEASE);
        EXPECT_UINT(stats.sum_ns, ==, index == LR_LATENCY_RELEASE ? 1000 : 0);
    }
    EXPECT_UINT(index, ==, LR_LATENCY_KINDS);
    EXPECT_INT(larder_stats_latency(index, &stats), ==, -ENOENT);
    EXPECT_INT(larder_stats_latency(0, NULL), ==, -EINVAL);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("latency");
    test_add(suite, test_latency__buckets);
    test_add(suite, test_latency__each_operation_while_the_option_is_set);
    test_add(suite, test_latency__waits_for_locks);
    test_add(suite, test_latency__by_the_api);
    return suite;
}
