// SPDX-License-Identifier: Apache-2.0
//
// Recorded calls: all of them, in an order in which no address has two owners, and none any more
// when it is over. The tests play the recorder.
#include "cache/trace.h"

#include <larder/larder.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../support/child.h"
#include "../../support/crew.h"
#include "../../support/support.h"
#include "api/start.h"
#include "cache/thread_cache.h"
#include "cache/thread_state.h"
#include "os/os.h"

static struct larder_trace_header *header;
static size_t memory_bytes;

static void begin(uint64_t bytes) {
    uint64_t fd;
    EXPECT(lr_start());
    EXPECT_INT(lr_trace_begin(bytes, &fd), ==, 0);
    memory_bytes = lr_os_share_bytes((int)fd);
    EXPECT_UINT(memory_bytes, >=, bytes);
    header = mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    EXPECT(header != MAP_FAILED);
    EXPECT(header->magic == LARDER_TRACE_MAGIC);
}

static struct larder_trace_chunk *chunk(uint32_t i) {
    return (void *)((char *)header + (size_t)(i + 1) * LARDER_TRACE_CHUNK_BYTES);
}

static uint32_t state(uint32_t i) {
    return lr_load_acquire((atomic_u32 *)(void *)((char *)header + LARDER_TRACE_STATES) + i);
}

static unsigned kind(const struct larder_trace_event *event) {
    return (unsigned)(event->what >> 56);
}
static uint64_t size_of(const struct larder_trace_event *event) {
    return event->what & ((UINT64_C(1) << 48) - 1);
}

