// SPDX-License-Identifier: Apache-2.0
//
// The command's reader of the page that a process shows: whatever is there, no access leaves its
// bytes, and what was read can be printed in all forms without a control character.
#include "fuzz.h"

#include <string.h>

#include "diag/stats_text.h"
#include "tool/page.h"

static struct page_view view;

static void expect_printable(const char *text, size_t room) {
    MUST(memchr(text, '\0', room) != NULL);
    for (; *text != '\0'; text++)
        MUST(*text >= ' ' && *text <= '~');
}

static void use(void) {
    const struct lr_report *const r = &view.report;
    expect_printable(view.version, sizeof view.version);
    MUST(r->class_count <= LR_CLASS_COUNT && r->lock_count <= LR_REPORT_LOCKS);
    MUST(r->thread_count <= PAGE_THREADS_MOST && r->option_count <= PAGE_OPTIONS_MOST);
    for (unsigned i = 0; i < r->lock_count; i++)
        expect_printable(r->locks[i].name, sizeof view.lock_names[i]);
    for (unsigned i = 0; i < r->option_count; i++) {
        expect_printable(r->options[i].name, sizeof r->options[i].name);
        expect_printable(r->options[i].value, sizeof r->options[i].value);
        expect_printable(r->options[i].range, sizeof r->options[i].range);
    }
    char text[4096];
    struct lr_print p;
    lr_print_init(&p, text, sizeof text, -1);
    lr_stats_text(&p, r);
    lr_print_init(&p, text, sizeof text, -1);
    lr_report_json(&p, r);
    lr_print_init(&p, text, sizeof text, -1);
    lr_report_metrics(&p, r, true);
}

// The input is a page, whose first words are right unless its first byte is odd: otherwise few
// would get beyond them.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct larder_page_header header;
    if (size == 0)
        return 0;
    const bool help = data[0] % 2 == 0;
    const size_t bytes = size - 1;
    char *const page = malloc(bytes != 0 ? bytes : 1);
    MUST(page != NULL);
    memcpy(page, data + 1, bytes);
    if (help && bytes >= sizeof header) {
        memcpy(&header, page, sizeof header);
        header.magic = LARDER_PAGE_MAGIC;
        header.version = LARDER_PAGE_VERSION;
        header.header_bytes = sizeof header;
        header.page_bytes = (uint32_t)bytes;
        header.updated_ns |= 1;
        struct larder_page_table *const tables[] = {&header.stats, &header.classes, &header.locks,
                                                    &header.threads, &header.options};
        for (unsigned i = 0; data[0] % 4 == 0 && i < sizeof tables / sizeof *tables; i++) {
            tables[i]->offset %= (uint32_t)bytes + 100;
            tables[i]->rows %= 20;
            tables[i]->row_bytes %= 512;
        }
        memcpy(page, &header, sizeof header);
    }
    if (lr_page_decode(page, bytes, &view) == NULL)
        use();
    free(page);
    return 0;
}
