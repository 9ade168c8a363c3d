// SPDX-License-Identifier: Apache-2.0
// Finds the subcommand.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf/option_table.h"
#include "tool/tool.h"

static const struct command {
    const char *name;
    const char *arguments;
    const char *help;
    int (*run)(int argc, char **argv);
} commands[] = {
#define COMMAND(id, usage, text)                                                                   \
    {.name = #id, .arguments = (usage), .help = (text), .run = lr_cmd_##id},
#include "tool/commands.def"
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const struct command *find(const char *name) {
    for (unsigned i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static void print_usage(FILE *out, const struct command *command) {
    fprintf(out, "usage: larder %s%s%s\n", command->name, *command->arguments != '\0' ? " " : "",
            command->arguments);
}

int lr_tool_misused(const char *command) {
    const struct command *found = find(command);
    if (found != NULL) {
        print_usage(stderr, found);
    }
    return TOOL_USAGE;
}

int lr_tool_usage(const char *command, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    lr_tool_verror(format, arguments);
    va_end(arguments);
    return lr_tool_misused(command);
}

static const char *name_at(unsigned i) { return commands[i].name; }

static const char *nearest_to(const char *name) { return lr_tool_nearest(name, name_at, COMMANDS); }

static int flush_output(int status) {
    if (fflush(stdout) != 0) {
        lr_tool_error("cannot write to standard output: %s", strerror(errno));
        return TOOL_FAILED;
    }
    if (ferror(stdout) != 0) { // before the last write, which was good
        lr_tool_error("cannot write to standard output all of it");
        return TOOL_FAILED;
    }
    return status;
}

static void print_commands(FILE *out) {
    fputs("usage: larder COMMAND [ARGUMENT]...\n\n", out);
    for (unsigned i = 0; i < COMMANDS; i++) {
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    }
    fputs("\n`larder help COMMAND` says how one is used, `larder help options` what can be set;\n"
          "larder(1) has the rest.\n",
          out);
}

int lr_cmd_help(int argc, char **argv) {
    if (argc > 2) {
        return lr_tool_usage("help", "help takes one command");
    }
    if (argc == 1) {
        print_commands(stdout);
        return TOOL_OK;
    }
    if (strcmp(argv[1], "options") == 0) {
        lr_tool_print_options(stdout);
        return TOOL_OK;
    }
    const struct command *command = find(argv[1]);
    if (command == NULL) {
        return lr_tool_usage("help", "there is no command '%s'%s", argv[1], nearest_to(argv[1]));
    }
    print_usage(stdout, command);
    printf("\n%s\n\nWhat each option means is in larder(1): man larder. Exit status: 0 done, 1 it "
           "could not\nbe done, 2 wrong command line, 3 the process does not use Larder or shows "
           "no page.\n",
           command->help);
    return TOOL_OK;
}

int lr_cmd_version(int argc, char **argv) {
    (void)argv;
    if (argc > 1) {
        return lr_tool_usage("version", "version takes no argument");
    }
    puts("larder " LARDER_VERSION);
    return TOOL_OK;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_commands(stderr);
        return TOOL_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    } else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        name = "version";
    }
    const struct command *command = find(name);
    if (command == NULL) {
        lr_tool_error("there is no command '%s'%s; `larder help` lists them", name,
                      nearest_to(name));
        return TOOL_USAGE;
    }
    if (argc > 2 && strcmp(argv[2], "--help") == 0) {
        char *help[] = {argv[1], argv[1], NULL};
        return flush_output(lr_cmd_help(2, help));
    }
    char shown[64]; // by getopt(), in front of what it says
    snprintf(shown, sizeof shown, "larder %s", command->name);
    argv[1] = shown;
    return flush_output(command->run(argc - 1, argv + 1));
}
