// SPDX-License-Identifier: Apache-2.0
// larder run: starts a program with the library preloaded and options set.
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/option_table.h"
#include "tool/arguments.h"
#include "tool/elf_file.h"
#include "tool/preset.h"
#include "tool/run_recorded.h"
#include "tool/tool.h"

enum { CANNOT_EXECUTE = 126, NOT_FOUND = 127 }; // as env(1)

static void unset_option(const char *name) {
    char text[64];
    struct lr_print p;
    lr_print_init(&p, text, sizeof text, -1);
    lr_option_print_variable(&p, lr_option_by_name(name));
    (void)unsetenv(text);
}

static const char *option_name_at(unsigned i) { return lr_option_name((enum lr_option_id)i); }

// Sets LARDER_<NAME> for the program; false, with a line said, if the library would refuse it.
static bool set_option(const char *name, const char *value) {
    char text[160];
    struct lr_print p;
    const enum lr_option_id id = lr_option_by_name(name);
    if (id == LR_OPTION_COUNT) {
        lr_tool_error("there is no option '%s'%s; `larder help options` lists them", name,
                      lr_tool_nearest(name, option_name_at, LR_OPTION_COUNT));
        return false;
    }
    uint64_t number;
    lr_print_init(&p, text, sizeof text, -1);
    if (lr_option_read(id, value, &number) != LR_OPTION_GOOD) {
        lr_option_print_range(&p, id);
        lr_tool_error("option %s cannot be '%s'; accepted: %s", name, value, text);
        return false;
    }
    lr_option_print_variable(&p, id);
    if (setenv(text, value, 1) != 0) {
        lr_tool_error("cannot set %s: %s", text, strerror(errno));
        return false;
    }
    return true;
}

bool lr_tool_set_assignment(const char *assignment) {
    char name[ARGUMENT_OPTION_BYTES];
    const char *value = lr_argument_option(assignment, name);
    if (value == NULL) {
        lr_tool_error("--opt takes NAME=VALUE, not '%s'", assignment);
        return false;
    }
    return set_option(name, value);
}

bool lr_tool_set_preset(const char *name) {
    if (lr_preset_find(name) == NULL) {
        lr_tool_error("there is no preset '%s'%s; there are:", name, lr_preset_nearest(name));
        for (size_t i = 0; i < lr_preset_count; i++) {
            fprintf(stderr, "  %-10s %s\n", lr_presets[i].name, lr_presets[i].help);
        }
        return false;
    }
    for (size_t i = 0; i < lr_preset_option_count; i++) {
        unset_option(lr_preset_options[i].name);
    }
    for (size_t i = 0; i < lr_preset_option_count; i++) {
        const struct preset_option *option = &lr_preset_options[i];
        if (strcmp(option->preset, name) == 0 && !set_option(option->name, option->value)) {
            return false;
        }
    }
    return true;
}

bool lr_tool_library(char *path, size_t bytes) {
    // Beside the command in a build folder, else where both were installed.
    static const char *const places[] = {"liblarder.so.0", LARDER_TOOL_LIBRARY};
    char self[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) {
        return false;
    }
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        char guess[2 * PATH_MAX];
        char found[PATH_MAX];
        snprintf(guess, sizeof guess, "%s/%s", self, places[i]);
        if (realpath(guess, found) != NULL && strlen(found) < bytes) {
            strcpy(path, found); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): it fits
            return true;
        }
    }
    return false;
}

bool lr_tool_set_preload(const char *library) {
    // The loader takes both as separators and knows no escape.
    if (strpbrk(library, ": ") != NULL) {
        lr_tool_error("a path with a blank or a colon cannot be preloaded: '%s'", library);
        return false;
    }
    const char *others = getenv("LD_PRELOAD");
    const bool alone = others == NULL || *others == '\0';
    char *value;
    if (asprintf(&value, "%s%s%s", library, alone ? "" : ":", alone ? "" : others) < 0) {
        lr_tool_error("out of memory");
        return false;
    }
    const bool done = setenv("LD_PRELOAD", value, 1) == 0;
    free(value);
    return done;
}

