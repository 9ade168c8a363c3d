// SPDX-License-Identifier: Apache-2.0
//
// Walks the whole heap and compares all that is known of it twice: maps with descriptors, bitmaps
// with counts, central lists with spans, cached pointers with the state of their objects.
#ifndef LARDER_TESTS_HEAP_CHECK_H
#define LARDER_TESTS_HEAP_CHECK_H

// NULL if all is well, else the first invariant that is broken. No other thread uses the heap
// meanwhile. For the default mode.
const char *test_heap_fault(void);

#endif
