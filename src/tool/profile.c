// SPDX-License-Identifier: Apache-2.0
// larder profile: heap profiles in any form.
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/print.h"
#include "tool/arguments.h"
#include "tool/profile_data.h"
#include "tool/profile_fetch.h"
#include "tool/tool.h"

static const struct profile_kind kinds[] = {
    {"live", PROFILE_live_bytes, "bytes", "live bytes"},
    {"allocated", PROFILE_bytes, "bytes", "bytes allocated"},
    {"peak", PROFILE_peak_bytes, "bytes", "live bytes when there were most"},
    {"growth", PROFILE_live_bytes, "bytes", "growth of live bytes"},
    {"lifetime", PROFILE_lifetime_ns, "nanoseconds", "lifetimes of freed blocks, summed"},
    {"freed", PROFILE_freed_objects, "count", "blocks freed"},
    {"pinned", PROFILE_pinned_span_bytes, "bytes", "free bytes in spans kept by live blocks"},
    {"pinned-huge", PROFILE_pinned_huge_bytes, "bytes",
     "free bytes in huge pages kept by live blocks"},
};

// Letters of getopt() too.
enum format { FORMAT_AUTO, FORMAT_TEXT, FORMAT_JSON, FORMAT_PPROF, FORMAT_SVG };

struct request {
    const struct profile_kind *kind;
    enum format format;
    const char *output;   // NULL: standard output
    const char *raw;      // a file of larder_profile_write()
    const char *base;     // an earlier one
    const char *interval; // of sampling, as in the environment; NULL: as it is
    double seconds;       // 0: what was sampled so far
};

static const struct profile_kind *find_kind(const char *name) {
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}

static int read_file(const char *path, struct profile *out) {
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (in == NULL) {
        lr_tool_error("cannot read %s: %s", path, strerror(errno));
        return TOOL_FAILED;
    }
    const char *wrong = lr_profile_read(in, out);
    if (in != stdin) {
        fclose(in);
    }
    if (wrong != NULL) {
        lr_tool_error("cannot use %s: %s", path, wrong);
        return TOOL_FAILED;
    }
    return TOOL_OK;
}

static bool ends_in(const char *text, const char *end) {
    const size_t length = strlen(text);
    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

static enum format format_of(const struct request *request) {
    if (request->format != FORMAT_AUTO) {
        return request->format;
    }
    if (request->output == NULL || ends_in(request->output, ".txt")) {
        return FORMAT_TEXT;
    }
    if (ends_in(request->output, ".json")) {
        return FORMAT_JSON;
    }
    return ends_in(request->output, ".svg") ? FORMAT_SVG : FORMAT_PPROF;
}

static int write_profile(const struct profile *profile, const struct request *request) {
    FILE *out = request->output != NULL ? fopen(request->output, "we") : stdout;
    if (out == NULL) {
        lr_tool_error("cannot write %s: %s", request->output, strerror(errno));
        return TOOL_FAILED;
    }
    bool done = false;
    errno = 0;
    switch (format_of(request)) {
    case FORMAT_PPROF:
        done = lr_profile_pprof(profile, request->kind, out);
        break;
    case FORMAT_JSON:
        done = lr_profile_json(profile, request->kind, out);
        break;
    case FORMAT_SVG:
        done = lr_profile_svg(profile, request->kind, out);
        break;
    default:
        done = lr_profile_text(profile, request->kind, out);
        break;
    }
    if (out != stdout) {
        done &= fclose(out) == 0;
    } else {
        done &= fflush(out) == 0;
    }
    if (!done) {
        lr_tool_error("cannot write %s: %s",
                      request->output != NULL ? request->output : "to standard output",
                      errno != 0 ? strerror(errno) : "not all of it could be");
        return TOOL_FAILED;
    }
    return TOOL_OK;
}

static bool is_growth(const struct request *request) {
    return strcmp(request->kind->name, "growth") == 0;
}

static int show(struct profile *profile, const struct profile *base, const char *root,
                const struct request *request) {
    if (base != NULL) {
        lr_profile_subtract(profile, base, is_growth(request));
    }
    lr_profile_symbolize(profile, root);
    return write_profile(profile, request);
}

static int show_process(pid_t pid, const struct request *request) {
    struct profile profile;
    struct profile base;
    char root[64];
    // Before it takes its time.
    FILE *output = request->output != NULL ? fopen(request->output, "ae") : NULL;
    if (request->output != NULL && output == NULL) {
        lr_tool_error("cannot write %s: %s", request->output, strerror(errno));
        return TOOL_FAILED;
    }
    if (output != NULL) {
        fclose(output);
    }
    const int status = lr_profile_fetch(pid, request->interval, request->seconds, &profile, &base);
    if (status != TOOL_OK) {
        return status;
    }
    // The files of the process, which may live in a container.
    snprintf(root, sizeof root, "/proc/%d/root", (int)pid);
    const int shown = show(&profile, &base, root, request);
    lr_profile_free(&profile);
    lr_profile_free(&base);
    return shown;
}

static int show_files(const struct request *request) {
    struct profile profile;
    struct profile base;
    int status = read_file(request->raw, &profile);
    if (status != TOOL_OK) {
        return status;
    }
    if (request->base != NULL) {
        status = read_file(request->base, &base);
    }
    if (status == TOOL_OK) {
        status = show(&profile, request->base != NULL ? &base : NULL, "", request);
        if (request->base != NULL) {
            lr_profile_free(&base);
        }
    }
    lr_profile_free(&profile);
    return status;
}

static int refuse_kind(const char *name) {
    char text[128];
    struct lr_print p;
    lr_print_init(&p, text, sizeof text, -1);
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        lr_print_f(&p, "%s%s", i == 0 ? "" : ", ", kinds[i].name);
    }
    return lr_tool_usage("profile", "there is no kind of profile '%s'; accepted: %s", name, text);
}

