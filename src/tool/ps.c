// SPDX-License-Identifier: Apache-2.0
// larder ps: the processes that use Larder.
#include <getopt.h>
#include <stdio.h>

#include "tool/page.h"
#include "tool/proc.h"
#include "tool/tool.h"

enum { LATER_MS = 100 };

struct listing {
    bool json;
    uint32_t wait_ms; // for the next answer
    unsigned count;
    bool stale; // figures of one are
};

static const char *amount(char *text, size_t bytes, uint64_t value) {
    struct lr_print p;
    lr_print_init(&p, text, bytes, -1);
    lr_print_bytes(&p, value);
    return text;
}

static void print_quoted(const char *text) {
    char quoted[80]; // of up to 32 characters
    struct lr_print p;
    lr_print_init(&p, quoted, sizeof quoted, -1);
    lr_report_quote(&p, text);
    fputs(quoted, stdout);
}

// Without a page only the kernel's figures are known.
static void print_row(pid_t pid, const struct page_view *view, bool json, bool first) {
    char user[33], rss[32], held[32], live[32], name[32];
    uint64_t resident = 0;
    lr_proc_user(pid, user, sizeof user);
    (void)lr_proc_field(pid, "status", "VmRSS", &resident);
    lr_proc_name(pid, name, sizeof name);
    const struct larder_stats *s = view != NULL ? &view->report.stats : NULL;
    if (json) {
        printf("%s\n  {\"pid\": %d, \"user\": ", first ? "" : ",", (int)pid);
        print_quoted(user);
        printf(", \"command\": ");
        print_quoted(name);
        printf(", \"rss_bytes\": %ju, \"page\": %s", (uintmax_t)resident,
               s != NULL ? "true" : "false");
        if (s != NULL) {
            printf(", \"version\": ");
            print_quoted(view->version);
            printf(", \"held_bytes\": %ju, \"live_bytes\": %ju, \"threads\": %ju",
                   (uintmax_t)s->held_bytes, (uintmax_t)s->live_bytes, (uintmax_t)s->threads);
        }
        putchar('}');
    } else if (s != NULL) {
        printf("%8d %-12s %11s %11s %11s %3ju.%ju %% %7ju  %s\n", (int)pid, user,
               amount(rss, sizeof rss, resident), amount(held, sizeof held, s->held_bytes),
               amount(live, sizeof live, s->live_bytes), (uintmax_t)s->fragmentation / 10,
               (uintmax_t)s->fragmentation % 10, (uintmax_t)s->threads, name);
    } else {
        printf("%8d %-12s %11s %11s %11s %7s %7s  %s\n", (int)pid, user,
               amount(rss, sizeof rss, resident), "-", "-", "-", "-", name);
    }
}

static void visit(pid_t pid, void *context) {
    static struct page_view view;
    struct listing *listing = context;
    struct page_link link;
    if (!lr_proc_uses_larder(pid)) {
        return;
    }
    const bool open = lr_page_open(pid, &link, true) == TOOL_OK;
    link.wait_ms = listing->wait_ms;
    const bool seen = open && lr_page_look(&link, &view) == TOOL_OK;
    const bool stopped = lr_proc_is_stopped(pid);
    // All that do not answer are waited for as long as one.
    if (open && (!seen || view.stale) && !stopped) {
        listing->wait_ms = LATER_MS;
    }
    listing->stale |= seen ? view.stale : open && stopped; // else it has just ended
    print_row(pid, seen ? &view : NULL, listing->json, listing->count == 0);
    listing->count++;
    if (open) {
        lr_page_close(&link);
    }
}

int lr_cmd_ps(int argc, char **argv) {
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    struct listing listing = {.wait_ms = PAGE_ANSWER_MS};
    for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (letter != 'j') {
            return lr_tool_misused("ps");
        }
        listing.json = true;
    }
    if (optind != argc) {
        return lr_tool_usage("ps", "ps takes no process; `larder stat` shows one");
    }
    if (!lr_proc_is_there()) {
        lr_tool_error("/proc cannot be read here, and without it no process is seen");
        return TOOL_FAILED;
    }
    if (listing.json) {
        putchar('[');
    } else {
        printf("%8s %-12s %11s %11s %11s %7s %7s  %s\n", "PID", "USER", "RSS", "HELD", "LIVE",
               "FRAG", "THREADS", "COMMAND");
    }
    lr_proc_each(visit, &listing);
    if (listing.json) {
        puts(listing.count != 0 ? "\n]" : "]");
    }
    return listing.stale ? TOOL_FAILED : TOOL_OK;
}
