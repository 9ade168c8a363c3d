// SPDX-License-Identifier: Apache-2.0
// larder replay: runs a recording again, under one allocator or several.
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool/arguments.h"
#include "tool/replay_measure.h"
#include "tool/tool.h"

enum { SETUPS_MOST = 16, ASSIGNMENTS_MOST = 64, ROUNDS = 5, REST_MS = 500 };

struct request {
    const char *libraries[SETUPS_MOST];
    unsigned count;
    const char *preset;
    const char **assignments;
    size_t assignment_count;
    unsigned rounds;
    enum plan_touch touch;
    bool json;
};

static double mib(double bytes) { return bytes / (1024 * 1024); }

static void print_plan(const struct plan *plan, const char *path) {
    printf("%s: %ju allocations, %ju frees, %ju reallocs in %u threads; at most %.1f MiB live\n",
           path, (uintmax_t)plan->allocations, (uintmax_t)plan->frees, (uintmax_t)plan->reallocs,
           plan->thread_count, mib((double)plan->peak_bytes));
    if (plan->unseen > 0 || plan->lost > 0) {
        printf("  %ju blocks are older than the recording, of %ju the free is missing\n",
               (uintmax_t)plan->unseen, (uintmax_t)plan->lost);
    }
}

static void print_table(const struct replay_setup *setups, unsigned count) {
    printf("%-24s %10s %6s %10s %10s %10s %9s\n", "", "SECONDS", "+-", "PEAK MiB", "END MiB",
           "REST MiB", "FAULTS");
    for (unsigned i = 0; i < count; i++) {
        const struct replay_setup *s = &setups[i];
        printf("%-24s %10.3f %6.3f %10.1f %10.1f %10.1f %9.0f\n", s->name,
               lr_replay_median(s, REPLAY_FIELD(wall_ns)) / 1e9,
               lr_replay_spread(s, REPLAY_FIELD(wall_ns)) / 1e9,
               mib(lr_replay_median(s, REPLAY_FIELD(peak_bytes))),
               mib(lr_replay_median(s, REPLAY_FIELD(end_bytes))),
               mib(lr_replay_median(s, REPLAY_FIELD(rest_bytes))),
               lr_replay_median(s, REPLAY_FIELD(faults)));
        if (s->results[0].failed > 0) {
            printf("  %ju allocations failed\n", (uintmax_t)s->results[0].failed);
        }
    }
}

static void print_name(const char *name) {
    putchar('"');
    for (; *name != '\0'; name++) {
        if (*name == '"' || *name == '\\') {
            putchar('\\');
        }
        putchar(*name >= ' ' && *name <= '~' ? *name : '?');
    }
    putchar('"');
}

static void print_field(const struct replay_setup *s, const char *name, size_t field) {
    printf(", \"%s\": {\"median\": %.0f, \"spread\": %.0f}", name, lr_replay_median(s, field),
           lr_replay_spread(s, field));
}

static void print_json(const struct plan *plan, const struct replay_setup *setups, unsigned count) {
    printf("{\"threads\": %u, \"allocations\": %ju, \"frees\": %ju, \"reallocs\": %ju,\n"
           " \"unseen\": %ju, \"lost\": %ju, \"live_blocks\": %ju, \"live_bytes\": %ju, "
           "\"peak_live_bytes\": %ju,\n \"runs\": [",
           plan->thread_count, (uintmax_t)plan->allocations, (uintmax_t)plan->frees,
           (uintmax_t)plan->reallocs, (uintmax_t)plan->unseen, (uintmax_t)plan->lost,
           (uintmax_t)plan->live_blocks, (uintmax_t)plan->live_bytes, (uintmax_t)plan->peak_bytes);
    for (unsigned i = 0; i < count; i++) {
        const struct replay_setup *s = &setups[i];
        printf("%s\n  {\"name\": ", i == 0 ? "" : ",");
        print_name(s->name);
        printf(
            ", \"rounds\": %u, \"live_blocks\": %ju, \"live_usable_bytes\": %ju, \"failed\": %ju",
            s->rounds, (uintmax_t)s->results[0].live_blocks, (uintmax_t)s->results[0].live_bytes,
            (uintmax_t)s->results[0].failed);
        print_field(s, "wall_ns", REPLAY_FIELD(wall_ns));
        print_field(s, "cpu_ns", REPLAY_FIELD(cpu_ns));
        print_field(s, "peak_bytes", REPLAY_FIELD(peak_bytes));
        print_field(s, "end_bytes", REPLAY_FIELD(end_bytes));
        print_field(s, "rest_bytes", REPLAY_FIELD(rest_bytes));
        print_field(s, "faults", REPLAY_FIELD(faults));
        putchar('}');
    }
    puts("]}");
}