static int by_sequence(const void *a, const void *b) {
    const struct larder_trace_event *x = a, *y = b;
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

// All events so far, in order; the caller frees.
static struct larder_trace_event *collect(size_t *count) {
    struct larder_trace_event *events =
        malloc((size_t)header->chunks * LARDER_TRACE_EVENTS * sizeof *events);
    EXPECT(events != NULL);
    *count = 0;
    for (uint32_t i = 0; i < header->chunks; i++) {
        const uint32_t written = lr_load_acquire((atomic_u32 *)&chunk(i)->written);
        EXPECT_UINT(written, <=, LARDER_TRACE_EVENTS);
        memcpy(events + *count, chunk(i)->events, written * sizeof *events);
        *count += state(i) == LARDER_TRACE_FREE ? 0 : written;
    }
    qsort(events, *count, sizeof *events, by_sequence);
    return events;
}

START_TEST(test_trace__every_call_is_recorded_as_it_was) {
    void *before = larder_malloc(50);
    begin(1 << 20);
    EXPECT(lr_load_relaxed(&lr_thread_cache) == &lr_empty_cache);
    void *small = larder_malloc(100);
    void *zeroed = larder_calloc(3, 1000);
    void *large = larder_malloc(1 << 20);
    void *aligned = larder_aligned_alloc(512, 700);
    void *moved = larder_realloc(small, 5000);
    void *stays = larder_realloc(moved, 5001);
    EXPECT_PTR(moved, !=, small);
    EXPECT_PTR(stays, ==, moved);
    larder_free(zeroed);
    larder_free(NULL);
    larder_free_sized(large, 1 << 20);
    larder_free(before);
    EXPECT(larder_malloc(SIZE_MAX / 2) == NULL); // not an allocation
    lr_trace_end();
    larder_free(stays);
    larder_free(aligned);
    EXPECT(lr_load_relaxed(&lr_thread_cache) != &lr_empty_cache);

    const struct {
        unsigned kind;
        void *block;
        uint64_t size;
        unsigned align_log;
    } wanted[] = {
        {LARDER_TRACE_MALLOC, small, 100, 0},     {LARDER_TRACE_CALLOC, zeroed, 3000, 0},
        {LARDER_TRACE_MALLOC, large, 1 << 20, 0}, {LARDER_TRACE_ALIGNED, aligned, 700, 9},
        {LARDER_TRACE_REALLOC, small, 5000, 0},   {LARDER_TRACE_MALLOC, moved, 5000, 0},
        {LARDER_TRACE_DEALLOC, small, 112, 0},    {LARDER_TRACE_REALLOC_END, moved, 5000, 0},
        {LARDER_TRACE_REALLOC, moved, 5001, 0},   {LARDER_TRACE_REALLOC_END, moved, 5001, 0},
        {LARDER_TRACE_DEALLOC, zeroed, 3072, 0},  {LARDER_TRACE_DEALLOC, large, 1 << 20, 0},
        {LARDER_TRACE_DEALLOC, before, 64, 0},
    };
    size_t count;
    struct larder_trace_event *events = collect(&count);
    EXPECT_UINT(count, ==, sizeof wanted / sizeof *wanted);
    for (size_t i = 0; i < count; i++) {
        EXPECT_UINT(events[i].sequence, ==, i + 1);
        EXPECT_UINT(kind(&events[i]), ==, wanted[i].kind);
        EXPECT_UINT(events[i].block, ==, (size_t)wanted[i].block);
        EXPECT_UINT(size_of(&events[i]), ==, wanted[i].size);
        EXPECT_UINT(events[i].what >> 48 & 0xff, ==, wanted[i].align_log);
        EXPECT_UINT(events[i].time_ns, >=, header->begin_ns);
    }
    free(events);
}
END_TEST

// realloc in place takes the fast path again, and all sizes theirs.
START_TEST(test_trace__nothing_of_it_is_left) {
    begin(1 << 20);
    larder_free(larder_malloc(100));
    lr_trace_end();
    void *block = larder_malloc(100);
    struct thread_cache *cache = lr_load_relaxed(&lr_thread_cache);
    const uint64_t calls = lr_load_relaxed(&cache->slow_calls);
    for (int i = 0; i < 1000; i++) {
        larder_free(block);
        block = larder_realloc(larder_malloc(100), 101);
    }
    EXPECT_UINT(lr_load_relaxed(&cache->slow_calls), ==, calls);
    size_t count;
    free(collect(&count));
    EXPECT_UINT(count, ==, 2);
}
END_TEST

START_TEST(test_trace__what_does_not_fit_is_dropped_and_counted) {
    enum { CALLS = 10000 };
    begin(4 * LARDER_TRACE_CHUNK_BYTES);
    EXPECT_UINT(header->chunks, ==, 3);
    for (int i = 0; i < CALLS / 2; i++) {
        larder_free(larder_malloc(100));
    }
    EXPECT_UINT(header->dropped, ==, CALLS - 3 * LARDER_TRACE_EVENTS);
    // The recorder reads a chunk: there is room for as much again, and the number goes on.
    EXPECT_UINT(state(1), ==, LARDER_TRACE_FULL);
    lr_store_relaxed((atomic_u32 *)&chunk(1)->written, 0);
    lr_store_release((atomic_u32 *)(void *)((char *)header + LARDER_TRACE_STATES) + 1,
                     LARDER_TRACE_FREE);
    lr_store_release((atomic_u32 *)&header->freed, 1);
    larder_free(larder_malloc(100));
    EXPECT_UINT(chunk(1)->written, ==, 2);
    EXPECT_UINT(chunk(1)->events[0].sequence, ==, 3 * LARDER_TRACE_EVENTS + 1);
    // One that has not been there for long ends it.
    lr_store_relaxed((atomic_u64 *)&header->alive_ns, lr_os_now_ns() - UINT64_C(11000000000));
    EXPECT(lr_trace_on());
    for (int i = 0; i < LARDER_TRACE_EVENTS; i++) {
        larder_free(larder_malloc(100));
    }
    EXPECT(!lr_trace_on());
}
END_TEST

START_TEST(test_trace__one_recorder_at_a_time) {
    uint64_t fd;
    begin(1 << 20);
    EXPECT_INT(lr_trace_begin(1 << 20, &fd), ==, -EBUSY);
    lr_trace_end();
    EXPECT_INT(lr_trace_begin(1 << 20, &fd), ==, 0);
    lr_trace_end();
}
END_TEST

START_TEST(test_trace__hostile_memory_leads_nowhere) {
    begin(4 * LARDER_TRACE_CHUNK_BYTES);
    larder_free(larder_malloc(100));
    header->chunks = UINT32_MAX;
    chunk(0)->written = UINT32_MAX;
    header->wait_ms = 0;
    for (uint32_t i = 0; i < 3; i++) {
        ((uint32_t *)(void *)((char *)header + LARDER_TRACE_STATES))[i] = 77;
    }
    for (int i = 0; i < 2 * LARDER_TRACE_EVENTS; i++) {
        larder_free(larder_malloc(100));
    }
    EXPECT_UINT(header->dropped, >, 0);
}
END_TEST

START_TEST(test_trace__a_child_is_not_recorded) {
    begin(1 << 20);
    larder_free(larder_malloc(100));
    const pid_t child = fork();
    if (child == 0) {
        test_child_mark_current();
        EXPECT(!lr_trace_on());
        for (int i = 0; i < 100; i++) {
            larder_free(larder_malloc(100));
        }
        EXPECT(lr_load_relaxed(&lr_thread_cache) != &lr_empty_cache);
        uint64_t fd;
        EXPECT_INT(lr_trace_begin(1 << 20, &fd), ==, 0); // but may be, by itself
        larder_free(larder_malloc(100));
        _exit(0);
    }
    int status;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    larder_free(larder_malloc(100));
    size_t count;
    free(collect(&count));
    EXPECT_UINT(count, ==, 4);
}
END_TEST

enum { THREADS = 4, ROUNDS = 20000, SLOTS = 64 };
static _Atomic(void *) shared_blocks[SLOTS];

// Blocks go from thread to thread.
static void exchange(struct test_worker *worker) {
    struct test_rng rng = {worker->seed};
    for (int i = 0; i < ROUNDS; i++) {
        void *mine = larder_malloc(1 + test_rng_below(&rng, 300));
        larder_free(atomic_exchange(&shared_blocks[test_rng_below(&rng, SLOTS)], mine));
    }
}

struct owner {
    uint64_t block;
    bool live;
};

// No address is handed out twice, none is freed twice. `from_start`: none is freed unseen.
static void expect_consistent(const struct larder_trace_event *events, size_t count) {
    enum { TABLE = 1 << 18 };
    struct owner *table = calloc(TABLE, sizeof *table);
    EXPECT(table != NULL);
    for (size_t i = 0; i < count; i++) {
        size_t at = (events[i].block / 16 * 0x9E3779B97F4A7C15ULL) >> 46;
        while (table[at].block != 0 && table[at].block != events[i].block) {
            at = (at + 1) % TABLE;
        }
        table[at].block = events[i].block;
        if (kind(&events[i]) == LARDER_TRACE_MALLOC) {
            EXPECT(!table[at].live);
            table[at].live = true;
        } else {
            EXPECT(table[at].live);
            table[at].live = false;
        }
    }
    free(table);
}

START_TEST(test_trace__no_address_has_two_owners) {
    begin(32 << 20);
    static struct test_crew crew;
    test_crew_start(&crew, THREADS, exchange, NULL);
    test_crew_join(&crew);
    lr_trace_end();
    size_t count;
    struct larder_trace_event *events = collect(&count);
    size_t nulls = 0;
    for (int i = 0; i < SLOTS; i++) {
        nulls += shared_blocks[i] != NULL; // the first block of each slot freed nothing
    }
    EXPECT_UINT(header->dropped, ==, 0);
    EXPECT_UINT(count, ==, 2 * THREADS * ROUNDS - nulls);
    expect_consistent(events, count);
    free(events);
    for (uint32_t i = 0; i < header->chunks; i++) { // threads that have ended hold none
        EXPECT(state(i) != LARDER_TRACE_OWNED || chunk(i)->thread_id == lr_os_thread_id());
    }
}
END_TEST

static atomic_bool stop;
static void churn(struct test_worker *worker) {
    struct test_rng rng = {worker->seed};
    void *blocks[32] = {0};
    while (!atomic_load(&stop)) {
        void **slot = &blocks[test_rng_below(&rng, 32)];
        if (*slot != NULL) {
            EXPECT_FILLED(*slot, 40, (uintptr_t)*slot);
        }
        larder_free(*slot);
        *slot = larder_malloc(40);
        test_fill(*slot, 40, (uintptr_t)*slot);
    }
    for (int i = 0; i < 32; i++) {
        larder_free(blocks[i]);
    }
}

// On and off under threads that run: they are seen each time, and their heap stays sound.
START_TEST(test_trace__on_and_off_while_threads_run) {
    static struct test_crew crew;
    uint64_t fd;
    uint64_t seen = 0;
    begin(8 << 20);
    lr_trace_end();
    test_crew_start(&crew, THREADS, churn, NULL);
    for (int round = 0; round < 50; round++) {
        const uint64_t dropped = header->dropped;
        EXPECT_INT(lr_trace_begin(8 << 20, &fd), ==, 0);
        // More than the memory holds, by all of them.
        const uint64_t end = lr_os_now_ns() + 20000000;
        while (lr_os_now_ns() < end) {
            larder_free(larder_malloc(48));
        }
        lr_trace_end();
        EXPECT(round == 0 || header->dropped >= dropped);
        for (uint32_t i = 0; i < header->chunks; i++) {
            atomic_u32 *word = (atomic_u32 *)(void *)((char *)header + LARDER_TRACE_STATES) + i;
            if (lr_load_acquire(word) == LARDER_TRACE_FULL) {
                seen += chunk(i)->written;
                lr_store_relaxed((atomic_u32 *)&chunk(i)->written, 0);
                lr_store_release(word, LARDER_TRACE_FREE);
            }
        }
        lr_fetch_add_relaxed((atomic_u32 *)&header->freed, 1);
    }
    atomic_store(&stop, true);
    test_crew_join(&crew);
    for (uint32_t i = 0; i < header->chunks; i++) {
        seen += chunk(i)->written;
    }
    EXPECT_UINT(seen, >, 0);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("trace");
    test_add(suite, test_trace__every_call_is_recorded_as_it_was);
    test_add(suite, test_trace__nothing_of_it_is_left);
    test_add(suite, test_trace__what_does_not_fit_is_dropped_and_counted);
    test_add(suite, test_trace__one_recorder_at_a_time);
    test_add(suite, test_trace__hostile_memory_leads_nowhere);
    test_add(suite, test_trace__a_child_is_not_recorded);
    test_add(suite, test_trace__no_address_has_two_owners);
    test_add(suite, test_trace__on_and_off_while_threads_run);
    return suite;
}
