// SPDX-License-Identifier: Apache-2.0
//
// The reference for "no two live blocks overlap": address ranges in one sorted array. Slow and
// simple on purpose. Not thread-safe: callers that share one hold a mutex.
#ifndef LARDER_TESTS_INTERVAL_SET_H
#define LARDER_TESTS_INTERVAL_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test_interval {
    uintptr_t begin;
    uintptr_t end; // first byte after; a range of 0 bytes counts as 1, so that addresses are unique
};

// Invariant: ranges[0 .. count) are disjoint and sorted by begin.
struct test_interval_set {
    struct test_interval *ranges; // of the caller
    size_t capacity;
    size_t count;
};

// False when [p, p + bytes) overlaps a member, which it then leaves alone. The set must have room.
bool test_interval_add(struct test_interval_set *set, const void *p, size_t bytes);

// False when no member begins at p.
bool test_interval_remove(struct test_interval_set *set, const void *p);

#endif
