// SPDX-License-Identifier: Apache-2.0
// larder tune: looks for options that serve a recording better than the defaults do. Settings are
// replayed in turns, so that what the machine does meanwhile meets all of them; each is judged by
// its rounds' ratios to the default's in the same round, and the worse half drops out until few are
// left.
#include <ctype.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool/arguments.h"
#include "tool/preset.h"
#include "tool/replay_measure.h"
#include "tool/tool.h"

enum {
    FINALISTS = 3,
    ALWAYS = 3,       // settings of the grid that are tried in any case
    ROUNDS_LEAST = 3, // below that nothing is recommended
    ROUNDS_MOST = 15,
    ASSIGNMENTS = 2,
    OPS_LEAST = 1000,
};

#define BUDGET_SECONDS 60.0
#define GAIN_LEAST 0.02    // smaller ones are not worth a setting
#define SECONDS_LEAST 0.02 // of a replay whose time can be told
#define SPREADS 2.0        // how many times its noise a gain has to be

static const struct {
    const char *preset;
    const char *assignment;
} grid[] = {
    {NULL, NULL}, // the defaults: first, the others are compared with it
    {"latency", NULL},
    {"memory", NULL},
    {NULL, "thp=never"},
    {NULL, "thp=always"},
    {NULL, "thread_cache_max=512K"},
    {NULL, "thread_cache_max=16M"},
    {NULL, "thread_cache_total=1M"},
    {NULL, "batch_max=16"},
    {NULL, "batch_max=512"},
    {NULL, "bin_objects_max=64"},
    {NULL, "bin_objects_max=2048"},
    {NULL, "transfer_cache_max=0"},
    {NULL, "transfer_cache_max=128M"},
    {NULL, "scavenge_delay_ms=10"},
    {NULL, "scavenge_delay_ms=1000"},
    {NULL, "scavenger=off"},
};
enum { GRID = sizeof grid / sizeof *grid, SETTINGS = GRID + 1 };

enum axis { FOR_SPEED, FOR_MEMORY, FOR_BALANCE };
static const char *const axis_names[] = {
    [FOR_SPEED] = "speed", [FOR_MEMORY] = "memory", [FOR_BALANCE] = "balanced"};

struct setting {
    struct replay_setup setup;
    const char *assignments[ASSIGNMENTS];
    unsigned first_round; // of the default's that its own begin with
    bool active;
};

