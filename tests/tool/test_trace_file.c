// SPDX-License-Identifier: Apache-2.0
//
// Files of recorded calls: what was written is read, and no file that is cut off, damaged or
// hostile leads the reader out of its bytes (which the sanitizers watch).
#include "tool/trace_file.h"

#include <stdlib.h>
#include <string.h>

#include "../support/support.h"

enum { EVENTS = 10000 };

static const struct trace_file_header header = {.process_id = 4711, .name = "program"};

static bool is_alloc(uint8_t kind) {
    return kind != LARDER_TRACE_DEALLOC && kind != LARDER_TRACE_REALLOC_END;
}

// Events of two threads, by sequence.
static struct trace_event *make_events(void) {
    struct trace_event *events = calloc(EVENTS, sizeof *events);
    struct test_rng rng = {test_seed()};
    EXPECT(events != NULL);
    for (size_t i = 0; i < EVENTS; i++) {
        struct trace_event *event = &events[i];
        event->sequence = i + 1;
        event->thread = i % 100 < 50 ? 1 : 7;
        event->time_ns = i * 1000 + test_rng_below(&rng, 1000);
        event->block = 0x7f0000000000 + test_rng_below(&rng, 1 << 30) * (i % 10 == 0 ? 1 : 16);
        event->kind = (uint8_t)(1 + test_rng_below(&rng, LARDER_TRACE_REALLOC_END));
        event->has_size = is_alloc(event->kind);
        event->size = event->has_size ? test_rng_size(&rng, (size_t)1 << 40) : 0;
        event->align_log = event->kind == LARDER_TRACE_ALIGNED ? (uint8_t)(i % 20) : 0;
    }
    return events;
}

static void add_thread(struct trace_writer *w, uint32_t thread, const struct trace_event *events,
                       size_t count) {
    struct trace_event *own = calloc(count, sizeof *own);
    size_t mine = 0;
    for (size_t i = 0; i < count; i++) {
        if (events[i].thread == thread) {
            own[mine++] = events[i];
        }
    }
    lr_trace_writer_add(w, thread, 100 + thread, own, mine);
    free(own);
}

// A whole file in memory; the caller frees.
static char *make_file(const struct trace_event *events, size_t *bytes) {
    char *file = NULL;
    FILE *out = open_memstream(&file, bytes);
    struct trace_writer w;
    lr_trace_writer_begin(&w, out, &header);
    add_thread(&w, 7, events, EVENTS); // not by sequence
    add_thread(&w, 1, events, EVENTS);
    EXPECT(lr_trace_writer_end(&w, 5, 6));
    EXPECT_UINT(w.events, ==, EVENTS);
    EXPECT_INT(fclose(out), ==, 0);
    EXPECT_UINT(w.bytes, ==, *bytes);
    return file;
}

static const char *read_bytes(const char *file, size_t bytes, struct trace *out) {
    char *copy = malloc(bytes + 1); // of the exact size for the sanitizers, but not of none
    memcpy(copy, file, bytes);
    FILE *in = fmemopen(copy, bytes, "r");
    EXPECT(in != NULL);
    const char *wrong = lr_trace_read(in, out);
    fclose(in);
    free(copy);
    return wrong;
}

START_TEST(test_trace_file__what_was_written_is_read) {
    struct trace_event *events = make_events();
    struct trace trace;
    size_t bytes;
    char *file = make_file(events, &bytes);
    EXPECT(read_bytes(file, bytes, &trace) == NULL);
    EXPECT(!trace.cut_off);
    EXPECT_UINT(trace.header.process_id, ==, 4711);
    ck_assert_str_eq(trace.header.name, "program");
    EXPECT_UINT(trace.threads, ==, 8);
    EXPECT_UINT(trace.end.dropped, ==, 5);
    EXPECT_UINT(trace.end.events, ==, EVENTS);
    EXPECT_UINT(trace.count, ==, EVENTS);
    for (size_t i = 0; i < EVENTS; i++) {
        EXPECT_UINT(trace.events[i].sequence, ==, events[i].sequence);
        EXPECT_UINT(trace.events[i].time_ns, ==, events[i].time_ns);
        EXPECT_UINT(trace.events[i].block, ==, events[i].block);
        EXPECT_UINT(trace.events[i].size, ==, events[i].size);
        EXPECT_UINT(trace.events[i].thread, ==, events[i].thread);
        EXPECT_UINT(trace.events[i].kind, ==, events[i].kind);
        EXPECT_UINT(trace.events[i].align_log, ==, events[i].align_log);
        EXPECT_UINT(trace.events[i].has_size, ==, events[i].has_size);
    }
    lr_trace_free(&trace);
    free(file);
    free(events);
}
END_TEST

START_TEST(test_trace_file__ordinary_events_are_small) {
    struct trace_event events[2000];
    char *file = NULL;
    size_t bytes;
    FILE *out = open_memstream(&file, &bytes);
    struct trace_writer w;
    for (size_t i = 0; i < 2000; i++) {
        events[i] = (struct trace_event){.sequence = i + 1,
                                         .time_ns = i * 100,
                                         .block = 0x7f0000000000 + (i * 7919) % 1000 * 112,
                                         .size = 100 + i % 13,
                                         .kind = LARDER_TRACE_MALLOC,
                                         .has_size = true};
    }
    lr_trace_writer_begin(&w, out, &header);
    lr_trace_writer_add(&w, 1, 1, events, 2000);
    EXPECT(lr_trace_writer_end(&w, 0, 0));
    fclose(out);
    EXPECT_UINT(bytes, <, 2000 * 6 + 200);
    free(file);
}
END_TEST

