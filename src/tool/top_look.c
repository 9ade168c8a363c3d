// SPDX-License-Identifier: Apache-2.0
// Looks at all processes for the list of larder top.
#include <string.h>

#include "tool/proc.h"
#include "tool/tool.h"
#include "tool/top_list.h"

// Its figures; what does not answer at once would hold up all others.
static void read_page(pid_t pid, struct top_process *out) {
    static struct page_view view;
    struct page_link link;
    struct page_answer answer;
    if (lr_page_open(pid, &link, true) != TOOL_OK) {
        return;
    }
    if (!lr_proc_is_stopped(pid)) {
        (void)lr_page_ask(&link, LARDER_PAGE_REFRESH, "", "", &answer);
    }
    if (lr_page_read(&link, &view) == NULL) {
        const struct larder_stats *s = &view.report.stats;
        out->page = true;
        out->held = s->held_bytes;
        out->live = s->live_bytes;
        out->fragmentation = s->fragmentation;
        out->threads = s->threads;
    }
    lr_page_close(&link);
}

static void add(pid_t pid, void *context) {
    struct top_list *list = context;
    char name[32];
    lr_proc_name(pid, name, sizeof name);
    if (list->count == TOP_PROCESSES || strstr(name, list->filter) == NULL ||
        !lr_proc_uses_larder(pid)) {
        return;
    }
    struct top_process *process = &list->processes[list->count++];
    *process = (struct top_process){.pid = pid};
    (void)lr_proc_field(pid, "status", "VmRSS", &process->rss);
    lr_proc_user(pid, process->user, sizeof process->user);
    memcpy(process->name, name, sizeof process->name);
    read_page(pid, process);
}

void lr_top_list_look(struct top_list *list) {
    list->count = 0;
    lr_proc_each(add, list);
    lr_top_list_sort(list);
}
