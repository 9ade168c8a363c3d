// SPDX-License-Identifier: Apache-2.0
//
// Sorted array of disjoint ranges: see interval_set.h.
#include "interval_set.h"

#include <string.h>

#include "support.h"

// Index of the first member that ends after `address`.
static size_t first_ending_after(const struct test_interval_set *set, uintptr_t address) {
    size_t low = 0;
    size_t high = set->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (set->ranges[middle].end > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

bool test_interval_add(struct test_interval_set *set, const void *p, size_t bytes) {
    const uintptr_t begin = (uintptr_t)p;
    const uintptr_t end = begin + (bytes == 0 ? 1 : bytes);
    EXPECT_UINT(set->count, <, set->capacity);
    EXPECT_UINT(end, >, begin);
    const size_t at = first_ending_after(set, begin);
    if (at < set->count && set->ranges[at].begin < end)
        return false;
    memmove(&set->ranges[at + 1], &set->ranges[at], (set->count - at) * sizeof set->ranges[0]);
    set->ranges[at] = (struct test_interval){begin, end};
    set->count++;
    return true;
}

bool test_interval_remove(struct test_interval_set *set, const void *p) {
    const uintptr_t begin = (uintptr_t)p;
    const size_t at = first_ending_after(set, begin);
    if (at == set->count || set->ranges[at].begin != begin)
        return false;
    set->count--;
    memmove(&set->ranges[at], &set->ranges[at + 1], (set->count - at) * sizeof set->ranges[0]);
    return true;
}
