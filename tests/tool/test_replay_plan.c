// SPDX-License-Identifier: Apache-2.0
//
// Plans made from recordings, also from nonsense: done in the order of the recording, each
// operation finds its block, no place is filled twice, and what is left at the end is what plan
// says.
#include "tool/replay_plan.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../support/support.h"

static int by_order(const void *a, const void *b) {
    const struct plan_op *x = a;
    const struct plan_op *y = b;
    return x->order < y->order ? -1 : x->order > y->order;
}

// Runs the plan without any memory; the number of blocks left.
static size_t simulate(struct plan *plan) {
    bool *full = calloc(plan->slot_count + 1, sizeof *full);
    size_t live = 0;
    for (uint32_t t = 0; t < plan->thread_count; t++) {
        const struct plan_thread *thread = &lr_plan_threads(plan)[t];
        EXPECT_UINT(thread->count, >, 0);
        EXPECT_UINT(thread->first + thread->count, <=, plan->op_count);
        for (uint64_t i = 1; i < thread->count; i++) {
            const struct plan_op *op = &lr_plan_ops(plan)[thread->first + i];
            EXPECT_UINT((op - 1)->order, <=, op->order);
        }
    }
    for (uint64_t i = 0; i < plan->before_count; i++) {
        const uint64_t slot = lr_plan_before(plan)[i].slot;
        EXPECT_UINT(slot, <, plan->slot_count);
        EXPECT(!full[slot]);
        full[slot] = true;
        live++;
    }
    qsort(lr_plan_ops(plan), plan->op_count, sizeof(struct plan_op), by_order);
    for (uint64_t i = 0; i < plan->op_count; i++) {
        const struct plan_op *op = &lr_plan_ops(plan)[i];
        EXPECT_UINT(op->slot, <, plan->slot_count);
        EXPECT_UINT(op->to, <, plan->slot_count);
        const bool gives = op->kind == LARDER_TRACE_DEALLOC || op->kind == LARDER_TRACE_REALLOC;
        if (gives) {
            EXPECT(full[op->slot]);
            full[op->slot] = false;
            live--;
        }
        if (op->kind != LARDER_TRACE_DEALLOC) {
            EXPECT(!full[op->to]);
            full[op->to] = true;
            live++;
        }
    }
    free(full);
    return live;
}

static void check(const struct trace *trace) {
    int fd;
    struct plan *plan = lr_plan_make(trace, &fd);
    EXPECT(plan != NULL);
    EXPECT_UINT(simulate(plan), ==, plan->live_blocks);
    munmap(plan, plan->bytes);
    close(fd);
}

START_TEST(test_replay_plan__blocks_go_between_threads_and_move) {
    const struct {
        uint8_t kind;
        uint32_t thread;
        uint64_t block, size;
    } calls[] = {
        {LARDER_TRACE_MALLOC, 1, 0x1000, 10},     {LARDER_TRACE_CALLOC, 2, 0x2000, 20},
        {LARDER_TRACE_DEALLOC, 2, 0x1000, 16},    {LARDER_TRACE_ALIGNED, 1, 0x1000, 30},
        {LARDER_TRACE_REALLOC, 1, 0x2000, 50},    {LARDER_TRACE_MALLOC, 1, 0x3000, 50},
        {LARDER_TRACE_DEALLOC, 1, 0x2000, 32},    {LARDER_TRACE_MALLOC, 2, 0x2000, 40},
        {LARDER_TRACE_REALLOC_END, 1, 0x3000, 0}, {LARDER_TRACE_DEALLOC, 2, 0x9000, 64},
        {LARDER_TRACE_REALLOC, 2, 0x1000, 31},    {LARDER_TRACE_REALLOC_END, 2, 0x1000, 0},
        {LARDER_TRACE_DEALLOC, 1, 0x1000, 32},
    };
    enum { CALLS = sizeof calls / sizeof *calls };
    struct trace_event events[CALLS];
    struct trace trace = {.events = events, .count = CALLS, .threads = 3};
    for (size_t i = 0; i < CALLS; i++) {
        events[i] = (struct trace_event){.sequence = i + 1,
                                         .thread = calls[i].thread,
                                         .kind = calls[i].kind,
                                         .block = calls[i].block,
                                         .size = calls[i].size};
    }
    int fd;
    struct plan *plan = lr_plan_make(&trace, &fd);
    EXPECT(plan != NULL);
    EXPECT_UINT(plan->thread_count, ==, 2);
    EXPECT_UINT(plan->allocations, ==, 4);
    EXPECT_UINT(plan->frees, ==, 3);
    EXPECT_UINT(plan->reallocs, ==, 2);
    EXPECT_UINT(plan->unseen, ==, 1);
    EXPECT_UINT(plan->lost, ==, 0);
    EXPECT_UINT(plan->live_blocks, ==, 2);
    EXPECT_UINT(plan->live_bytes, ==, 90);
    EXPECT_UINT(plan->before_count, ==, 1);
    EXPECT_UINT(lr_plan_before(plan)[0].size, ==, 64);
    EXPECT_UINT(plan->op_count, ==, 9);
    EXPECT_UINT(simulate(plan), ==, 2);
    munmap(plan, plan->bytes);
    close(fd);
}
END_TEST

// Few addresses and kinds by chance: freed twice, handed out twice, resized halfway.
START_TEST(test_replay_plan__nonsense_becomes_a_plan_that_ends) {
    enum { EVENTS = 5000 };
    struct test_rng rng = {test_seed()};
    for (int round = 0; round < 40; round++) {
        struct trace_event *events = calloc(EVENTS, sizeof *events);
        const uint32_t threads = 1 + (uint32_t)test_rng_below(&rng, 5);
        uint64_t sequence = 0;
        for (size_t i = 0; i < EVENTS; i++) {
            sequence += 1 + test_rng_below(&rng, 100) * (round % 2 == 0);
            events[i] = (struct trace_event){
                .sequence = sequence,
                .thread = (uint32_t)test_rng_below(&rng, threads),
                .kind = (uint8_t)(1 + test_rng_below(&rng, LARDER_TRACE_REALLOC_END)),
                .block = 16 * test_rng_below(&rng, 1 + 50 * (uint64_t)round),
                .size = test_rng_below(&rng, 3)};
        }
        const struct trace trace = {.events = events, .count = EVENTS, .threads = threads};
        check(&trace);
        free(events);
    }
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("replay_plan");
    test_add(suite, test_replay_plan__blocks_go_between_threads_and_move);
    test_add(suite, test_replay_plan__nonsense_becomes_a_plan_that_ends);
    return suite;
}
