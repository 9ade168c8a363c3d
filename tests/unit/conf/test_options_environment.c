// SPDX-License-Identifier: Apache-2.0
//
// What an environment makes of the options, and what is said about wrong variables.
#include "conf/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../support/support.h"
#include "conf/hindrance.h"

static char warnings[4096];

static struct lr_option_values parsed(char *const *environment) {
    struct lr_option_values values;
    struct lr_print p;
    lr_print_init(&p, warnings, sizeof warnings, -1);
    lr_options_from_environment(environment, &values, &p);
    EXPECT(!p.truncated);
    struct lr_option_values silent;
    lr_options_from_environment(environment, &silent, NULL);
    EXPECT(memcmp(silent.value, values.value, sizeof values.value) == 0);
    return values;
}

static struct lr_option_values parsed_one(const char *variable) {
    char copy[512];
    EXPECT_UINT(strlen(variable), <, sizeof copy);
    strcpy(copy, variable);
    char *environment[] = {copy, NULL};
    return parsed(environment);
}

START_TEST(test_options_environment__empty_environment_gives_the_defaults) {
    char *nothing[] = {NULL};
    char *others[] = {(char[]){"PATH=/bin"},
                      (char[]){"LARDER=1"},
                      (char[]){"XLARDER_STATS=1"},
                      (char[]){"larder_stats=1"},
                      (char[]){"MALLOCSTATSX=1"},
                      (char[]){"=1"},
                      (char[]){"LARDER_TEST_SEED=abc"},
                      (char[]){"LARDER_STATS"},
                      NULL};
    char *const *environments[] = {NULL, nothing, others};
    for (size_t i = 0; i < 3; i++) {
        const struct lr_option_values values = parsed(environments[i]);
        ck_assert_str_eq(warnings, "");
        for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
            EXPECT_UINT(values.value[id], ==, lr_option_row(id)->fallback);
            EXPECT_UINT(values.origin[id], ==, LR_FROM_DEFAULT);
        }
    }
}
END_TEST

// A value of the option that is not its default, as text for the environment.
static uint64_t other_value(enum lr_option_id id, char *text, size_t cap) {
    const struct lr_option_row *row = lr_option_row(id);
    const uint64_t value = row->fallback == row->max ? row->min : row->max;
    struct lr_print p;
    lr_print_init(&p, text, cap, -1);
    lr_option_print_variable(&p, id);
    lr_print_char(&p, '=');
    if (row->type == LR_TYPE_NAME || row->type == LR_TYPE_PATH) {
        lr_option_print_value(&p, id, value);
    } else {
        lr_print_u64(&p, value);
    }
    return value;
}

START_TEST(test_options_environment__every_variable_sets_its_option_only) {
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        char text[128];
        const uint64_t value = other_value(id, text, sizeof text);
        const struct lr_option_values values = parsed_one(text);
        ck_assert_str_eq(warnings, "");
        for (enum lr_option_id i = 0; i < LR_OPTION_COUNT; i++) {
            EXPECT_UINT(values.value[i], ==, i == id ? value : lr_option_row(i)->fallback);
            EXPECT_UINT(values.origin[i], ==, i == id ? LR_FROM_ENVIRONMENT : LR_FROM_DEFAULT);
        }
    }
}
END_TEST

