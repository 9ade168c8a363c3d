// SPDX-License-Identifier: Apache-2.0
//
// The span heap in a small window, which is full time and again: no page has two owners, each span
// has what was asked for, and the counts are those of a model.
#include "fuzz.h"

#include <string.h>

#include "conf/options.h"
#include "heap/release.h"
#include "heap/span_heap.h"
#include "os/os.h"

enum { SPANS = 64, PAGES_MOST = 1 << 13 };

static struct span *spans[SPANS];
static uint8_t owner[PAGES_MOST]; // number of the span + 1; 0: free
static size_t used;

static void start(void) {
    lr_os_init();
    setenv("LARDER_THP", "never", 1);
    MUST(lr_options_init());
    MUST(lr_window_init(64 * LR_MIB));
    MUST(lr_option_set("scavenger", LR_SCAVENGER_OFF) == 0);
    MUST(lr_window.bytes >> LR_PAGE_SHIFT <= PAGES_MOST);
}

static void take(unsigned number, size_t first, size_t pages) {
    for (size_t i = first; i < first + pages; i++) {
        MUST(i >= lr_window.first_pool_page && i < lr_load_relaxed(&lr_window.pages));
        MUST(owner[i] == 0);
        owner[i] = (uint8_t)(number + 1);
    }
    // Both ends can be written.
    *lr_page_address(first) = 1;
    *(lr_page_address(first + pages) - 1) = 1;
    used += pages;
}

static void give(size_t first, size_t pages) {
    memset(owner + first, 0, pages);
    used -= pages;
}

static void allocate(struct fuzz_input *in, unsigned number) {
    const bool large = fuzz_below(in, 2) == 0;
    const size_t pages = 1 + fuzz_size(in, large ? 3000 : LR_PAGES_PER_HUGE - 1);
    const size_t align = (size_t)1 << (large ? fuzz_below(in, 10) : 0);
    struct span *const span =
        large ? lr_span_alloc_large(pages, align) : lr_span_alloc_small((uint32_t)pages, 9, 3, 96);
    if (span == NULL)
        return;
    MUST(span->page_count == pages && span->first_page % align == 0);
    MUST(lr_span_of_page(span->first_page) == span);
    if (span->zeroed)
        MUST(*lr_page_address(span->first_page) == 0);
    take(number, span->first_page, pages);
    spans[number] = span;
}

static void resize(struct fuzz_input *in, unsigned number) {
    struct span *const span = spans[number];
    const size_t old = span->page_count, pages = 1 + fuzz_size(in, 3000);
    bool room = true;
    for (size_t i = span->first_page + old; i < span->first_page + pages; i++)
        room = room && i < lr_load_relaxed(&lr_window.pages) && owner[i] == 0;
    MUST(lr_span_resize(span, pages) == room);
    if (!room)
        return;
    if (pages > old)
        take(number, span->first_page + old, pages - old);
    else
        give(span->first_page + pages, old - pages);
}

static void claim(struct fuzz_input *in) {
    struct claim_walk walk = {.at = (uint32_t)fuzz_below(in, 32),
                              .breaks = (enum lr_breaks)fuzz_below(in, 3)};
    size_t first, dirty;
    const size_t pages = lr_span_heap_claim_dirty(1 + fuzz_size(in, 3000), &walk, &first, &dirty);
    for (size_t i = 0; i < pages; i++)
        MUST(owner[first + i] == 0);
    if (pages == 0)
        return;
    const bool purge = fuzz_below(in, 2) == 0;
    if (purge)
        MUST(lr_os_purge(lr_page_address(first), pages << LR_PAGE_SHIFT));
    lr_span_heap_return_range(first, pages, purge);
}

static void release(unsigned number) {
    give(spans[number]->first_page, spans[number]->page_count);
    lr_span_free(spans[number]);
    spans[number] = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool started;
    struct fuzz_input in = {data, size};
    if (!started)
        start();
    started = true;
    while (in.left > 0) {
        const unsigned choice = (unsigned)fuzz_take(&in, 1), number = choice % SPANS;
        if (choice >= 252)
            lr_release_pages(fuzz_size(&in, 3000), LR_BREAK_ANY);
        else if (choice >= 240)
            claim(&in);
        else if (spans[number] == NULL)
            allocate(&in, number);
        else if (choice >= 3 * SPANS && spans[number]->size_class == 0)
            resize(&in, number);
        else
            release(number);
        MUST(lr_span_heap_counts().used_pages == used);
    }
    for (unsigned i = 0; i < SPANS; i++)
        if (spans[i] != NULL)
            release(i);
    MUST(lr_span_heap_counts().used_pages == 0);
    return 0;
}
