// SPDX-License-Identifier: Apache-2.0
// larder top: drives the terminal.
#include "tool/top.h"

#include <curses.h>
#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool/arguments.h"
#include "tool/proc.h"
#include "tool/tool.h"

enum { ROWS_MOST = 512 };

// Two looks, of which the newer is looks[at].
static struct {
    struct page_view looks[2];
    unsigned at;
    unsigned count;
    double times[2];
    struct page_link link;
    struct top_state state;
    char name[32];
    double delay;
    bool paused;
    char note[TOP_LINE];
} screen;

static double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// False, with a note, when there is nothing more to see.
static bool look(void) {
    struct page_answer answer;
    const unsigned next = 1 - screen.at;
    const int error = lr_page_ask(&screen.link, LARDER_PAGE_REFRESH, "", "", &answer);
    if (error != 0 && !lr_proc_uses_larder(screen.link.pid)) {
        snprintf(screen.note, sizeof screen.note, "has ended");
        return false;
    }
    const char *wrong = lr_page_read(&screen.link, &screen.looks[next]);
    if (wrong != NULL) {
        snprintf(screen.note, sizeof screen.note, "the page is not usable: %s", wrong);
        return false;
    }
    snprintf(screen.note, sizeof screen.note, "%s",
             error != 0 ? "the process does not answer: figures are old" : "");
    struct page_view *view = &screen.looks[next];
    view->report.process_id = (uint32_t)screen.link.pid;
    for (unsigned i = 0; i < view->report.thread_count; i++) {
        lr_proc_thread_name(screen.link.pid, view->threads[i].thread_id, view->threads[i].name,
                            sizeof view->threads[i].name);
    }
    screen.times[next] = now_seconds();
    screen.at = next;
    screen.count++;
    return true;
}

static void draw(void) {
    static char head[TOP_HEAD_LINES][TOP_LINE];
    static char rows[ROWS_MOST][TOP_LINE];
    char title[TOP_LINE];
    static const char *const tabs[TOP_VIEWS] = {"Classes", "Threads", "Locks", "Options"};
    const struct page_view *now = &screen.looks[screen.at];
    const struct page_view *before = screen.count > 1 ? &screen.looks[1 - screen.at] : NULL;
    const double seconds =
        before != NULL ? screen.times[screen.at] - screen.times[1 - screen.at] : 0;
    erase();
    lr_top_head(head, now, before, seconds, screen.name);
    for (int i = 0; i < TOP_HEAD_LINES && i < LINES; i++) {
        mvaddnstr(i, 0, head[i], COLS);
    }
    int x = 0;
    for (int i = 0; i < TOP_VIEWS; i++) {
        attrset((int)screen.state.view == i ? A_BOLD | A_UNDERLINE : A_NORMAL);
        mvprintw(TOP_HEAD_LINES - 1, x, "%s", tabs[i]);
        attrset(A_NORMAL);
        x += (int)strlen(tabs[i]) + 2;
    }
    int room = LINES - TOP_HEAD_LINES - 2;
    room = room < 0 ? 0 : room > ROWS_MOST ? ROWS_MOST : room;
    const int count = lr_top_table(&screen.state, now, before, seconds, title, rows, room);
    if (screen.state.first >= count && count > 0) {
        screen.state.first = count - 1;
    }
    attrset(A_REVERSE);
    mvprintw(TOP_HEAD_LINES, 0, "%-*.*s", COLS, COLS, title);
    attrset(A_NORMAL);
    for (int i = 0; i < room && screen.state.first + i < count; i++) {
        mvaddnstr(TOP_HEAD_LINES + 1 + i, 0, rows[i], COLS);
    }
    attrset(A_REVERSE);
    mvprintw(LINES - 1, 0, "%-*.*s", COLS, COLS,
             screen.note[0] != '\0' ? screen.note
             : screen.paused        ? "paused; p goes on"
                             : "Tab view  < > sort column  I invert  + - delay  p pause  T trim  "
                               "arrows scroll  q quit");
    attrset(A_NORMAL);
    refresh();
}

static void sort_by(int step) {
    const enum top_view view = screen.state.view;
    const int columns = lr_top_columns(view);
    screen.state.sort[view] = (screen.state.sort[view] + step + columns) % columns;
    screen.state.first = 0;
}

static void scroll_by(int rows) {
    screen.state.first += rows;
    if (screen.state.first < 0) {
        screen.state.first = 0;
    }
}

static void trim(void) {
    struct page_answer answer;
    if (lr_page_ask(&screen.link, LARDER_PAGE_TRIM, "", "", &answer) == 0) {
        snprintf(screen.note, sizeof screen.note, "%ju bytes returned to the system",
                 (uintmax_t)answer.number);
    }
}