static int replay(const struct request *request, const char *path) {
    int fd;
    struct replay_setup *setups = calloc(request->count, sizeof *setups);
    struct plan *plan = setups != NULL ? lr_plan_load(path, &fd) : NULL;
    bool good = plan != NULL;
    for (unsigned i = 0; good && i < request->count; i++) {
        good = lr_replay_use(&setups[i], request->libraries[i]);
        if (strstr(setups[i].preload, "liblarder") != NULL) {
            setups[i].preset = request->preset;
            setups[i].assignments = request->assignments;
            setups[i].assignment_count = request->assignment_count;
        }
    }
    if (good) {
        plan->touch = request->touch;
        plan->rest_ms = REST_MS;
    }
    for (unsigned round = 0; good && round < request->rounds; round++) {
        for (unsigned i = 0; good && i < request->count; i++) {
            good = lr_replay_run(plan, fd, &setups[i]);
        }
    }
    if (good && request->json) {
        print_json(plan, setups, request->count);
    } else if (good) {
        print_plan(plan, path);
        print_table(setups, request->count);
    }
    free(setups);
    return good ? TOOL_OK : TOOL_FAILED;
}

static int refuse(int letter, const char *value) {
    static const struct {
        int letter;
        const char *name;
        const char *accepted;
    } rows[] = {{'l', "--lib", "given at most 16 times"},
                {'o', "--opt", "given at most 64 times"},
                {'r', "--rounds", "1 to 64"},
                {'t', "--touch", "pages, first or all"},
                {'d', "--descriptor", "a descriptor"}};
    static_assert(SETUPS_MOST == 16 && ASSIGNMENTS_MOST == 64 && REPLAY_ROUNDS_MOST == 64, "rows");
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].letter == letter) {
            return lr_tool_usage("replay", "%s cannot be '%s'; accepted: %s", rows[i].name, value,
                                 rows[i].accepted);
        }
    }
    return lr_tool_misused("replay");
}

static bool read_touch(const char *text, enum plan_touch *out) {
    static const char *const names[] = {
        [PLAN_TOUCH_PAGES] = "pages", [PLAN_TOUCH_FIRST] = "first", [PLAN_TOUCH_ALL] = "all"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum plan_touch)i;
            return true;
        }
    }
    return false;
}

// TOOL_OK, or TOOL_USAGE with a line said; *descriptor: of the plan that this process is to run.
static int read_options(int argc, char **argv, struct request *request, int *descriptor) {
    static const struct option options[] = {
        {"lib", required_argument, NULL, 'l'},        {"opt", required_argument, NULL, 'o'},
        {"preset", required_argument, NULL, 'p'},     {"rounds", required_argument, NULL, 'r'},
        {"touch", required_argument, NULL, 't'},      {"json", no_argument, NULL, 'j'},
        {"descriptor", required_argument, NULL, 'd'}, {NULL, 0, NULL, 0},
    };
    uint64_t number = 0;
    for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        bool good = true;
        switch (letter) {
        case 'l':
            good = request->count < SETUPS_MOST;
            request->libraries[good ? request->count++ : 0] = optarg;
            break;
        case 'o':
            good = request->assignment_count < ASSIGNMENTS_MOST;
            request->assignments[good ? request->assignment_count++ : 0] = optarg;
            break;
        case 'p':
            request->preset = optarg;
            break;
        case 'r':
            good =
                lr_argument_number(optarg, &number) && number > 0 && number <= REPLAY_ROUNDS_MOST;
            request->rounds = (unsigned)number;
            break;
        case 't':
            good = read_touch(optarg, &request->touch);
            break;
        case 'j':
            request->json = true;
            break;
        case 'd':
            good = lr_argument_number(optarg, &number) && number < 1 << 20;
            *descriptor = (int)number;
            break;
        default:
            good = false;
        }
        if (!good) {
            return refuse(letter, optarg);
        }
    }
    return TOOL_OK;
}

int lr_cmd_replay(int argc, char **argv) {
    int descriptor = -1;
    const char *assignments[ASSIGNMENTS_MOST];
    struct request request = {.rounds = ROUNDS, .assignments = assignments};
    const int status = read_options(argc, argv, &request, &descriptor);
    if (status != TOOL_OK) {
        return status;
    }
    if (descriptor >= 0) {
        return lr_plan_run(descriptor);
    }
    if (argc - optind != 1) {
        return lr_tool_usage("replay", "replay takes one recording");
    }
    if (request.count == 0) {
        request.libraries[request.count++] = "larder";
    }
    return replay(&request, argv[optind]);
}
