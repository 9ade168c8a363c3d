// SPDX-License-Identifier: Apache-2.0
// larder top: drives the terminal.
#include "tool/top.h"

#include <curses.h>
#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool/arguments.h"
#include "tool/proc.h"
#include "tool/tool.h"
#include "tool/top_list.h"

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
    bool has_list; // it began with the list of processes
    bool in_list;  // which is what is shown now
    bool help;
    bool in_filter; // keys are letters of list.filter
    struct top_list list;
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

static int room_below(int lines) {
    const int room = LINES - lines - 2;
    return room < 0 ? 0 : room > ROWS_MOST ? ROWS_MOST : room;
}

static void draw_reverse(int y, const char *text) {
    attrset(A_REVERSE);
    mvprintw(y, 0, "%-*.*s", COLS, COLS, text);
    attrset(A_NORMAL);
}

static void draw_list(void) {
    static char rows[ROWS_MOST][TOP_LINE];
    char title[TOP_LINE];
    const int room = room_below(1);
    lr_top_list_move(&screen.list, 0, room);
    const int count = lr_top_list_rows(&screen.list, title, rows, room);
    const int at = lr_top_list_at(&screen.list) - screen.list.first;
    mvprintw(0, 0, "larder %s  %d process%s", LARDER_VERSION, count,
             count == 1 ? " uses it" : "es use it");
    draw_reverse(1, title);
    for (int i = 0; i < room && screen.list.first + i < count; i++) {
        if (i == at) {
            draw_reverse(2 + i, rows[i]);
        } else {
            mvaddnstr(2 + i, 0, rows[i], COLS);
        }
    }
    if (screen.in_filter) {
        char line[TOP_LINE];
        snprintf(line, sizeof line, "Filter: %s_   Enter keeps it, Esc shows all",
                 screen.list.filter);
        draw_reverse(LINES - 1, line);
        return;
    }
    draw_reverse(LINES - 1,
                 screen.note[0] != '\0' ? screen.note
                 : screen.paused
                     ? "paused; p goes on"
                     : "F1 Help  Enter Look  F4 / Filter  F6 < > Sort  I Invert  M RSS  N PID  "
                       "+ - Delay  F10 q Quit");
}

static void draw_help(void) {
    static const char *const lines[] = {
        "larder top: keys",
        "",
        "  F1 h ?           this help",
        "  F10 q            quit",
        "  F6 . >   , <     next, previous column to sort by",
        "  I                invert the order",
        "  + -              double, halve the delay",
        "  p Z              pause",
        "  arrows, Page Up, Page Down, Home, End",
        "",
        "in the list of processes",
        "  Enter            look at the heap of the process",
        "  F4 /             only processes whose names hold a text",
        "  M  N             sort by resident memory, by process id",
        "",
        "in the view of a heap",
        "  Tab, left, right classes, threads, locks, options",
        "  T                return free memory to the system now",
        "  Esc, Backspace   back to the list, where it began with that",
        "",
        "any key goes on",
    };
    for (int i = 0; i < (int)(sizeof lines / sizeof *lines) && i < LINES; i++) {
        mvaddnstr(i, 0, lines[i], COLS);
    }
}

static void draw_heap(void) {
    static char head[TOP_HEAD_LINES][TOP_LINE];
    static char rows[ROWS_MOST][TOP_LINE];
    char title[TOP_LINE];
    static const char *const tabs[TOP_VIEWS] = {"Classes", "Threads", "Locks", "Options"};
    const struct page_view *now = &screen.looks[screen.at];
    const struct page_view *before = screen.count > 1 ? &screen.looks[1 - screen.at] : NULL;
    const double seconds =
        before != NULL ? screen.times[screen.at] - screen.times[1 - screen.at] : 0;
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
    const int room = room_below(TOP_HEAD_LINES);
    const int count = lr_top_table(&screen.state, now, before, seconds, title, rows, room);
    if (screen.state.first >= count && count > 0) {
        screen.state.first = count - 1;
    }
    draw_reverse(TOP_HEAD_LINES, title);
    for (int i = 0; i < room && screen.state.first + i < count; i++) {
        mvaddnstr(TOP_HEAD_LINES + 1 + i, 0, rows[i], COLS);
    }
    draw_reverse(LINES - 1,
                 screen.note[0] != '\0' ? screen.note
                 : screen.paused
                     ? "paused; p goes on"
                     : "F1 Help  Tab View  F6 < > Sort column  I Invert  + - Delay  p Pause  "
                       "T Trim  F10 q Quit");
}