// False to quit.
static bool obey(int key) {
    const int page = LINES > TOP_HEAD_LINES + 3 ? LINES - TOP_HEAD_LINES - 3 : 1;
    switch (key) {
    case 'q':
    case KEY_F(10):
        return false;
    case '\t':
    case KEY_RIGHT:
        screen.state.view = (screen.state.view + 1) % TOP_VIEWS;
        screen.state.first = 0;
        break;
    case KEY_LEFT:
    case KEY_BTAB:
        screen.state.view = (screen.state.view + TOP_VIEWS - 1) % TOP_VIEWS;
        screen.state.first = 0;
        break;
    case '<':
    case ',':
        sort_by(-1);
        break;
    case '>':
    case '.':
    case KEY_F(6):
        sort_by(1);
        break;
    case 'I':
        screen.state.ascending[screen.state.view] = !screen.state.ascending[screen.state.view];
        break;
    case '+':
        screen.delay = screen.delay < 60 ? screen.delay * 2 : screen.delay;
        break;
    case '-':
        screen.delay = screen.delay > 0.1 ? screen.delay / 2 : screen.delay;
        break;
    case 'p':
    case 'Z':
        screen.paused = !screen.paused;
        break;
    case 'T':
        trim();
        break;
    case KEY_UP:
        scroll_by(-1);
        break;
    case KEY_DOWN:
        scroll_by(1);
        break;
    case KEY_PPAGE:
        scroll_by(-page);
        break;
    case KEY_NPAGE:
        scroll_by(page);
        break;
    case KEY_HOME:
        screen.state.first = 0;
        break;
    default:
        break;
    }
    return true;
}

static void drive(void) {
    double next = now_seconds() + screen.delay / 4; // rates soon
    for (;;) {
        draw();
        const double left = next - now_seconds();
        timeout(left > 0 ? (int)(left * 1000) + 1 : 0);
        const int key = getch();
        if (key != ERR && !obey(key)) {
            return;
        }
        if (now_seconds() >= next) {
            next = now_seconds() + screen.delay;
            if (!screen.paused && !look()) {
                return;
            }
        }
    }
}

struct choice {
    pid_t best;
    uint64_t resident;
};

static void choose(pid_t pid, void *context) {
    struct choice *choice = context;
    uint64_t resident = 0;
    struct page_link link;
    if (!lr_proc_uses_larder(pid) || !lr_proc_field(pid, "status", "VmRSS", &resident) ||
        resident <= choice->resident || lr_page_open(pid, &link, true) != TOOL_OK) {
        return;
    }
    lr_page_close(&link);
    *choice = (struct choice){.best = pid, .resident = resident};
}

int lr_cmd_top(int argc, char **argv) {
    static const struct option options[] = {{"delay", required_argument, NULL, 'd'},
                                            {NULL, 0, NULL, 0}};
    pid_t pid = 0;
    screen.delay = 1;
    for (int letter; (letter = getopt_long(argc, argv, "d:", options, NULL)) != -1;) {
        if (letter != 'd' || !lr_argument_seconds(optarg, &screen.delay)) {
            return lr_tool_usage("top", "top does not understand this");
        }
    }
    if (argc - optind > 1 || (optind < argc && !lr_argument_pid(argv[optind], &pid))) {
        return lr_tool_usage("top", "top takes at most one process id");
    }
    if (pid == 0) {
        struct choice choice = {.best = 0};
        lr_proc_each(choose, &choice);
        pid = choice.best;
        if (pid == 0) {
            lr_tool_error("no process shows a page; `larder ps` lists those that use Larder");
            return TOOL_NO_LARDER;
        }
    }
    int status = lr_page_open(pid, &screen.link, false);
    if (status != TOOL_OK) {
        return status;
    }
    lr_proc_name(pid, screen.name, sizeof screen.name);
    lr_top_init(&screen.state);
    setlocale(LC_CTYPE, "");
    SCREEN *terminal = newterm(NULL, stdout, stdin);
    if (terminal == NULL) {
        lr_tool_error("top needs a terminal; `larder stat` does not");
        status = TOOL_FAILED;
    } else {
        cbreak();
        noecho();
        keypad(stdscr, TRUE);
        curs_set(0);
        if (look()) {
            drive();
        }
        endwin();
        delscreen(terminal);
        if (screen.note[0] != '\0') {
            lr_tool_error("process %d: %s", (int)pid, screen.note);
        }
    }
    lr_page_close(&screen.link);
    return status;
}
