// SPDX-License-Identifier: Apache-2.0
// larder doctor: what of the machine and of a process's surroundings matters to its heap, and what
// to change.
#include <getopt.h>
#include <gnu/libc-version.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "conf/hindrance.h"
#include "conf/option_table.h"
#include "tool/arguments.h"
#include "tool/page.h"
#include "tool/proc.h"
#include "tool/tool.h"

enum {
    TEXT = 512,
    MAPS_DEFAULT = 65530,
    HEAP_LEAST = 64 << 10, // what Larder may hold for itself
};

static struct {
    bool json;
    unsigned findings;
    unsigned warnings;
} output;

static void print_quoted(const char *name, const char *text, const char *end) {
    char buffer[2 * TEXT];
    struct lr_print p;
    lr_print_init(&p, buffer, sizeof buffer, -1);
    lr_report_quote(&p, text);
    printf("\"%s\": %s%s", name, buffer, end);
}

// One line: what is so, and with `advice` what to change.
static void say(const char *subject, const char *advice, const char *format, ...) LR_PRINTF(3, 4);

static void say(const char *subject, const char *advice, const char *format, ...) {
    char text[TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const bool warn = advice != NULL;
    if (output.json) {
        printf("%s\n  {", output.findings == 0 ? "" : ",");
        print_quoted("subject", subject, ", ");
        print_quoted("finding", text, ", ");
        print_quoted("advice", warn ? advice : "", "}");
    } else {
        printf("%-5s %-18s %s\n", warn ? "look" : "ok", subject, text);
        if (warn) {
            printf("%-24s %s\n", "", advice);
        }
    }
    output.findings++;
    output.warnings += warn;
}

static void look_at_versions(void) {
    struct utsname system;
    if (uname(&system) == 0) {
        say("versions", NULL, "command larder %s, glibc %s, %s %s %s", LARDER_VERSION,
            gnu_get_libc_version(), system.sysname, system.release, system.machine);
    }
}

static void look_at_huge_pages(void) {
    char line[128];
    if (!lr_proc_line(0, "/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof line)) {
        say("huge pages", NULL, "the kernel has no transparent huge pages");
    } else if (strstr(line, "[never]") != NULL) {
        say("huge pages",
            "larger heaps run faster with them: echo madvise > "
            "/sys/kernel/mm/transparent_hugepage/enabled, and LARDER_THP=always",
            "transparent huge pages are off for all processes (%s)", line);
    } else if (strstr(line, "[always]") != NULL) {
        say("huge pages", NULL,
            "%s: the heap gets them; LARDER_THP=never saves memory where it is touched sparsely",
            line);
    } else {
        say("huge pages", NULL, "%s: LARDER_THP=always asks for them", line);
    }
}

static bool read_number(const char *file, uint64_t *out) {
    char line[64];
    return lr_proc_line(0, file, line, sizeof line) && lr_argument_number(line, out);
}

// 0: they cannot be seen.
static unsigned count_mappings(pid_t pid) {
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *stream = fopen(path, "re");
    for (int c; stream != NULL && (c = getc(stream)) != EOF;) {
        count += c == '\n';
    }
    if (stream != NULL) {
        fclose(stream);
    }
    return count;
}

static void look_at_memory_policy(pid_t pid) {
    uint64_t overcommit = 0;
    uint64_t most = 0;
    if (read_number("sys/vm/overcommit_memory", &overcommit)) {
        say("overcommit",
            overcommit == 2 ? "pools count as used from the moment they are made: keep "
                              "LARDER_POOL_SIZE small, or set vm.overcommit_memory to 0"
                            : NULL,
            "vm.overcommit_memory is %ju", (uintmax_t)overcommit);
    }
    if (read_number("sys/vm/max_map_count", &most)) {
        const unsigned used = pid != 0 ? count_mappings(pid) : 0;
        char own[48] = "";
        if (used != 0) {
            snprintf(own, sizeof own, "; the process has %u", used);
        }
        say("mappings",
            most < MAPS_DEFAULT || used > most / 2
                ? "near the limit mmap fails: raise vm.max_map_count"
                : NULL,
            "vm.max_map_count is %ju%s", (uintmax_t)most, own);
    }
}

static void look_at_pressure(void) {
    char line[160];
    if (!lr_proc_line(0, "pressure/memory", line, sizeof line)) {
        return;
    }
    const char *average = strstr(line, "avg60=");
    const double share = average != NULL ? strtod(average + 6, NULL) : 0;
    say("memory pressure",
        share >= 1 ? "tasks wait for memory: lower LARDER_SCAVENGE_DELAY_MS, or `larder trim`"
                   : NULL,
        "tasks waited for memory in %.1f %% of the last minute", share);
}

static void look_at_cgroup(pid_t pid) {
    char line[1024];
    char file[1400];
    char value[64];
    uint64_t current = 0;
    uint64_t most = 0;
    // The unified hierarchy's line is "0::/path".
    if (!lr_proc_line(pid, "cgroup", line, sizeof line) || strncmp(line, "0::", 3) != 0) {
        return;
    }
    snprintf(file, sizeof file, "/sys/fs/cgroup%s/memory.current", line + 3);
    if (!lr_proc_line(0, file, value, sizeof value) || !lr_argument_number(value, &current)) {
        return;
    }
    snprintf(file, sizeof file, "/sys/fs/cgroup%s/memory.max", line + 3);
    if (!lr_proc_line(0, file, value, sizeof value) || !lr_argument_number(value, &most)) {
        say("cgroup", NULL, "%s: no memory.max", line + 3);
        return;
    }
    uint64_t kills = 0;
    snprintf(file, sizeof file, "/sys/fs/cgroup%s/memory.events", line + 3);
    (void)lr_proc_field(0, file, "oom_kill", &kills);
    say("cgroup",
        current > most / 10 * 9 ? "less than a tenth is left: raise memory.max, or set "
                                  "LARDER_HEAP_LIMIT so that requests fail before the kernel kills"
                                : NULL,
        "%s: %ju of %ju MiB in use, %ju killed", line + 3, (uintmax_t)current >> 20,
        (uintmax_t)most >> 20, (uintmax_t)kills);
}

// The soft value of a row of /proc/PID/limits.
static bool read_limit(pid_t pid, const char *row, uint64_t *out) {
    char path[64];
    char line[256];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
    FILE *stream = fopen(path, "re");
    while (stream != NULL && fgets(line, sizeof line, stream) != NULL) {
        if (strncmp(line, row, strlen(row)) == 0) {
            const char *value = line + strlen(row) + strspn(line + strlen(row), " ");
            found = *value >= '0' && *value <= '9';
            *out = found ? strtoull(value, NULL, 10) : 0;
        }
    }
    if (stream != NULL) {
        fclose(stream);
    }
    return found;
}

static void look_at_limits(pid_t pid) {
    uint64_t bytes;
    if (read_limit(pid, "Max address space", &bytes)) {
        say("address space", "malloc returns NULL at this limit, whatever the machine has",
            "RLIMIT_AS is %ju MiB", (uintmax_t)bytes >> 20);
    } else {
        say("address space", NULL, "no limit");
    }
    uint64_t locked;
    uint64_t most;
    if (lr_proc_field(pid, "status", "VmLck", &locked) && locked != 0 &&
        read_limit(pid, "Max locked memory", &most)) {
        say("locked memory", "locked memory is never returned", "%ju MiB of RLIMIT_MEMLOCK %ju MiB",
            (uintmax_t)locked >> 20, (uintmax_t)most >> 20);
    }
}

static void look_at_state(pid_t pid) {
    const char state = lr_proc_state(pid);
    if (state == 'T' || state == 't') {
        say("state", "kill -CONT lets it go on", "the process is stopped by a %s",
            state == 'T' ? "signal" : "debugger");
    } else if (state == 'Z') {
        say("state", "its parent has to wait() for it", "the process has ended (zombie)");
    }
}

// Whether blocks of the program lie in Larder's heap.
static bool has_heap(pid_t pid) {
    static struct page_view view;
    struct page_link link;
    struct page_answer answer;
    if (lr_page_open(pid, &link, true) != TOOL_OK) {
        return false;
    }
    if (!lr_proc_is_stopped(pid)) {
        (void)lr_page_ask(&link, LARDER_PAGE_REFRESH, "", "", &answer);
    }
    const bool has =
        lr_page_read(&link, &view) == NULL && view.report.stats.live_bytes > HEAP_LEAST;
    lr_page_close(&link);
    return has;
}

// Which allocators are mapped. The environment does not tell whether Larder was preloaded: programs
// write over it. The loader searches in the order in which it maps, from high addresses down.
static void look_at_malloc(pid_t pid) {
    static const char *const others[] = {"libjemalloc", "libtcmalloc", "libmimalloc",
                                         "libhoard",    "librpmalloc", "libsnmallocshim"};
    char path[64];
    char line[4096];
    char found[TEXT] = "";
    bool first = false; // Larder is mapped above all others
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *stream = fopen(path, "re");
    while (stream != NULL && fgets(line, sizeof line, stream) != NULL) {
        first |= strstr(line, "/liblarder") != NULL;
        for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
            const bool is_other = strstr(line, others[i]) != NULL;
            first &= !is_other;
            if (is_other && strstr(found, others[i]) == NULL) {
                const size_t length = strlen(found);
                snprintf(found + length, sizeof found - length, " %s", others[i]);
            }
        }
    }
    if (stream == NULL) {
        say("malloc", "look as its user, or as root", "the mappings cannot be read");
        return;
    }
    fclose(stream);
    const bool larder = lr_proc_uses_larder(pid);
    if (found[0] == '\0') {
        say("malloc", larder ? NULL : "start it with `larder run`",
            larder ? "Larder's" : "libc's or the program's own; Larder is not mapped");
    } else if (!larder) {
        say("malloc", "start it with `larder run`: what is preloaded comes first",
            "Larder is not mapped;%s is", found);
    } else if (first || has_heap(pid)) {
        // Redis asks jemalloc about its heap, and to defragment it.
        say("malloc", NULL,
            "Larder's;%s is mapped too, as of a program linked with it: its malloc is not used, "
            "and "
            "its own figures and controls say nothing of this heap",
            found);
    } else {
        say("malloc", "the first in LD_PRELOAD or in link order defines malloc: put Larder first",
            "mapped, besides Larder:%s", found);
    }
}

static void look_at_page(pid_t pid) {
    static struct page_view view;
    struct page_link link;
    if (!lr_proc_uses_larder(pid)) {
        return;
    }
    if (lr_page_open(pid, &link, true) != TOOL_OK) {
        say("page",
            "LARDER_PUBLISH=2 shows a page from the start of a process, but not with "
            "LARDER_HARDENED=1 or LARDER_SCAVENGER other than thread",
            "the process shows no page");
        return;
    }
    if (lr_page_look(&link, &view) != TOOL_OK) {
        say("page", "let it go on (kill -CONT), or look again", "it shows no figures");
    } else {
        const struct larder_stats *s = &view.report.stats;
        if (view.stale) {
            say("page", "let it go on (kill -CONT), or look again",
                "it shows how things once were");
        }
        const bool same = strcmp(view.version, LARDER_VERSION) == 0;
        say("library", same ? NULL : "use the command that was installed with the library",
            "larder %s", view.version);
        say("heap",
            s->fragmentation > 500 && s->held_bytes > 64 << 20
                ? "more than half of it is not live: `larder stat --explain` says where"
                : NULL,
            "%ju MiB held, %ju MiB live, fragmentation %ju.%ju %%", (uintmax_t)s->held_bytes >> 20,
            (uintmax_t)s->live_bytes >> 20, (uintmax_t)s->fragmentation / 10,
            (uintmax_t)s->fragmentation % 10);
        const uint64_t waits = lr_permille(s->lock_contended, s->lock_takes);
        say("locks",
            waits > 100 ? "the last rows of `larder stat` say which tier is too small" : NULL,
            "%ju.%ju %% of the locks taken had to be waited for", (uintmax_t)waits / 10,
            (uintmax_t)waits % 10);
    }
    lr_page_close(&link);
}

static const char own[] = "LARDER_";

static const char *option_name_at(unsigned i) { return lr_option_name((enum lr_option_id)i); }

// A variable of Larder as the library read it at start.
static void look_at_own(const char *variable, uint64_t values[LR_OPTION_COUNT]) {
    char name[ARGUMENT_OPTION_BYTES];
    char range[128];
    struct lr_print p;
    const char *value = lr_argument_option(variable, name);
    const size_t length = strcspn(variable, "=") - (sizeof own - 1);
    const enum lr_option_id id = lr_option_by_variable(variable + sizeof own - 1, length);
    if (value == NULL || id == LR_OPTION_COUNT) {
        say("environment", "it is no option: correct or remove it", "%.200s%s", variable,
            lr_tool_nearest(name, option_name_at, LR_OPTION_COUNT));
        return;
    }
    uint64_t number = values[id];
    if (lr_option_read(id, value, &number) != LR_OPTION_GOOD) {
        lr_print_init(&p, range, sizeof range, -1);
        lr_option_print_range(&p, id);
        say("environment", "correct it", "%.200s is not accepted; %s is", variable, range);
    }
    values[id] = number;
}

static void look_at_hindered(const uint64_t values[LR_OPTION_COUNT]) {
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        const char *why = lr_option_hindrance(id, values);
        if (why != NULL && values[id] != lr_option_row(id)->fallback) {
            char name[64];
            struct lr_print p;
            lr_print_init(&p, name, sizeof name, -1);
            lr_option_print_variable(&p, id);
            say("environment", "leave one of them out", "%s has no effect: %s", name, why);
        }
    }
}