// What is left is the beginning of each thread's events.
START_TEST(test_trace_file__a_cut_off_file_is_used_as_far_as_it_goes) {
    struct trace_event *events = make_events();
    struct trace trace;
    size_t bytes;
    char *file = make_file(events, &bytes);
    bool some = false;
    for (size_t cut = 0; cut < bytes; cut += cut < 200 ? 1 : 997) {
        const char *wrong = cut == 0 ? "nothing" : read_bytes(file, cut, &trace);
        EXPECT((wrong != NULL) == (cut < sizeof header));
        if (wrong == NULL) {
            EXPECT(trace.cut_off);
            EXPECT_UINT(trace.count, <=, EVENTS);
            some |= trace.count > 0 && trace.count < EVENTS;
        }
        if (cut != 0) {
            lr_trace_free(&trace);
        }
    }
    EXPECT(some);
    free(file);
    free(events);
}
END_TEST

START_TEST(test_trace_file__damaged_files_do_no_harm) {
    struct trace_event *events = make_events();
    struct test_rng rng = {test_seed()};
    struct trace trace;
    size_t bytes;
    char *file = make_file(events, &bytes);
    for (int i = 0; i < 300; i++) {
        char *bad = malloc(bytes);
        memcpy(bad, file, bytes);
        for (uint64_t n = 1 + test_rng_below(&rng, 8); n > 0; n--) {
            // Half of them in the headers, where they do most.
            const uint64_t at = test_rng_below(&rng, test_rng_below(&rng, 2) ? bytes : 120);
            bad[at] = (char)test_rng_next(&rng);
        }
        if (read_bytes(bad, bytes, &trace) == NULL) {
            for (size_t e = 1; e < trace.count; e++) {
                EXPECT_UINT(trace.events[e - 1].sequence, <, trace.events[e].sequence);
                EXPECT_UINT(trace.events[e].thread, <, trace.threads);
            }
        }
        lr_trace_free(&trace);
        free(bad);
    }
    free(file);
    free(events);
}
END_TEST

// A block that promises more than it has, as far as numbers go.
START_TEST(test_trace_file__hostile_counts_are_refused) {
    const struct trace_file_block hostile[] = {
        {.kind = TRACE_FILE_EVENTS, .events = UINT32_MAX, .raw = 16, .stored = 16},
        {.kind = TRACE_FILE_EVENTS, .events = 3, .raw = UINT32_MAX, .stored = UINT32_MAX},
        {.kind = TRACE_FILE_EVENTS, .events = 3, .raw = 16, .stored = 17},
        {.kind = TRACE_FILE_EVENTS, .events = 3, .raw = 1 << 20, .stored = 3},
        {.kind = TRACE_FILE_EVENTS, .thread = UINT32_MAX, .events = 3, .raw = 16, .stored = 16},
        {.kind = TRACE_FILE_END, .raw = 1, .stored = 1},
    };
    struct trace_file_header good = header;
    good.magic = TRACE_FILE_MAGIC;
    good.version = TRACE_FILE_VERSION;
    good.header_bytes = sizeof good;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        char file[sizeof good + sizeof *hostile + 32] = {0};
        struct trace trace;
        memcpy(file, &good, sizeof good);
        memcpy(file + sizeof good, &hostile[i], sizeof *hostile);
        memset(file + sizeof good + sizeof *hostile, 0xff, 32);
        EXPECT(read_bytes(file, sizeof file, &trace) == NULL);
        EXPECT_UINT(trace.count, ==, 0);
        EXPECT(trace.cut_off);
        lr_trace_free(&trace);
    }
    struct trace trace;
    good.version++;
    EXPECT(read_bytes((const char *)&good, sizeof good, &trace) != NULL);
}
END_TEST

// Numbers that a reader could not add to.
START_TEST(test_trace_file__hostile_sequences_end_the_reading) {
    const struct trace_event events[] = {
        {.sequence = 1, .block = 16, .size = 1, .kind = LARDER_TRACE_MALLOC, .has_size = true},
        {.sequence = UINT64_MAX - 1, .block = 32, .kind = LARDER_TRACE_DEALLOC},
        {.sequence = UINT64_MAX, .block = 16, .kind = LARDER_TRACE_DEALLOC},
    };
    struct trace trace;
    struct trace_writer w;
    char *file = NULL;
    size_t bytes;
    FILE *out = open_memstream(&file, &bytes);
    lr_trace_writer_begin(&w, out, &header);
    lr_trace_writer_add(&w, 1, 1, events, sizeof events / sizeof *events);
    EXPECT(lr_trace_writer_end(&w, 0, 0));
    fclose(out);
    EXPECT(read_bytes(file, bytes, &trace) == NULL);
    EXPECT_UINT(trace.count, ==, 1);
    EXPECT(trace.cut_off);
    lr_trace_free(&trace);
    free(file);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("trace_file");
    test_add(suite, test_trace_file__what_was_written_is_read);
    test_add(suite, test_trace_file__ordinary_events_are_small);
    test_add(suite, test_trace_file__a_cut_off_file_is_used_as_far_as_it_goes);
    test_add(suite, test_trace_file__damaged_files_do_no_harm);
    test_add(suite, test_trace_file__hostile_counts_are_refused);
    test_add(suite, test_trace_file__hostile_sequences_end_the_reading);
    return suite;
}