static void draw(void) {
    erase();
    if (screen.help) {
        draw_help();
    } else if (screen.in_list) {
        draw_list();
    } else {
        draw_heap();
    }
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
    } else {
        snprintf(screen.note, sizeof screen.note, "the process does not answer: nothing returned");
    }
}

static void leave_heap(void) {
    lr_page_close(&screen.link);
    screen.in_list = true;
    lr_top_list_look(&screen.list);
}

static void enter_heap(void) {
    const pid_t pid = screen.list.chosen;
    if (pid == 0) {
        return;
    }
    if (lr_page_open(pid, &screen.link, true) != TOOL_OK) {
        snprintf(screen.note, sizeof screen.note,
                 "process %d shows no page: it is another user's, its heap is small, or it has "
                 "LARDER_PUBLISH=0",
                 (int)pid);
        return;
    }
    lr_proc_name(pid, screen.name, sizeof screen.name);
    lr_top_init(&screen.state);
    screen.count = 0;
    screen.in_list = false;
    if (!look()) {
        leave_heap();
    }
}

// Keys of both; false: none of them.
static bool obey_anywhere(int key) {
    switch (key) {
    case '+':
        screen.delay = screen.delay < 60 ? screen.delay * 2 : screen.delay;
        return true;
    case '-':
        screen.delay = screen.delay > 0.1 ? screen.delay / 2 : screen.delay;
        return true;
    case 'p':
    case 'Z':
        screen.paused = !screen.paused;
        return true;
    case 'h':
    case '?':
    case KEY_F(1):
        screen.help = true;
        return true;
    default:
        return false;
    }
}

enum { ESCAPE = 27 };

static void obey_in_filter(int key) {
    char *filter = screen.list.filter;
    const size_t length = strlen(filter);
    if (key == ESCAPE) {
        filter[0] = '\0';
    } else if ((key == KEY_BACKSPACE || key == '\b' || key == 127) && length > 0) {
        filter[length - 1] = '\0';
    } else if (key >= ' ' && key <= '~' && length + 1 < sizeof screen.list.filter) {
        filter[length] = (char)key;
        filter[length + 1] = '\0';
    }
    screen.in_filter = key != ESCAPE && key != '\n' && key != '\r' && key != KEY_ENTER;
    lr_top_list_look(&screen.list);
}

static void sort_list(int column) {
    screen.list.sort = (column + TOP_LIST_COLUMNS) % TOP_LIST_COLUMNS;
    lr_top_list_sort(&screen.list);
}

static void obey_in_list(int key) {
    const int room = room_below(1);
    screen.note[0] = '\0';
    switch (key) {
    case '\n':
    case '\r':
    case KEY_ENTER:
        enter_heap();
        break;
    case '<':
    case ',':
        sort_list(screen.list.sort - 1);
        break;
    case '>':
    case '.':
    case KEY_F(6):
        sort_list(screen.list.sort + 1);
        break;
    case 'I':
        screen.list.ascending = !screen.list.ascending;
        lr_top_list_sort(&screen.list);
        break;
    case '/':
    case KEY_F(4):
        screen.in_filter = true;
        break;
    case 'M':
        sort_list(2);
        break;
    case 'N':
        sort_list(0);
        break;
    case KEY_UP:
        lr_top_list_move(&screen.list, -1, room);
        break;
    case KEY_DOWN:
        lr_top_list_move(&screen.list, 1, room);
        break;
    case KEY_PPAGE:
        lr_top_list_move(&screen.list, -room, room);
        break;
    case KEY_NPAGE:
        lr_top_list_move(&screen.list, room, room);
        break;
    case KEY_HOME:
        lr_top_list_move(&screen.list, -TOP_PROCESSES, room);
        break;
    case KEY_END:
        lr_top_list_move(&screen.list, TOP_PROCESSES, room);
        break;
    default:
        break;
    }
}

