// SPDX-License-Identifier: Apache-2.0
//
// The reports made for glibc's callers agree with Larder's statistics and with themselves;
// tests/api looks at them from outside.
#define _GNU_SOURCE 1

#include <larder/ctl.h>
#include <larder/larder.h>
#include <larder/stats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../support/child.h"
#include "../../support/support.h"
#include "base/config.h"

enum { BLOCKS = 600 };
static void *blocks[BLOCKS];

// Blocks of many classes, live and free in every tier, and some with pages of their own. The
// scavenger would move figures between two reports.
static void fill_heap(void) {
    EXPECT_INT(larder_option_set("scavenger", 2), ==, 0);
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = larder_malloc(i * (size_t)i * 3);
        EXPECT(blocks[i] != NULL);
    }
    for (unsigned i = 0; i < BLOCKS; i += 3)
        larder_free(blocks[i]);
    larder_thread_flush();
    for (unsigned i = 1; i < BLOCKS; i += 3)
        larder_free(blocks[i]);
}

static struct larder_stats stats_now(void) {
    struct larder_stats stats;
    EXPECT_INT(larder_stats_get(&stats, sizeof stats), ==, 0);
    return stats;
}

START_TEST(test_glibc_info__mallinfo_is_the_statistics) {
    fill_heap();
    const struct mallinfo2 info = larder_mallinfo2();
    const struct larder_stats stats = stats_now();
    EXPECT_UINT(info.hblks, ==, stats.large_blocks);
    EXPECT_UINT(info.hblks, >, 100);
    EXPECT_UINT(info.hblkhd, ==, stats.large_bytes);
    EXPECT_UINT(info.uordblks, ==, stats.live_bytes - stats.large_bytes);
    EXPECT_UINT(info.fsmblks, ==, stats.thread_cache_bytes + stats.transfer_cache_bytes);
    EXPECT_UINT(info.fsmblks, >, 0);
    EXPECT_UINT(info.keepcost, ==, stats.span_heap_free_bytes);
    EXPECT_UINT(info.fordblks, ==,
                info.fsmblks + stats.central_free_bytes + stats.span_tail_bytes + info.keepcost);
    EXPECT_UINT(info.arena, ==, info.uordblks + info.fordblks);
    EXPECT_UINT(info.arena + info.hblkhd + stats.metadata_bytes, ==, stats.held_bytes);
    EXPECT_UINT(info.smblks * 8, <=, info.fsmblks);
    EXPECT_UINT(info.usmblks, ==, 0);
}
END_TEST

static char text[64 * 1024];

static void read_info(void) {
    FILE *const stream = fmemopen(text, sizeof text, "w");
    EXPECT(stream != NULL);
    EXPECT_INT(larder_malloc_info(0, stream), ==, 0);
    EXPECT_INT(fclose(stream), ==, 0);
    EXPECT_UINT(strlen(text), <, sizeof text - 1);
}

// Number in `attribute` of the element that begins with `element`, from `*at` on; moves *at behind
// the element's beginning. False if there is no further one.
static bool next_figure(const char **at, const char *element, const char *attribute,
                        size_t *figure) {
    const char *found = strstr(*at, element);
    if (found == NULL)
        return false;
    *at = found + strlen(element);
    const char *value = strstr(found, attribute);
    EXPECT(value != NULL && value < strchr(found, '>'));
    *figure = strtoull(value + strlen(attribute), NULL, 10);
    return true;
}

static size_t figure_of(const char *element, const char *attribute) {
    const char *at = text;
    size_t figure = 0;
    EXPECT(next_figure(&at, element, attribute, &figure));
    return figure;
}