struct search {
    struct plan *plan;
    int fd;
    enum axis axis;
    struct setting *settings;
    unsigned count;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double ratio_of(uint64_t a, uint64_t b) { return ((double)a + 1) / ((double)b + 1); }

static double judge(enum axis axis, const struct plan_result *result,
                    const struct plan_result *base) {
    const double time = ratio_of(result->wall_ns, base->wall_ns);
    const double memory = ratio_of(result->peak_bytes, base->peak_bytes);
    return axis == FOR_SPEED ? time : axis == FOR_MEMORY ? memory : (time + memory) / 2;
}

static int by_ratio(const void *a, const void *b) {
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

// The middle of its ratios to the default on an axis, and half of the distance of their quartiles.
static double compare(const struct search *s, const struct setting *setting, enum axis axis,
                      double *spread) {
    double ratios[REPLAY_ROUNDS_MOST];
    const unsigned count = setting->setup.rounds;
    if (count == 0) {
        *spread = 0;
        return 1;
    }
    for (unsigned i = 0; i < count; i++) {
        ratios[i] = judge(axis, &setting->setup.results[i],
                          &s->settings[0].setup.results[setting->first_round + i]);
    }
    qsort(ratios, count, sizeof *ratios, by_ratio);
    const unsigned quarter = count / 4;
    const unsigned low = (count - 1) / 2;
    const unsigned high = count / 2;
    *spread = (ratios[count - 1 - quarter] - ratios[quarter]) / 2;
    return (ratios[low] + ratios[high]) / 2;
}

static double score(const struct search *s, const struct setting *setting) {
    double spread;
    return compare(s, setting, s->axis, &spread);
}

static bool add(struct search *s, const char *preset, const char *first, const char *second) {
    struct setting *setting = &s->settings[s->count];
    struct replay_setup *setup = &setting->setup;
    setting->assignments[0] = first;
    setting->assignments[1] = second;
    setting->active = true;
    setting->first_round = s->count == 0 ? 0 : s->settings[0].setup.rounds;
    setup->preset = preset;
    setup->assignments = setting->assignments;
    setup->assignment_count = (first != NULL ? 1U : 0U) + (second != NULL ? 1U : 0U);
    snprintf(setup->name, sizeof setup->name, "%s%s%s%s%s", preset != NULL ? "preset " : "",
             preset != NULL ? preset : (first == NULL ? "default" : ""), first != NULL ? first : "",
             second != NULL ? " " : "", second != NULL ? second : "");
    s->count++;
    return lr_replay_use(setup, "larder");
}

// Who does not watch gets a line a round.
static void say_progress(const struct search *s, unsigned i, unsigned done, unsigned left) {
    const unsigned round = s->settings[0].setup.rounds + (i == 0);
    if (isatty(STDERR_FILENO) != 0) {
        fprintf(stderr, "larder tune: round %u, %u of %u: %s\n", round, done, left,
                s->settings[i].setup.name);
    } else if (i == 0) {
        fprintf(stderr, "larder tune: round %u of %u settings\n", round, left);
    }
}

// One round of all that are left; those whose turn comes after the end drop out, but for the first.
static bool run_round(struct search *s, double end) {
    unsigned left = 0;
    for (unsigned i = 0; i < s->count; i++) {
        left += s->settings[i].active;
    }
    for (unsigned i = 0, done = 0; i < s->count; i++) {
        if (s->settings[i].active && i >= ALWAYS && now() >= end) {
            s->settings[i].active = false;
        } else if (s->settings[i].active) {
            say_progress(s, i, ++done, left);
            if (!lr_replay_run(s->plan, s->fd, &s->settings[i].setup)) {
                return false;
            }
        }
    }
    return true;
}

static const struct setting *best(const struct search *s, const struct setting *other_than) {
    const struct setting *found = NULL;
    for (unsigned i = 1; i < s->count; i++) {
        const struct setting *setting = &s->settings[i];
        if (setting->active && setting != other_than &&
            (found == NULL || score(s, setting) < score(s, found))) {
            found = setting;
        }
    }
    return found;
}

// Keeps the better half, FINALISTS at least. False if that are all.
static bool drop_worse(struct search *s) {
    unsigned active = 0;
    for (unsigned i = 1; i < s->count; i++) {
        active += s->settings[i].active;
    }
    if (active <= FINALISTS) {
        return false;
    }
    unsigned drop = active / 2 < active - FINALISTS ? active / 2 : active - FINALISTS;
    for (; drop > 0; drop--) {
        struct setting *worst = NULL;
        for (unsigned i = 1; i < s->count; i++) {
            struct setting *setting = &s->settings[i];
            if (setting->active && (worst == NULL || score(s, setting) > score(s, worst))) {
                worst = setting;
            }
        }
        if (worst != NULL) { // always: there are more than FINALISTS
            worst->active = false;
        }
    }
    return true;
}

// The two best together, if they are values of two options.
static bool add_both(struct search *s) {
    const struct setting *first = best(s, NULL);
    const struct setting *second = best(s, first);
    if (first == NULL || second == NULL || first->assignments[0] == NULL ||
        second->assignments[0] == NULL || score(s, second) > 1 - GAIN_LEAST / 2) {
        return true;
    }
    const size_t name = strcspn(first->assignments[0], "=") + 1;
    return strncmp(first->assignments[0], second->assignments[0], name) == 0 ||
           add(s, NULL, first->assignments[0], second->assignments[0]);
}

static bool search(struct search *s, double budget) {
    const double end = now() + budget;
    bool good = true;
    for (unsigned i = 0; good && i < GRID; i++) {
        good = add(s, grid[i].preset, grid[i].assignment, NULL);
    }
    good = good && run_round(s, end);
    while (good && now() < end && drop_worse(s)) {
        good = run_round(s, end);
    }
    while (drop_worse(s)) {
    }
    good = good && add_both(s);
    while (good && s->settings[0].setup.rounds < ROUNDS_MOST &&
           (now() < end || s->settings[0].setup.rounds <= ROUNDS_LEAST)) {
        good = run_round(s, INFINITY);
    }
    return good;
}

// One round says nothing of noise.
static void print_change(double ratio, double spread, unsigned rounds) {
    if (rounds > 1) {
        printf(" %+7.1f %% +- %4.1f", (ratio - 1) * 100, spread * 100);
    } else {
        printf(" %+7.1f %% +-    ?", (ratio - 1) * 100);
    }
}

static void print_upper(const char *name, size_t length) {
    printf("LARDER_");
    for (size_t i = 0; i < length; i++) {
        putchar(toupper((unsigned char)name[i]));
    }
}

static void print_assignment(const char *name, size_t length, const char *value, bool first) {
    (void)first;
    putchar(' ');
    print_upper(name, length);
    printf("=%s", value);
}

static void print_member(const char *name, size_t length, const char *value, bool first) {
    printf(first ? "\"" : ", \"");
    print_upper(name, length);
    printf("\": \"%s\"", value);
}

// The variables of the environment that make the setting.
static void each_variable(const struct setting *setting,
                          void (*print)(const char *name, size_t length, const char *value,
                                        bool first)) {
    bool first = true;
    for (size_t i = 0; i < lr_preset_option_count; i++) {
        const struct preset_option *option = &lr_preset_options[i];
        if (setting->setup.preset != NULL && strcmp(option->preset, setting->setup.preset) == 0) {
            print(option->name, strlen(option->name), option->value, first);
            first = false;
        }
    }
    for (size_t i = 0; i < setting->setup.assignment_count; i++) {
        const size_t name = strcspn(setting->assignments[i], "=");
        print(setting->assignments[i], name, setting->assignments[i] + name + 1, first);
        first = false;
    }
}

static void print_command(const struct setting *setting) {
    printf("larder run");
    if (setting->setup.preset != NULL) {
        printf(" --preset %s", setting->setup.preset);
    }
    for (size_t i = 0; i < setting->setup.assignment_count; i++) {
        printf(" --opt %s", setting->assignments[i]);
    }
    printf(" -- PROGRAM");
}

static bool is_sure(const struct search *s, const struct setting *setting) {
    double spread = 0;
    const double gain = 1 - compare(s, setting, s->axis, &spread);
    return setting->setup.rounds >= ROUNDS_LEAST && gain >= GAIN_LEAST && gain > SPREADS * spread;
}

static const struct setting *best_that_is_sure(const struct search *s) {
    const struct setting *found = NULL;
    for (unsigned i = 1; i < s->count; i++) {
        const struct setting *setting = &s->settings[i];
        if (is_sure(s, setting) && (found == NULL || score(s, setting) < score(s, found))) {
            found = setting;
        }
    }
    return found;
}

static double base_median(const struct search *s, size_t field) {
    return lr_replay_median(&s->settings[0].setup, field);
}

static void print_text(const struct search *s, const struct setting *winner, bool sure) {
    static const char *const axes[] = {"time", "peak memory", "the mean of time and peak memory"};
    double spread = 0;
    printf("%-40s %6s %18s %18s\n", "", "ROUNDS", "TIME", "PEAK MEMORY");
    printf("%-40s %6u %16.3f s %14.1f MiB\n", "default", s->settings[0].setup.rounds,
           base_median(s, REPLAY_FIELD(wall_ns)) / 1e9,
           base_median(s, REPLAY_FIELD(peak_bytes)) / (1 << 20));
    for (unsigned i = 1; i < s->count; i++) {
        const struct setting *setting = &s->settings[i];
        if (setting->setup.rounds == 0) {
            printf("%-40s not tried: the time was over\n", setting->setup.name);
            continue;
        }
        printf("%-40s %6u", setting->setup.name, setting->setup.rounds);
        for (enum axis axis = FOR_SPEED; axis <= FOR_MEMORY; axis++) {
            const double ratio = compare(s, setting, axis, &spread);
            print_change(ratio, spread, setting->setup.rounds);
        }
        putchar('\n');
    }
    const double ratio = compare(s, winner, s->axis, &spread);
    printf("\n%s: %s, %s %+.1f %% +- %.1f %%\n",
           sure ? "better than the default"
                : "no setting is better than the default beyond the noise; the best was",
           winner->setup.name, axes[s->axis], (ratio - 1) * 100, spread * 100);
    if (sure) {
        printf("  ");
        print_command(winner);
        printf("\n ");
        each_variable(winner, print_assignment);
        putchar('\n');
    }
}

static void print_ratio(const struct search *s, const struct setting *setting, const char *name,
                        enum axis axis) {
    double spread = 0;
    const double ratio = compare(s, setting, axis, &spread);
    printf(", \"%s\": {\"ratio\": %.4f, \"noise\": %.4f}", name, ratio, spread);
}

static void print_json(const struct search *s, const struct setting *winner, bool sure) {
    printf("{\"for\": \"%s\",\n \"default\": {\"rounds\": %u, \"wall_ns\": %.0f, "
           "\"peak_bytes\": %.0f},\n \"settings\": [",
           axis_names[s->axis], s->settings[0].setup.rounds, base_median(s, REPLAY_FIELD(wall_ns)),
           base_median(s, REPLAY_FIELD(peak_bytes)));
    for (unsigned i = 1; i < s->count; i++) {
        const struct setting *setting = &s->settings[i];
        printf("%s\n  {\"name\": \"%s\", \"rounds\": %u", i == 1 ? "" : ",", setting->setup.name,
               setting->setup.rounds);
        if (setting->setup.rounds > 0) {
            print_ratio(s, setting, "time", FOR_SPEED);
            print_ratio(s, setting, "peak_memory", FOR_MEMORY);
        }
        putchar('}');
    }
    printf("],\n \"best\": {\"name\": \"%s\", \"better\": %s", winner->setup.name,
           sure ? "true" : "false");
    print_ratio(s, winner, "gain", s->axis);
    printf(", \"command\": \"");
    print_command(winner);
    printf("\", \"environment\": {");
    each_variable(winner, print_member);
    puts("}}}");
}

static int tune(const char *path, enum axis axis, double budget, bool json) {
    int status = TOOL_FAILED;
    struct search s = {.axis = axis, .settings = calloc(SETTINGS, sizeof *s.settings)};
    if (s.settings == NULL) {
        lr_tool_error("out of memory");
        return status;
    }
    s.plan = lr_plan_load(path, &s.fd);
    if (s.plan != NULL && s.plan->op_count < OPS_LEAST) {
        lr_tool_error("'%s' has too little in it: %ju calls, and nothing less than %d tells one "
                      "setting from another; record a longer time of load",
                      path, (uintmax_t)s.plan->op_count, OPS_LEAST);
    } else if (s.plan != NULL && search(&s, budget)) {
        const struct setting *sure = best_that_is_sure(&s);
        const double seconds = base_median(&s, REPLAY_FIELD(wall_ns)) / 1e9;
        if (axis != FOR_MEMORY && seconds < SECONDS_LEAST) {
            lr_tool_error(
                "a replay takes %.1f ms only: times are mostly noise; record a longer time "
                "of load",
                seconds * 1e3);
        }
        (json ? print_json : print_text)(&s, sure != NULL ? sure : best(&s, NULL), sure != NULL);
        status = TOOL_OK;
    }
    free(s.settings);
    return status;
}

int lr_cmd_tune(int argc, char **argv) {
    static const struct option options[] = {{"for", required_argument, NULL, 'f'},
                                            {"budget", required_argument, NULL, 'b'},
                                            {"json", no_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    unsigned axis = FOR_BALANCE;
    double budget = BUDGET_SECONDS;
    bool json = false;
    for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        bool good = letter == 'j' || (letter == 'b' && lr_argument_seconds(optarg, &budget));
        json |= letter == 'j';
        if (letter == 'f') {
            for (axis = 0; axis <= FOR_BALANCE && strcmp(optarg, axis_names[axis]) != 0; axis++) {
            }
            good = axis <= FOR_BALANCE;
        }
        if (!good) {
            return letter == '?' ? lr_tool_misused("tune")
                                 : lr_tool_usage("tune", "--%s cannot be '%s'",
                                                 letter == 'f' ? "for" : "budget", optarg);
        }
    }
    if (argc - optind != 1) {
        return lr_tool_usage("tune", "tune takes one recording");
    }
    return tune(argv[optind], (enum axis)axis, budget, json);
}