START_TEST(test_options_environment__wrong_variable_gets_one_exact_line) {
    static const struct {
        const char *variable;
        const char *warning;
        enum lr_option_id id;
        uint64_t used;
    } rows[] = {
        {"LARDER_THREAD_CACHE_MAX=1K",
         "larder: value out of range LARDER_THREAD_CACHE_MAX=\"1K\", accepted 64 KiB to 1 GiB; "
         "using 64 KiB\n",
         LR_OPTION_thread_cache_max, 64 * LR_KIB},
        {"LARDER_BATCH_MAX=9999",
         "larder: value out of range LARDER_BATCH_MAX=\"9999\", accepted 2 to 512 objects; "
         "using 512 objects\n",
         LR_OPTION_batch_max, 512},
        {"LARDER_SCAVENGE_DELAY_MS=-5",
         "larder: value out of range LARDER_SCAVENGE_DELAY_MS=\"-5\", accepted 0 to 3600000 ms; "
         "using 0 ms\n",
         LR_OPTION_scavenge_delay_ms, 0},
        {"LARDER_POOL_SIZE=99999999999999999999",
         "larder: value out of range LARDER_POOL_SIZE=\"99999999999999999999\", accepted 2 MiB to "
         "64 GiB; using 64 GiB\n",
         LR_OPTION_pool_size, 64 * LR_GIB},
        {"LARDER_POOL_SIZE=64 MiB",
         "larder: value not understood LARDER_POOL_SIZE=\"64 MiB\", accepted 2 MiB to 64 GiB; "
         "using 64 MiB\n",
         LR_OPTION_pool_size, 64 * LR_MIB},
        {"LARDER_SCAVENGER=often",
         "larder: value not understood LARDER_SCAVENGER=\"often\", accepted thread, inline or off; "
         "using thread\n",
         LR_OPTION_scavenger, LR_SCAVENGER_THREAD},
        {"LARDER_STATS=",
         "larder: value not understood LARDER_STATS=\"\", accepted 0 or 1; using 0\n",
         LR_OPTION_stats, 0},
        {"LARDER_STAT=1",
         "larder: unknown option LARDER_STAT, the nearest is LARDER_STATS; ignored\n",
         LR_OPTION_stats, 0},
        {"LARDER_thp=never",
         "larder: unknown option LARDER_thp, the nearest is LARDER_THP; ignored\n", LR_OPTION_thp,
         LR_THP_AUTO},
        {"LARDER_=1", "larder: unknown option LARDER_; ignored\n", LR_OPTION_thp, LR_THP_AUTO},
        {"TCMALLOC_RELEASE_RATE=20",
         "larder: value out of range TCMALLOC_RELEASE_RATE=\"20\", accepted 0 to 10; "
         "using LARDER_SCAVENGE_RATE=10 GiB/s\n",
         LR_OPTION_scavenge_rate, 10 * LR_GIB},
        {"TCMALLOC_HEAP_LIMIT_MB=1G",
         "larder: value not understood TCMALLOC_HEAP_LIMIT_MB=\"1G\", accepted 0 to 67108864; "
         "using LARDER_HEAP_LIMIT=0\n",
         LR_OPTION_heap_limit, 0},
        {"MALLOCSTATS=x",
         "larder: value not understood MALLOCSTATS=\"x\", accepted 0 or more; "
         "using LARDER_STATS=0\n",
         LR_OPTION_stats, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct lr_option_values values = parsed_one(rows[i].variable);
        ck_assert_str_eq(warnings, rows[i].warning);
        EXPECT_UINT(values.value[rows[i].id], ==, rows[i].used);
    }
}
END_TEST

START_TEST(test_options_environment__a_hostile_value_is_shown_cut_and_printable) {
    char variable[400] = "LARDER_STATS=\033[2J\n\t\x80";
    memset(variable + strlen(variable), 'A', 300);
    (void)parsed_one(variable);
    ck_assert_str_eq(warnings, "larder: value not understood LARDER_STATS=\"?[2J???"
                               "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA...\", "
                               "accepted 0 or 1; using 0\n");
    strcpy(variable, "LARDER_");
    memset(variable + 7, 'Z', 300);
    strcpy(variable + 307, "=1");
    (void)parsed_one(variable);
    EXPECT(strncmp(warnings, "larder: unknown option LARDER_ZZZ", 33) == 0);
    EXPECT_UINT(strlen(warnings), <, 200);
}
END_TEST

START_TEST(test_options_environment__own_name_wins_over_alias_and_first_over_second) {
    char *environment[] = {(char[]){"LARDER_HEAP_LIMIT=3M"},
                           (char[]){"TCMALLOC_HEAP_LIMIT_MB=5"},
                           (char[]){"MALLOCSTATS=1"},
                           (char[]){"LARDER_STATS=0"},
                           (char[]){"LARDER_BATCH_MAX=7"},
                           (char[]){"LARDER_BATCH_MAX=8"},
                           (char[]){"TCMALLOC_RELEASE_RATE=0"},
                           (char[]){"TCMALLOC_RELEASE_RATE=2"},
                           NULL};
    const struct lr_option_values values = parsed(environment);
    ck_assert_str_eq(warnings, "");
    EXPECT_UINT(values.value[LR_OPTION_heap_limit], ==, 3 * LR_MIB);
    EXPECT_UINT(values.value[LR_OPTION_stats], ==, 0);
    EXPECT_UINT(values.origin[LR_OPTION_stats], ==, LR_FROM_ENVIRONMENT);
    EXPECT_UINT(values.value[LR_OPTION_batch_max], ==, 7);
    EXPECT_UINT(values.value[LR_OPTION_scavenger], ==, LR_SCAVENGER_OFF);
    EXPECT_UINT(values.value[LR_OPTION_scavenge_rate], ==, 16 * LR_GIB);
}
END_TEST

static void print_values(void) {
    uint64_t value;
#define OPTION(name, type, unit, fallback, min, max, when, help)                                   \
    EXPECT_INT(lr_option_get(#name, &value), ==, 0);                                               \
    EXPECT_UINT(value, ==, lr_opt_##name());                                                       \
    printf("%s=%ju\n", #name, (uintmax_t)value);
#include "conf/options.def"
    fflush(stdout);
}

// Run by the program that a test below starts afresh, before main: reads the environment as the
// library would, more than once, also in a forked child, and shows the values.
__attribute__((constructor)) static void show_options_if_asked(void) {
    if (getenv("LARDER_TEST_SHOW_OPTIONS") == NULL) {
        return;
    }
    EXPECT(lr_options_init());
    EXPECT(lr_options_init());
    const pid_t child = fork();
    if (child == 0) {
        _exit(lr_options_init() ? 0 : 1);
    }
    int status = -1;
    EXPECT_INT(waitpid(child, &status, 0), ==, child);
    EXPECT_INT(status, ==, 0);
    print_values();
    _exit(0);
}

// Output and error output of this program in `environment`, started afresh.
static void run_afresh(char *const *environment, char *output, size_t cap) {
    int ends[2];
    EXPECT_INT(pipe(ends), ==, 0);
    const pid_t child = fork();
    if (child == 0) {
        char *arguments[] = {(char[]){"test_options_environment"}, NULL};
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        execve("/proc/self/exe", arguments, environment);
        _exit(127);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while (length < cap - 1 && (got = read(ends[0], output + length, cap - 1 - length)) > 0) {
        length += (size_t)got;
    }
    output[length] = '\0';
    close(ends[0]);
    int status = -1;
    EXPECT_INT(waitpid(child, &status, 0), ==, child);
    EXPECT_INT(status, ==, 0);
}

START_TEST(test_options_environment__process_takes_its_environment_and_warns_once) {
    char text[LR_OPTION_COUNT][128];
    char *environment[LR_OPTION_COUNT + 4];
    char expected[4096], output[4096];
    size_t length = 0, count = 0;
    uint64_t values[LR_OPTION_COUNT];
    // Warnings come first: they are written when the environment is read.
    environment[count++] = (char[]){"LARDER_TEST_SHOW_OPTIONS=1"};
    environment[count++] = (char[]){"LARDER_BATCHMAX=3"};
    length += (size_t)snprintf(expected, sizeof expected,
                               "larder: unknown option LARDER_BATCHMAX, the nearest is "
                               "LARDER_BATCH_MAX; ignored\n");
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        uint64_t value = other_value(id, text[id], sizeof text[id]);
        if (id == LR_OPTION_verbose) { // has its own test
            value = 0;
        } else {
            environment[count++] = text[id];
        }
        values[id] = value;
    }
    environment[count] = NULL;
    const char *separator = "larder: without effect, because LARDER_HARDENED is 1: ";
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        if (lr_option_hindrance(id, values) != NULL) {
            length += (size_t)snprintf(expected + length, sizeof expected - length, "%s%.*s",
                                       separator, (int)strcspn(text[id], "="), text[id]);
            separator = ", ";
        }
    }
    length += (size_t)snprintf(expected + length, sizeof expected - length, "\n");
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        length += (size_t)snprintf(expected + length, sizeof expected - length, "%s=%ju\n",
                                   lr_option_name(id), (uintmax_t)values[id]);
    }
    run_afresh(environment, output, sizeof output);
    ck_assert_str_eq(output, expected);
}
END_TEST

START_TEST(test_options_environment__verbose_process_shows_all_options) {
    char *environment[] = {(char[]){"LARDER_TEST_SHOW_OPTIONS=1"}, (char[]){"LARDER_VERBOSE=1"},
                           (char[]){"LARDER_THP=never"}, NULL};
    char output[8192];
    run_afresh(environment, output, sizeof output);
    EXPECT(strncmp(output, "larder: options in effect\n", 26) == 0);
    EXPECT(strstr(output, "\n  LARDER_THP                  never         environment "
                          "auto, default, always or never; at start\n") != NULL);
    EXPECT(strstr(output, "\n  LARDER_BATCH_MAX            256 objects   default     "
                          "2 to 512 objects; any time\n") != NULL);
}
END_TEST

START_TEST(test_options_environment__hardened_process_shows_what_has_an_effect) {
    char *environment[] = {(char[]){"LARDER_TEST_SHOW_OPTIONS=1"}, (char[]){"LARDER_VERBOSE=2"},
                           (char[]){"LARDER_HARDENED=1"},          (char[]){"LARDER_PROFILE=1"},
                           (char[]){"LARDER_BATCH_MAX=8"},         NULL};
    char output[8192];
    run_afresh(environment, output, sizeof output);
    EXPECT(strstr(output,
                  "larder: value out of range LARDER_VERBOSE=\"2\", accepted 0 or 1; using 1\n"
                  "larder: options in effect\n") == output);
    EXPECT(strstr(output, "\n  LARDER_ON_ERROR ") != NULL);
    EXPECT(strstr(output, "\n  LARDER_BATCH_MAX ") == NULL);
    EXPECT(strstr(output, "\n  LARDER_SCAVENGE_RATE ") == NULL);
    EXPECT(strstr(output, "\nlarder: without effect, because LARDER_HARDENED is 1: "
                          "LARDER_BATCH_MAX, LARDER_PROFILE\n") != NULL);
}
END_TEST

START_TEST(test_options_environment__what_has_no_effect_is_said_at_start) {
    static const struct {
        const char *variables[4];
        const char *line; // behind "larder: without effect, because "; NULL: nothing is said
    } rows[] = {
        {{"LARDER_HARDENED=1", "LARDER_GUARD_SAMPLE=8M", "LARDER_THP=never"},
         "LARDER_HARDENED is 1: LARDER_THP, LARDER_GUARD_SAMPLE\n"},
        {{"LARDER_SCAVENGER=inline", "LARDER_METRICS_FILE=/none", "LARDER_PUBLISH=2"},
         "LARDER_SCAVENGER is not thread: LARDER_METRICS_FILE, LARDER_PUBLISH\n"},
        {{"LARDER_PROFILE_AT=2G"}, "LARDER_PROFILE_FILE is not set: LARDER_PROFILE_AT\n"},
        {{"LARDER_METRICS_SECONDS=3"}, "LARDER_METRICS_FILE is not set: LARDER_METRICS_SECONDS\n"},
        {{"LARDER_PROFILE_FILE=/none"}, NULL}, // LARDER_PROFILE_AT may follow
        {{"LARDER_SCAVENGER=off", "LARDER_PUBLISH=1"}, NULL},
        {{"LARDER_HARDENED=1", "LARDER_GUARD_SAMPLE=0"}, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *environment[6] = {(char[]){"LARDER_TEST_SHOW_OPTIONS=1"}};
        memcpy(environment + 1, rows[i].variables, sizeof rows[i].variables);
        char output[8192], wanted[256] = "";
        run_afresh(environment, output, sizeof output);
        if (rows[i].line != NULL) {
            snprintf(wanted, sizeof wanted, "larder: without effect, because %s", rows[i].line);
        }
        EXPECT(strncmp(output, wanted, strlen(wanted)) == 0);
        EXPECT(strstr(output + strlen(wanted), "without effect") == NULL);
    }
}
END_TEST

START_TEST(test_options_environment__a_limit_too_small_to_live_on_is_told_of) {
    char *environment[] = {(char[]){"LARDER_TEST_SHOW_OPTIONS=1"}, (char[]){"LARDER_HEAP_LIMIT=1K"},
                           NULL};
    char output[8192];
    run_afresh(environment, output, sizeof output);
    EXPECT(strstr(output, "larder: LARDER_HEAP_LIMIT is 1 KiB: requests fail ") == output);
    environment[1] = (char[]){"LARDER_HEAP_LIMIT=1M"};
    run_afresh(environment, output, sizeof output);
    EXPECT(strstr(output, "requests fail") == NULL);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("options_environment");
    test_add(suite, test_options_environment__empty_environment_gives_the_defaults);
    test_add(suite, test_options_environment__every_variable_sets_its_option_only);
    test_add(suite, test_options_environment__wrong_variable_gets_one_exact_line);
    test_add(suite, test_options_environment__a_hostile_value_is_shown_cut_and_printable);
    test_add(suite, test_options_environment__own_name_wins_over_alias_and_first_over_second);
    test_add(suite, test_options_environment__process_takes_its_environment_and_warns_once);
    test_add(suite, test_options_environment__verbose_process_shows_all_options);
    test_add(suite, test_options_environment__hardened_process_shows_what_has_an_effect);
    test_add(suite, test_options_environment__what_has_no_effect_is_said_at_start);
    test_add(suite, test_options_environment__a_limit_too_small_to_live_on_is_told_of);
    return suite;
}
