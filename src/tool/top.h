// SPDX-License-Identifier: Apache-2.0
// The screen of `larder top`: what is shown, apart from how a terminal is driven.
#ifndef LARDER_TOOL_TOP_H
#define LARDER_TOOL_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tool/page.h"

enum top_view { TOP_CLASSES, TOP_THREADS, TOP_LOCKS, TOP_OPTIONS, TOP_VIEWS };

enum { TOP_LINE = 256, TOP_HEAD_LINES = 10 };

struct top_state {
    enum top_view view;
    int sort[TOP_VIEWS]; // column, from 0 on
    bool ascending[TOP_VIEWS];
    int first; // row of the table shown first
};

void lr_top_init(struct top_state *state);

// The lines above the table. `before` is the look before, NULL at first; `seconds` lie between.
void lr_top_head(char lines[TOP_HEAD_LINES][TOP_LINE], const struct page_view *now,
                 const struct page_view *before, double seconds, const char *name);

// The table's title, and rows from state->first on, at most `most`; the number of rows in all is
// returned.
int lr_top_table(const struct top_state *state, const struct page_view *now,
                 const struct page_view *before, double seconds, char title[TOP_LINE],
                 char (*rows)[TOP_LINE], int most);

// How many columns the view can be sorted by.
int lr_top_columns(enum top_view view);

#endif
