// SPDX-License-Identifier: Apache-2.0
#include "tool/top_list.h"

#include <stdlib.h>
#include <string.h>

void lr_top_list_init(struct top_list *list) {
    memset(list, 0, sizeof *list);
    list->sort = 2; // resident memory
}

static const struct top_list *sorted;

static int compare_keys(uint64_t x, uint64_t y) { return x < y ? -1 : x > y; }

static int compare(const void *left, const void *right) {
    const struct top_process *a = left, *b = right;
    int order = 0;
    switch (sorted->sort) {
    case 1:
        order = strcmp(a->user, b->user);
        break;
    case 2:
        order = compare_keys(a->rss, b->rss);
        break;
    case 3:
        order = compare_keys(a->held, b->held);
        break;
    case 4:
        order = compare_keys(a->live, b->live);
        break;
    case 5:
        order = compare_keys(a->fragmentation, b->fragmentation);
        break;
    case 6:
        order = compare_keys(a->threads, b->threads);
        break;
    case 7:
        order = strcmp(a->name, b->name);
        break;
    default:
        break;
    }
    order = sorted->ascending ? order : -order;
    return order != 0 ? order : a->pid < b->pid ? -1 : 1; // so that rows do not jump
}

void lr_top_list_sort(struct top_list *list) {
    sorted = list;
    qsort(list->processes, (size_t)list->count, sizeof list->processes[0], compare);
    const int at = lr_top_list_at(list);
    list->chosen = list->count > 0 ? list->processes[at].pid : 0;
}

int lr_top_list_at(const struct top_list *list) {
    for (int i = 0; i < list->count; i++) {
        if (list->processes[i].pid == list->chosen) {
            return i;
        }
    }
    return 0;
}

void lr_top_list_move(struct top_list *list, int rows, int most) {
    int at = lr_top_list_at(list) + rows;
    at = at >= list->count ? list->count - 1 : at;
    at = at < 0 ? 0 : at;
    list->chosen = list->count > 0 ? list->processes[at].pid : 0;
    if (at >= list->first + most) {
        list->first = at - most + 1;
    }
    if (at < list->first) {
        list->first = at;
    }
}

static const char *amount(char *text, size_t bytes, uint64_t value) {
    struct lr_print p;
    lr_print_init(&p, text, bytes, -1);
    lr_print_bytes(&p, value);
    return text;
}

int lr_top_list_rows(const struct top_list *list, char title[TOP_LINE], char (*rows)[TOP_LINE],
                     int most) {
    snprintf(title, TOP_LINE, "%8s %-12s %11s %11s %11s %7s %7s  %s", "PID", "USER", "RSS", "HELD",
             "LIVE", "FRAG", "THREADS", "COMMAND");
    for (int i = 0; i < most && list->first + i < list->count; i++) {
        const struct top_process *p = &list->processes[list->first + i];
        char rss[32], held[32], live[32];
        amount(rss, sizeof rss, p->rss);
        if (p->page) {
            snprintf(rows[i], TOP_LINE, "%8d %-12s %11s %11s %11s %3ju.%ju %% %7ju  %s",
                     (int)p->pid, p->user, rss, amount(held, sizeof held, p->held),
                     amount(live, sizeof live, p->live), (uintmax_t)p->fragmentation / 10,
                     (uintmax_t)p->fragmentation % 10, (uintmax_t)p->threads, p->name);
        } else {
            snprintf(rows[i], TOP_LINE, "%8d %-12s %11s %11s %11s %7s %7s  %s", (int)p->pid,
                     p->user, rss, "-", "-", "-", "-", p->name);
        }
    }
    return list->count;
}
