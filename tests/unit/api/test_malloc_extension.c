// SPDX-License-Identifier: Apache-2.0
//
// Whose a pointer is, and gperftools' C functions: they answer by Larder's figures and options.
#include <larder/ctl.h>
#include <larder/larder.h>
#include <larder/stats.h>

#include <string.h>

#include "../../support/support.h"

int MallocExtension_GetNumericProperty(const char *property, size_t *value);
int MallocExtension_SetNumericProperty(const char *property, size_t value);
void MallocExtension_GetStats(char *buffer, int buffer_length);
int MallocExtension_MallocMemoryStats(int *blocks, size_t *total, int histogram[64]);
void MallocExtension_ReleaseFreeMemory(void);
void MallocExtension_MarkThreadIdle(void);
size_t MallocExtension_GetEstimatedAllocatedSize(size_t size);
size_t MallocExtension_GetAllocatedSize(const void *block);
int MallocExtension_GetOwnership(const void *block);

static const size_t sizes[] = {1, 16, 100, 5000, 100000, 262144, 262145, 3000000};
enum { SIZES = sizeof sizes / sizeof *sizes };

START_TEST(test_malloc_extension__owns_its_blocks_and_nothing_else) {
    static char own[64];
    EXPECT_INT(larder_owns(NULL), ==, 0);
    EXPECT_INT(larder_owns(own), ==, 0);
    EXPECT_INT(larder_owns(&own), ==, 0);
    EXPECT_INT(larder_owns((void *)16), ==, 0);
    for (int i = 0; i < SIZES; i++) {
        char *block = larder_malloc(sizes[i]);
        EXPECT_INT(larder_owns(block), ==, 1);
        EXPECT_INT(larder_owns(block + 8), ==, 0); // inside of it
        EXPECT_INT(MallocExtension_GetOwnership(block), ==, 1);
        EXPECT_UINT(MallocExtension_GetAllocatedSize(block), ==,
                    MallocExtension_GetEstimatedAllocatedSize(sizes[i]));
        larder_free(block);
    }
    void *aligned = larder_aligned_alloc((size_t)1 << 31, 100); // outside the window
    if (aligned != NULL) {
        EXPECT_INT(larder_owns(aligned), ==, 1);
        larder_free(aligned);
        EXPECT_INT(larder_owns(aligned), ==, 0);
    }
    EXPECT_INT(MallocExtension_GetOwnership(own), ==, 2);
}
END_TEST

static size_t property(const char *name) {
    size_t value = SIZE_MAX;
    if (MallocExtension_GetNumericProperty(name, &value) != 1)
        test_fail(__FILE__, __LINE__, "no property %s", name);
    return value;
}

START_TEST(test_malloc_extension__properties) {
    const size_t before = property("generic.current_allocated_bytes");
    void *block = larder_malloc(3000000);
    EXPECT_UINT(property("generic.current_allocated_bytes"), ==,
                before + larder_malloc_usable_size(block));
    EXPECT_UINT(property("generic.heap_size"), >, 3000000);
    larder_free(block);
    EXPECT_UINT(property("tcmalloc.pageheap_free_bytes"), >=, 3000000);
    MallocExtension_ReleaseFreeMemory();
    EXPECT_UINT(property("tcmalloc.pageheap_free_bytes"), <, 1000000);
    EXPECT_UINT(property("tcmalloc.pageheap_unmapped_bytes"), >=, 3000000);
    for (int i = 0; i < 100; i++)
        larder_free(larder_malloc(100));
    EXPECT_UINT(property("tcmalloc.current_total_thread_cache_bytes"), >, 0);
    MallocExtension_MarkThreadIdle();
    EXPECT_UINT(property("tcmalloc.current_total_thread_cache_bytes"), ==, 0);

    uint64_t value = 0;
    EXPECT_INT(MallocExtension_SetNumericProperty("tcmalloc.max_total_thread_cache_bytes", 5 << 20),
               ==, 1);
    EXPECT_INT(larder_option_get("thread_cache_total", &value), ==, 0);
    EXPECT_UINT(value, ==, 5 << 20);
    EXPECT_UINT(property("tcmalloc.max_total_thread_cache_bytes"), ==, 5 << 20);
    EXPECT_INT(MallocExtension_SetNumericProperty("tcmalloc.max_total_thread_cache_bytes", 1), ==,
               0); // out of range
    EXPECT_INT(MallocExtension_SetNumericProperty("generic.heap_size", 1), ==, 0);
    size_t untouched = 7;
    EXPECT_INT(MallocExtension_GetNumericProperty("no.such", &untouched), ==, 0);
    EXPECT_UINT(untouched, ==, 7);
}
END_TEST

START_TEST(test_malloc_extension__statistics) {
    int blocks = -1, histogram[64], after[64];
    size_t total = 0;
    void *live[10];
    EXPECT_INT(MallocExtension_MallocMemoryStats(&blocks, &total, histogram), ==, 1);
    const int blocks_before = blocks;
    for (int i = 0; i < 10; i++)
        live[i] = larder_malloc(i < 9 ? 4096 : 1 << 20);
    EXPECT_INT(MallocExtension_MallocMemoryStats(&blocks, &total, after), ==, 1);
    EXPECT_INT(blocks, ==, blocks_before + 10);
    EXPECT_INT(after[12], ==, histogram[12] + 9);
    EXPECT_INT(after[20], ==, histogram[20] + 1);
    EXPECT_UINT(total, >=, 9 * 4096 + (1 << 20));
    for (int i = 0; i < 10; i++)
        larder_free(live[i]);

    char text[200];
    memset(text, 'x', sizeof text);
    MallocExtension_GetStats(text, 100);
    EXPECT_UINT(strlen(text), ==, 99);
    EXPECT_INT(text[100], ==, 'x');
    EXPECT(strstr(text, "live_bytes") != NULL);
    MallocExtension_GetStats(text, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("malloc_extension");
    test_add(suite, test_malloc_extension__owns_its_blocks_and_nothing_else);
    test_add(suite, test_malloc_extension__properties);
    test_add(suite, test_malloc_extension__statistics);
    return suite;
}
