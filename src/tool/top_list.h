// SPDX-License-Identifier: Apache-2.0
// The processes that `larder top` offers, as rows of text.
#ifndef LARDER_TOOL_TOP_LIST_H
#define LARDER_TOOL_TOP_LIST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tool/top.h"

enum { TOP_PROCESSES = 1024, TOP_LIST_COLUMNS = 8 };

struct top_process {
    pid_t pid;
    bool page; // held, live, fragmentation, threads are known
    char user[16];
    char name[32];
    uint64_t rss, held, live, fragmentation, threads;
};

struct top_list {
    struct top_process processes[TOP_PROCESSES];
    int count;
    int sort; // column, from 0 on
    bool ascending;
    pid_t chosen;
    int first;       // row shown first
    char filter[32]; // only processes whose names hold it
};

void lr_top_list_init(struct top_list *list);

// Looks at all processes anew. One that is stopped is shown as it was.
void lr_top_list_look(struct top_list *list);

// Puts them in order, and the first into `chosen` if that has gone.
void lr_top_list_sort(struct top_list *list);

// Where `chosen` stands; 0 if nowhere.
int lr_top_list_at(const struct top_list *list);

// Chooses the one that many rows further, and scrolls so that it is among `most` that are shown.
void lr_top_list_move(struct top_list *list, int rows, int most);

// Title and rows from list->first on, at most `most`; how many there are.
int lr_top_list_rows(const struct top_list *list, char title[TOP_LINE], char (*rows)[TOP_LINE],
                     int most);

#endif