static bool take_format(struct request *out, enum format format) {
    const bool good = out->format == FORMAT_AUTO || out->format == format;
    out->format = format;
    return good;
}

// TOOL_OK, or TOOL_USAGE with a line said.
static int read_options(int argc, char **argv, struct request *request) {
    static const struct option options[] = {
        {"kind", required_argument, NULL, 'k'},
        {"svg", no_argument, NULL, FORMAT_SVG},
        {"pprof", no_argument, NULL, FORMAT_PPROF},
        {"text", no_argument, NULL, FORMAT_TEXT},
        {"output", required_argument, NULL, 'o'},
        {"raw", required_argument, NULL, 'r'},
        {"base", required_argument, NULL, 'b'},
        {"seconds", required_argument, NULL, 'S'},
        {"interval", required_argument, NULL, 'i'},
        {"json", no_argument, NULL, FORMAT_JSON},
        {NULL, 0, NULL, 0},
    };
    bool one_format = true;
    for (int letter; (letter = getopt_long(argc, argv, "o:", options, NULL)) != -1;) {
        switch (letter) {
        case 'k':
            request->kind = find_kind(optarg);
            if (request->kind == NULL) {
                return refuse_kind(optarg);
            }
            break;
        case 'o':
            request->output = optarg;
            break;
        case 'r':
            request->raw = optarg;
            break;
        case 'b':
            request->base = optarg;
            break;
        case 'i':
            request->interval = optarg;
            break;
        case 'S':
            if (!lr_argument_seconds(optarg, &request->seconds)) {
                return lr_tool_usage("profile", "--seconds cannot be '%s'", optarg);
            }
            break;
        case FORMAT_TEXT:
        case FORMAT_JSON:
        case FORMAT_PPROF:
        case FORMAT_SVG:
            one_format &= take_format(request, (enum format)letter);
            break;
        default:
            return lr_tool_misused("profile");
        }
    }
    if (!one_format) {
        return lr_tool_usage("profile", "profile takes one of --text, --json, --pprof and --svg");
    }
    return TOOL_OK;
}

int lr_cmd_profile(int argc, char **argv) {
    struct request request = {.kind = &kinds[0]};
    const int status = read_options(argc, argv, &request);
    if (status != TOOL_OK) {
        return status;
    }
    pid_t pid;
    if (request.raw == NULL) {
        if (argc - optind != 1 || !lr_argument_pid(argv[optind], &pid)) {
            return lr_tool_usage("profile", "profile takes one process id, or a file after --raw");
        }
        if (request.base != NULL) {
            return lr_tool_usage("profile", "--base goes with --raw");
        }
        if (is_growth(&request) && request.seconds <= 0) {
            return lr_tool_usage("profile", "growth needs --seconds");
        }
        return show_process(pid, &request);
    }
    if (optind != argc || request.seconds > 0 || request.interval != NULL) {
        return lr_tool_usage("profile", "with --raw there is no process to ask");
    }
    if (is_growth(&request) && request.base == NULL) {
        return lr_tool_usage("profile", "growth is the difference of two: give --base FILE");
    }
    return show_files(&request);
}
