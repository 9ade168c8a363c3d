// SPDX-License-Identifier: Apache-2.0
#include "tool/explain.h"

static void row(struct lr_print *p, const char *sign, uint64_t bytes, uint64_t whole,
                const char *text) {
    char amount[32];
    struct lr_print field;
    lr_print_init(&field, amount, sizeof amount, -1);
    lr_print_bytes(&field, bytes);
    const uint64_t share = lr_permille(bytes, whole);
    lr_print_f(p, "  %s %11s %5lu.%lu %%  %s\n", sign, amount, share / 10, share % 10, text);
}

static uint64_t rest_of(uint64_t whole, uint64_t part) { return whole > part ? whole - part : 0; }

// Resident memory is the sum of its parts as the kernel counts them.
static void print_resident(struct lr_print *p, const struct proc_memory *m) {
    lr_print_str(p, "resident memory of the process, by what it is (smaps)\n");
    row(p, " ", m->pools, m->rss, "pools: blocks and free pages of the heap");
    row(p, "+", m->records, m->rss, "records: what Larder knows of them");
    row(p, "+", m->files, m->rss, "program, libraries and other files");
    row(p, "+", m->stack, m->rss, "stack of the main thread");
    row(p, "+", m->brk, m->rss, "brk area, which Larder does not use");
    row(p, "+", m->other, m->rss,
        "other anonymous memory: stacks of threads, mappings of the program, blocks outside the "
        "window");
    row(p, "=", m->pools + m->records + m->files + m->stack + m->brk + m->other, m->rss,
        "sum; read at another moment than");
    row(p, " ", m->rss, m->rss, "Rss of smaps_rollup");
}

// The heap's figures count pages in use, whether the program has touched them or not.
static void print_heap(struct lr_print *p, const struct larder_stats *s,
                       const struct proc_memory *m) {
    const uint64_t blocks = rest_of(s->held_bytes, s->metadata_bytes);
    const uint64_t touched = m->pools + m->pools_swap;
    lr_print_str(p, "from the figures of the heap to its resident memory\n");
    row(p, " ", s->live_bytes, blocks, "live_bytes");
    row(p, "+", s->thread_cache_bytes + s->transfer_cache_bytes, blocks,
        "thread_cache_bytes + transfer_cache_bytes: lower the budgets if this is the problem");
    row(p, "+", s->central_free_bytes + s->span_tail_bytes, blocks,
        "central_free_bytes + span_tail_bytes: spans that are partly used; see the classes");
    row(p, "+", s->span_heap_free_bytes, blocks,
        "span_heap_free_bytes: on its way back to the system; `larder trim` does it now");
    row(p, "=", blocks, blocks, "held_bytes - metadata_bytes");
    row(p, "-", m->pools_swap, blocks, "swapped out");
    row(p, "-", rest_of(blocks, touched), blocks,
        "never touched: fresh spans, large blocks that the program has not filled, and blocks "
        "outside the window");
    row(p, "=", m->pools, blocks, "pools above");
    row(p, " ", m->pools_huge, m->pools, "of pools, in transparent huge pages");
}

void lr_explain_text(struct lr_print *p, const struct page_view *view,
                     const struct proc_memory *memory) {
    print_resident(p, memory);
    print_heap(p, &view->report.stats, memory);
}

void lr_explain_json(struct lr_print *p, const struct proc_memory *m) {
    lr_print_f(p,
               "\"rss_bytes\": %lu, \"pools_bytes\": %lu, \"records_bytes\": %lu, "
               "\"files_bytes\": %lu, \"stack_bytes\": %lu, \"brk_bytes\": %lu, "
               "\"other_bytes\": %lu, \"pools_huge_bytes\": %lu, \"pools_swap_bytes\": %lu",
               m->rss, m->pools, m->records, m->files, m->stack, m->brk, m->other, m->pools_huge,
               m->pools_swap);
}
