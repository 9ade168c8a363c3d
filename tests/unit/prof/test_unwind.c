// SPDX-License-Identifier: Apache-2.0
//
// Stacks of known shape: deep, of code without frame pointers, of an odd thread, of code without
// tables.
#include "prof/unwind.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cache/thread_state.h"
#include "prof/cfi.h"
#include "prof/module.h"
#include "support.h"
#include <larder/larder.h>

static size_t pcs[LR_UNWIND_MOST];
static unsigned depth;

static void start(void) { larder_free(test_opaque_ptr(larder_malloc(1))); }

// In a section of its own, so that its addresses are known.
extern const char __start_text_descend[], __stop_text_descend[];

// Each level is a frame of another size, and a return address inside descend().
__attribute__((noinline, noclone, section("text_descend"))) static unsigned
descend(unsigned levels) {
    volatile char room[64];
    room[levels % 64] = 1;
    if (levels == 0)
        depth = lr_unwind(pcs, LR_UNWIND_MOST);
    else
        depth += descend(levels - 1) * 0;
    return (unsigned char)room[levels % 64];
}

static unsigned frames_of_descend(void) {
    unsigned count = 0;
    for (unsigned i = 0; i < depth; i++)
        count += pcs[i] >= (size_t)__start_text_descend && pcs[i] <= (size_t)__stop_text_descend;
    return count;
}

START_TEST(test_unwind__counts_the_levels) {
    start();
    for (unsigned levels = 0; levels < 60; levels += 7) {
        (void)descend(levels);
        unsigned own = frames_of_descend();
        EXPECT_UINT(own, ==, levels + 1);
        EXPECT_UINT(depth, >, levels + 2); // the caller, main
    }
}
END_TEST

START_TEST(test_unwind__deep_stack_is_cut) {
    start();
    (void)descend(500);
    EXPECT_UINT(depth, ==, LR_UNWIND_MOST);
    for (unsigned i = 1; i + 1 < LR_UNWIND_MOST; i++)
        EXPECT_UINT(pcs[i], ==, pcs[1]); // the same call each time
}
END_TEST

// Frames of many pages, with small ones between them.
static unsigned stride(unsigned levels);

__attribute__((noinline, noclone, section("text_descend"))) static unsigned pass(unsigned levels) {
    volatile char room[16];
    room[levels % 16] = 1;
    depth += stride(levels) * 0;
    return (unsigned char)room[levels % 16];
}

__attribute__((noinline, noclone, section("text_descend"))) static unsigned
stride(unsigned levels) {
    volatile char room[40000];
    room[levels] = 1;
    if (levels == 0)
        (void)descend(2);
    else if (levels % 2 == 0)
        depth += stride(levels - 1) * 0;
    else
        depth += pass(levels - 1) * 0;
    return (unsigned char)room[levels];
}

START_TEST(test_unwind__long_frames) {
    start();
    for (unsigned levels = 0; levels < 40; levels += 3) {
        (void)stride(levels);
        const unsigned frames = levels + 1 + (levels + 1) / 2 + 3; // stride(), pass(), descend()
        EXPECT_UINT(frames_of_descend(), ==, frames);
        EXPECT_UINT(depth, >, frames);
    }
}
END_TEST

static int compare(const void *a, const void *b) {
    (void)a;
    (void)b;
    if (depth == 0)
        depth = lr_unwind(pcs, LR_UNWIND_MOST);
    return 0;
}

// qsort() of libc is compiled without frame pointers.
START_TEST(test_unwind__through_libc) {
    start();
    int array[8] = {0};
    depth = 0;
    qsort(array, 8, sizeof array[0], compare);
    unsigned found = 0;
    for (unsigned i = 0; i < depth; i++)
        found += lr_module_find(pcs[i]) == lr_module_find((size_t)compare);
#if defined(__x86_64__)
    EXPECT_UINT(found, >=, 2); // compare(), and behind libc's frames this function
    EXPECT_UINT(found, <, depth);
#else
    EXPECT_UINT(found, >=, 1);
#endif
}
END_TEST

static void *on_thread(void *unused) {
    (void)unused;
    (void)descend(3);
    return NULL;
}

// The walk stays inside a stack that ends where nothing is mapped.
START_TEST(test_unwind__small_thread_stack) {
    start();
    pthread_attr_t attributes;
    pthread_t thread;
    EXPECT_INT(pthread_attr_init(&attributes), ==, 0);
    if (!TEST_UNDER_ASAN && !TEST_UNDER_TSAN)
        EXPECT_INT(pthread_attr_setstacksize(&attributes, 32768), ==, 0);
    EXPECT_INT(pthread_create(&thread, &attributes, on_thread, NULL), ==, 0);
    EXPECT_INT(pthread_join(thread, NULL), ==, 0);
    EXPECT_UINT(frames_of_descend(), ==, 4);
}
END_TEST

#if defined(__x86_64__) && !LARDER_ASAN && !LARDER_TSAN
static unsigned call_unwind(void) {
    depth = lr_unwind(pcs, LR_UNWIND_MOST);
    return depth;
}

// push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret: code made at run time, with a frame pointer
// and without a table.
START_TEST(test_unwind__code_made_at_run_time) {
    start();
    static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(page != MAP_FAILED);
    memcpy(page, code, sizeof code);
    if (mprotect(page, 4096, PROT_READ | PROT_EXEC) != 0)
        TEST_SKIP("no code may be made at run time here");
    unsigned (*made)(unsigned (*)(void));
    memcpy(&made, &page, sizeof made);
    (void)made(call_unwind);
    EXPECT_UINT(pcs[1], ==, (size_t)page + 6);
    EXPECT_UINT(depth, >=, 3);
    EXPECT_PTR(lr_module_find(pcs[2]), ==, lr_module_find((size_t)call_unwind));
}
END_TEST
#endif

// Tables that are cut or are no tables are refused, not followed.
START_TEST(test_unwind__bad_tables) {
    start();
    static unsigned char bytes[256];
    struct lr_frame_rule rule;
    struct test_rng rng = {test_seed()};
    for (unsigned i = 0; i < 20000; i++) {
        for (unsigned k = 0; k < sizeof bytes; k++)
            bytes[k] = (unsigned char)test_rng_next(&rng);
        const uint32_t length = (uint32_t)test_rng_below(&rng, 300);
        memcpy(bytes, &length, sizeof length);
        const uint32_t back = (uint32_t)test_rng_below(&rng, 64);
        memcpy(bytes + 4, &back, sizeof back);
        (void)lr_cfi_read((size_t)bytes, (size_t)bytes, &rule);
        (void)lr_cfi_read((size_t)test_rng_next(&rng), 0, &rule);
    }
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("prof/unwind");
    test_add(suite, test_unwind__counts_the_levels);
    test_add(suite, test_unwind__deep_stack_is_cut);
    test_add(suite, test_unwind__long_frames);
    test_add(suite, test_unwind__through_libc);
    test_add(suite, test_unwind__small_thread_stack);
#if defined(__x86_64__) && !LARDER_ASAN && !LARDER_TSAN
    test_add(suite, test_unwind__code_made_at_run_time);
#endif
    test_add(suite, test_unwind__bad_tables);
    return suite;
}