struct request {
    const char *preset;
    const char *preload;
    const char *trace;        // NULL: not to be recorded
    const char **assignments; // room for as many as there are arguments
    size_t count;
};

static bool parse(int argc, char **argv, struct request *out) {
    static const struct option options[] = {
        {"preset", required_argument, NULL, 'p'},
        {"opt", required_argument, NULL, 'o'},
        {"library", required_argument, NULL, 'l'},
        {"trace", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    int letter;
    while ((letter = getopt_long(argc, argv, "+p:o:l:t:", options, NULL)) != -1) {
        if (letter == '?' || optarg == NULL) {
            return false;
        }
        if (letter == 'p') {
            out->preset = optarg;
        } else if (letter == 'l') {
            out->preload = optarg;
        } else if (letter == 't') {
            out->trace = optarg;
        } else {
            out->assignments[out->count++] = optarg;
        }
    }
    return true;
}

// The preset first, wherever it stands, so that --opt can change one of its values.
static bool set_environment(const struct request *request) {
    if (request->preset != NULL && !lr_tool_set_preset(request->preset)) {
        return false;
    }
    for (size_t i = 0; i < request->count; i++) {
        if (!lr_tool_set_assignment(request->assignments[i])) {
            return false;
        }
    }
    return true;
}

static void warn_of_static(const char *program) {
    char path[PATH_MAX];
    const char *folders = strchr(program, '/') != NULL ? "" : getenv("PATH");
    while (folders != NULL) {
        const size_t length = strcspn(folders, ":");
        snprintf(path, sizeof path, "%.*s%s%s", (int)length, folders, length == 0 ? "" : "/",
                 program);
        if (access(path, X_OK) == 0) {
            if (lr_elf_is_static(path)) {
                lr_tool_error("'%s' is a static program: it keeps its own malloc", program);
            }
            return;
        }
        folders = folders[length] == ':' ? folders + length + 1 : NULL;
    }
}

struct start {
    const char *preload; // NULL: the one that belongs to this command
    char **program;
};

static int execute(void *context) {
    const struct start *start = context;
    const char *given = start->preload;
    char **program = start->program;
    char path[PATH_MAX];
    if (given == NULL && !lr_tool_library(path, sizeof path)) {
        lr_tool_error("liblarder.so.0 is neither beside this command nor in " LARDER_TOOL_LIBRARY
                      "; name it with --library");
        return CANNOT_EXECUTE;
    }
    const char *wrong = given == NULL                   ? NULL
                        : realpath(given, path) == NULL ? strerror(errno)
                                                        : lr_elf_no_malloc(path);
    if (wrong != NULL) {
        lr_tool_error("cannot use the library '%s': %s", given, wrong);
        return CANNOT_EXECUTE;
    }
    warn_of_static(*program);
    if (!lr_tool_set_preload(path)) {
        return CANNOT_EXECUTE;
    }
    execvp(*program, program);
    const int error = errno;
    lr_tool_error("cannot run '%s': %s", *program, strerror(error));
    return error == ENOENT ? NOT_FOUND : CANNOT_EXECUTE;
}

int lr_cmd_run(int argc, char **argv) {
    struct request request = {.assignments = calloc((size_t)argc, sizeof *request.assignments)};
    int status = TOOL_USAGE;
    if (request.assignments == NULL) {
        lr_tool_error("out of memory");
        status = TOOL_FAILED;
    } else if (!parse(argc, argv, &request)) {
        (void)lr_tool_misused("run");
    } else if (optind >= argc) {
        (void)lr_tool_usage("run", "run needs a program");
    } else if (set_environment(&request)) {
        struct start start = {.preload = request.preload, .program = argv + optind};
        status = request.trace == NULL
                     ? execute(&start)
                     : lr_run_recorded(request.trace, argv[optind], execute, &start);
    }
    free(request.assignments);
    return status;
}
