// SPDX-License-Identifier: Apache-2.0
//
// malloc_info writes XML that a parser accepts and whose figures agree with mallinfo2.
#include <larder/larder.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/support.h"

enum { TEXT_BYTES = 256 * 1024, DEPTH_MAX = 16, NAME_BYTES = 32 };

static char text[TEXT_BYTES];

static void read_info(void) {
    FILE *const stream = tmpfile();
    EXPECT(stream != NULL);
    EXPECT_INT(larder_malloc_info(0, stream), ==, 0);
    rewind(stream);
    const size_t got = fread(text, 1, sizeof text - 1, stream);
    EXPECT_UINT(got, >, 0);
    EXPECT_UINT(got, <, sizeof text - 1);
    text[got] = '\0';
    fclose(stream);
}

// Reads attributes `name="value"` up to the end of a tag; NULL if they are malformed.
static const char *skip_attributes(const char *at) {
    for (;;) {
        while (isspace((unsigned char)*at))
            at++;
        if (*at == '>' || strncmp(at, "/>", 2) == 0 || strncmp(at, "?>", 2) == 0)
            return at;
        const char *const name = at;
        while (isalnum((unsigned char)*at) || *at == '_' || *at == '-')
            at++;
        if (at == name || strncmp(at, "=\"", 2) != 0)
            return NULL;
        at = strpbrk(at + 2, "\"<&");
        if (at == NULL || *at++ != '"')
            return NULL;
    }
}

// Elements nest, are closed by their own name, and there is one root. What is not in this grammar
// (comments, entities) malloc_info has no use for.
static bool well_formed(const char *at) {
    char open[DEPTH_MAX][NAME_BYTES];
    unsigned depth = 0, roots = 0;
    for (at = strchr(at, '<'); at != NULL; at = strchr(at, '<')) {
        at++;
        const bool declaration = *at == '?';
        const bool closing = *at == '/';
        at += declaration || closing;
        const size_t length = strcspn(at, " \t\n/>?");
        if (length == 0 || length >= NAME_BYTES)
            return false;
        const char *const name = at;
        at = skip_attributes(at + length);
        if (at == NULL || (declaration && *at != '?') || (closing && *at != '>'))
            return false;
        if (closing) {
            if (depth == 0 || strlen(open[depth - 1]) != length ||
                strncmp(open[--depth], name, length) != 0)
                return false;
        } else if (!declaration) {
            if (depth == 0 && roots++ > 0)
                return false;
            if (*at == '>') {
                if (depth == DEPTH_MAX)
                    return false;
                memcpy(open[depth], name, length);
                open[depth++][length] = '\0';
            }
        }
    }
    return depth == 0 && roots == 1;
}

// Number in attribute `attribute` of the last element `element`; ends the test if there is none.
static size_t last_figure(const char *element, const char *attribute) {
    const char *last = NULL;
    for (const char *at = strstr(text, element); at != NULL; at = strstr(at + 1, element))
        last = at;
    EXPECT(last != NULL);
    const char *const value = strstr(last, attribute);
    EXPECT(value != NULL);
    return strtoull(value + strlen(attribute), NULL, 10);
}

START_TEST(test_malloc_info__checker_tells_good_from_bad) {
    EXPECT(
        well_formed("<malloc version=\"1\">\n<heap nr=\"0\"><size a=\"1\"/></heap>\n</malloc>\n"));
    EXPECT(well_formed("<?xml version=\"1.0\"?><a/>"));
    EXPECT(!well_formed("<a><b></a></b>"));
    EXPECT(!well_formed("<a>"));
    EXPECT(!well_formed("<a/><b/>"));
    EXPECT(!well_formed("</a>"));
    EXPECT(!well_formed("<a x=1/>"));
    EXPECT(!well_formed("<a x=\"1/>"));
    EXPECT(!well_formed("plain text"));
}
END_TEST

START_TEST(test_malloc_info__is_well_formed) {
    void *blocks[100];
    for (unsigned i = 0; i < 100; i++)
        blocks[i] = larder_malloc(i * i * 10);
    for (unsigned i = 0; i < 100; i += 2)
        larder_free(blocks[i]);
    read_info();
    EXPECT(well_formed(text));
    EXPECT(strncmp(strchr(text, '<'), "<malloc version=\"1\"", 19) == 0);
    EXPECT(strstr(text, "<heap nr=\"0\">") != NULL);
    EXPECT(strstr(text, "<size ") != NULL);
    for (unsigned i = 1; i < 100; i += 2)
        larder_free(blocks[i]);
}
END_TEST

START_TEST(test_malloc_info__system_figure_holds_the_live_bytes) {
    void *const block = larder_malloc(200000);
    read_info();
    const struct mallinfo2 info = larder_mallinfo2();
    const size_t current = last_figure("<system type=\"current\"", "size=\"");
    EXPECT_UINT(current, >=, info.uordblks);
    EXPECT_UINT(last_figure("<system type=\"max\"", "size=\""), >=, current);
    larder_free(block);
}
END_TEST

START_TEST(test_malloc_info__options_must_be_0) {
    FILE *const stream = tmpfile();
    errno = 0;
    EXPECT_INT(larder_malloc_info(1, stream), ==, -1);
    EXPECT_INT(errno, ==, EINVAL);
    EXPECT_INT(ftell(stream), ==, 0);
    fclose(stream);
}
END_TEST

START_TEST(test_malloc_info__a_full_device_is_an_error) {
    FILE *const stream = fopen("/dev/full", "w");
    if (stream == NULL)
        TEST_SKIP("no /dev/full");
    setvbuf(stream, NULL, _IONBF, 0);
    errno = 0;
    EXPECT_INT(larder_malloc_info(0, stream), ==, -1);
    EXPECT_INT(errno, ==, ENOSPC);
    fclose(stream);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("malloc_info");
    test_add(suite, test_malloc_info__checker_tells_good_from_bad);
    test_add(suite, test_malloc_info__is_well_formed);
    test_add(suite, test_malloc_info__system_figure_holds_the_live_bytes);
    test_add(suite, test_malloc_info__options_must_be_0);
    test_add(suite, test_malloc_info__a_full_device_is_an_error);
    return suite;
}