START_TEST(test_glibc_info__xml_adds_up) {
    fill_heap();
    // The stream of the first report is allocated, by libc, before anything is read.
    read_info();
    const struct larder_stats stats = stats_now();
    size_t bytes = figure_of("<unsorted ", " total=\""),
           count = figure_of("<unsorted ", " count=\"");
    EXPECT_UINT(bytes, ==, stats.span_heap_free_bytes);
    EXPECT_UINT(count, ==, bytes / LR_PAGE_BYTES);

    const char *at = text;
    size_t from, to = 0, sizes = 0;
    while (next_figure(&at, "<size ", "from=\"", &from)) {
        const char *here = at - strlen("<size ");
        size_t value, class_count;
        EXPECT(sizes == 0 || from > to);
        EXPECT(next_figure(&here, "<size ", " to=\"", &to));
        EXPECT_UINT(to, >=, from);
        EXPECT_UINT(larder_good_size(from, 0), ==, to);
        EXPECT_UINT(larder_good_size(to, 0), ==, to);
        here = at - strlen("<size ");
        EXPECT(next_figure(&here, "<size ", " count=\"", &class_count));
        EXPECT_UINT(class_count, >, 0);
        here = at - strlen("<size ");
        EXPECT(next_figure(&here, "<size ", " total=\"", &value));
        EXPECT_UINT(value, ==, class_count * to);
        bytes += value;
        count += class_count;
        sizes++;
    }
    EXPECT_UINT(sizes, >, 20);
    const char fast[] = "<total type=\"fast\"", rest[] = "<total type=\"rest\"";
    EXPECT_UINT(bytes, ==, figure_of(fast, " size=\"") + figure_of(rest, " size=\""));
    EXPECT_UINT(count, ==, figure_of(fast, " count=\"") + figure_of(rest, " count=\""));
    EXPECT_UINT(figure_of("<total type=\"mmap\"", " count=\""), ==, stats.large_blocks);
    EXPECT_UINT(figure_of("<total type=\"mmap\"", " size=\""), ==, stats.large_bytes);
    EXPECT_UINT(figure_of("<system type=\"current\"", " size=\""), ==, stats.held_bytes);
    EXPECT_UINT(figure_of("<system type=\"max\"", " size=\""), >=, stats.held_bytes);
    EXPECT_UINT(figure_of("<aspace type=\"total\"", " size=\""), ==, stats.mapped_bytes);
}
END_TEST

// What comes before and after </heap> are the same totals, as there is one heap.
START_TEST(test_glibc_info__one_heap_is_all) {
    fill_heap();
    read_info();
    static const char *const elements[] = {"<total type=\"fast\"",     "<total type=\"rest\"",
                                           "<system type=\"current\"", "<system type=\"max\"",
                                           "<aspace type=\"total\"",   "<aspace type=\"mprotect\""};
    const char *const end_of_heap = strstr(text, "</heap>");
    EXPECT(end_of_heap != NULL);
    for (unsigned i = 0; i < sizeof elements / sizeof elements[0]; i++) {
        const char *at = text;
        size_t inside, outside, none;
        EXPECT(next_figure(&at, elements[i], " size=\"", &inside));
        EXPECT(at < end_of_heap);
        EXPECT(next_figure(&at, elements[i], " size=\"", &outside));
        EXPECT(at > end_of_heap);
        EXPECT_UINT(inside, ==, outside);
        EXPECT(!next_figure(&at, elements[i], " size=\"", &none));
    }
}
END_TEST

static void print_stats(void *unused) {
    (void)unused;
    larder_malloc_stats();
}

START_TEST(test_glibc_info__malloc_stats_is_the_page_on_stderr) {
    struct test_child child;
    test_child_run(&child, 20, print_stats, NULL);
    EXPECT_CHILD_EXIT(&child, 0);

    FILE *const page = tmpfile();
    EXPECT(page != NULL);
    EXPECT_INT(larder_stats_print(fileno(page)), ==, 0);
    rewind(page);
    char first[256];
    EXPECT(fgets(first, sizeof first, page) != NULL);
    fclose(page);
    // The number of the process follows.
    const char *number = strstr(first, "statistics of process ");
    EXPECT(number != NULL);
    const size_t same = (size_t)(number - first) + strlen("statistics of process ");
    EXPECT(strncmp(child.err, first, same) == 0);
    // Of another process and thread, but of the same program.
    const char *const name = strchr(first + same, '('), *const comma = strchr(first + same, ',');
    EXPECT(name != NULL && comma != NULL);
    const char *const its_name = strchr(child.err + same, '(');
    EXPECT(its_name != NULL && strncmp(its_name, name, (size_t)(comma - name)) == 0);
    EXPECT(strstr(child.err, "live_bytes") != NULL);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("glibc_info");
    test_add(suite, test_glibc_info__mallinfo_is_the_statistics);
    test_add(suite, test_glibc_info__xml_adds_up);
    test_add(suite, test_glibc_info__one_heap_is_all);
    test_add(suite, test_glibc_info__malloc_stats_is_the_page_on_stderr);
    return suite;
}