static void obey_in_heap(int key) {
    const int page = LINES > TOP_HEAD_LINES + 3 ? LINES - TOP_HEAD_LINES - 3 : 1;
    switch (key) {
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
    case KEY_END:
        screen.state.first = 1 << 20; // draw_heap() knows the last one
        break;
    case ESCAPE:
    case KEY_BACKSPACE:
        if (screen.has_list) {
            leave_heap();
        }
        break;
    default:
        break;
    }
}

// False to quit.
static bool obey(int key) {
    if (screen.help) {
        screen.help = false;
        return true;
    }
    if (screen.in_filter) {
        obey_in_filter(key);
        return true;
    }
    if (key == 'q' || key == KEY_F(10)) {
        return false;
    }
    if (!obey_anywhere(key)) {
        (screen.in_list ? obey_in_list : obey_in_heap)(key);
    }
    return true;
}

// Another look at what is shown; false to quit.
static bool look_again(void) {
    if (screen.in_list) {
        lr_top_list_look(&screen.list);
    } else if (!look()) {
        if (!screen.has_list) {
            return false;
        }
        char note[TOP_LINE / 2];
        snprintf(note, sizeof note, "%.*s", (int)sizeof note - 1, screen.note);
        snprintf(screen.note, sizeof screen.note, "process %d: %s", (int)screen.link.pid, note);
        leave_heap();
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
            screen.note[0] = '\0';
            return;
        }
        if (now_seconds() >= next) {
            next = now_seconds() + screen.delay;
            if (!screen.paused && !look_again()) {
                return;
            }
        }
    }
}

// NULL where nothing would be readable, because the cursor cannot be placed.
static SCREEN *open_terminal(void) {
    SCREEN *terminal = isatty(STDOUT_FILENO) ? newterm(NULL, stdout, stdin) : NULL;
    if (terminal != NULL && tigetstr("cup") == NULL) {
        endwin();
        delscreen(terminal);
        terminal = NULL;
    }
    return terminal;
}

int lr_cmd_top(int argc, char **argv) {
    static const struct option options[] = {{"delay", required_argument, NULL, 'd'},
                                            {NULL, 0, NULL, 0}};
    pid_t pid = 0;
    screen.delay = 1;
    for (int letter; (letter = getopt_long(argc, argv, "d:", options, NULL)) != -1;) {
        if (letter != 'd') {
            return lr_tool_misused("top");
        }
        if (!lr_argument_seconds(optarg, &screen.delay)) {
            return lr_tool_usage("top", "--delay cannot be '%s'", optarg);
        }
    }
    if (argc - optind > 1 || (optind < argc && !lr_argument_pid(argv[optind], &pid))) {
        return lr_tool_usage("top", "top takes at most one process id");
    }
    screen.has_list = pid == 0;
    screen.in_list = screen.has_list;
    if (screen.has_list && !lr_proc_is_there()) {
        lr_tool_error("/proc cannot be read here, and without it no process is seen");
        return TOOL_FAILED;
    }
    if (screen.has_list) {
        lr_top_list_init(&screen.list);
        lr_top_list_look(&screen.list);
    } else {
        const int found = lr_page_open(pid, &screen.link, false);
        if (found != TOOL_OK) {
            return found;
        }
        lr_proc_name(pid, screen.name, sizeof screen.name);
        lr_top_init(&screen.state);
    }
    setlocale(LC_CTYPE, "");
    SCREEN *terminal = open_terminal();
    int status = TOOL_OK;
    if (terminal == NULL) {
        lr_tool_error("top needs a terminal on which the cursor can be moved; `larder ps` and "
                      "`larder stat` do not");
        status = TOOL_FAILED;
    } else {
        cbreak();
        noecho();
        keypad(stdscr, TRUE);
        set_escdelay(50);
        curs_set(0);
        if (screen.in_list || look()) {
            drive();
        }
        endwin();
        delscreen(terminal);
        if (screen.note[0] != '\0') {
            lr_tool_error("process %d: %s", (int)pid, screen.note);
        }
    }
    if (!screen.in_list) {
        lr_page_close(&screen.link);
    }
    return status;
}