// Variables that steer a malloc which is not there any more, and those of Larder that do nothing.
static void look_at_environment(pid_t pid) {
    char path[64];
    char *line = NULL;
    size_t room = 0;
    uint64_t values[LR_OPTION_COUNT];
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        values[id] = lr_option_row(id)->fallback;
    }
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    FILE *stream = lr_proc_uses_larder(pid) ? fopen(path, "re") : NULL;
    while (stream != NULL && getdelim(&line, &room, '\0', stream) > 0) {
        if (strncmp(line, "MALLOC_CONF=", 12) == 0) {
            say("environment", "it steers jemalloc only: leave it out", "%.200s", line);
        } else if (strncmp(line, "MALLOC_", 7) == 0 || strstr(line, "glibc.malloc.") != NULL) {
            say("environment", "it steers glibc's malloc only: leave it out", "%.200s", line);
        } else if (strncmp(line, own, sizeof own - 1) == 0 &&
                   strncmp(line, "LARDER_TEST_", 12) != 0) {
            look_at_own(line, values);
        }
    }
    look_at_hindered(values);
    free(line);
    if (stream != NULL) {
        fclose(stream);
    }
}

int lr_cmd_doctor(int argc, char **argv) {
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    pid_t pid = 0;
    char name[32];
    for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (letter != 'j') {
            return lr_tool_misused("doctor");
        }
        output.json = true;
    }
    if (argc - optind > 1 || (optind < argc && !lr_argument_pid(argv[optind], &pid))) {
        return lr_tool_usage("doctor", "doctor takes at most one process id");
    }
    if (pid != 0 && !lr_proc_line(pid, "comm", name, sizeof name)) {
        lr_tool_error("process %d: no such process", (int)pid);
        return TOOL_FAILED;
    }
    if (output.json) {
        putchar('[');
    }
    look_at_versions();
    look_at_huge_pages();
    look_at_memory_policy(pid);
    look_at_pressure();
    if (pid != 0) {
        look_at_state(pid);
        look_at_cgroup(pid);
        look_at_limits(pid);
        look_at_malloc(pid);
        look_at_environment(pid);
        look_at_page(pid);
    }
    if (output.json) {
        puts("\n]");
    }
    return TOOL_OK;
}
