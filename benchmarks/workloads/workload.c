// SPDX-License-Identifier: Apache-2.0
// The common part of the workload programs: see workload.h. Nothing here allocates while the clock
// runs, except what pthread_create itself asks for.

#include "workload.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static const char *program_name = "workload";

// What wl_report() was given, each with a blank in front.
static char reported[8192];
static size_t reported_bytes;

void wl_fail(const char *what, uint64_t value) {
    fprintf(stderr, "%s: %s %" PRIu64 "\n", program_name, what, value);
    exit(1);
}

uint64_t wl_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void wl_report(const char *key, double value) {
    const size_t room = sizeof reported - reported_bytes;
    const int digits = value == (double)(int64_t)value ? 0 : 6;
    const int length = snprintf(reported + reported_bytes, room, " %s=%.*f", key, digits, value);
    if (length < 0 || (size_t)length >= room)
        wl_fail("too much to report, bytes:", reported_bytes);
    reported_bytes += (size_t)length;
}

// Reads a "VmXXX:  123 kB" line of /proc/self/status; 0 if it is not there. getrusage() is not
// used for the peak: its value survives exec and may be that of the process that started us.
static uint64_t status_kib(const char *key) {
    FILE *status = fopen("/proc/self/status", "re");
    if (status == NULL)
        return 0;
    char line[256];
    uint64_t kib = 0;
    const size_t length = strlen(key);
    while (fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, key, length) == 0 && line[length] == ':') {
            kib = strtoull(line + length + 1, NULL, 10);
            break;
        }
    }
    fclose(status);
    return kib;
}

// The file that the process's malloc comes from, so that a result can never be booked to an
// allocator that was not there.
static const char *malloc_origin(void) {
    Dl_info info;
    void *symbol = dlsym(RTLD_DEFAULT, "malloc");
    if (symbol == NULL || dladdr(symbol, &info) == 0 || info.dli_fname == NULL)
        return "unknown";
    return info.dli_fname;
}

static double seconds_of(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static void print_result(const struct wl_spec *spec, const struct wl_run *run, double seconds,
                         const struct rusage *before) {
    struct rusage after;
    getrusage(RUSAGE_SELF, &after);
    // Sampled before stdio gets its buffer from malloc.
    const uint64_t end_kib = status_kib("VmRSS");
    const uint64_t peak_kib = status_kib("VmHWM");
    printf("workload=%s threads=%u ops=%" PRIu64
           " seconds=%.6f ops_per_s=%.0f peak_rss_kib=%" PRIu64 " end_rss_kib=%" PRIu64
           " user_s=%.3f sys_s=%.3f minor_faults=%ld switches=%ld%s malloc=%s\n",
           spec->name, run->threads, run->ops, seconds, (double)run->ops / seconds, peak_kib,
           end_kib, seconds_of(after.ru_utime) - seconds_of(before->ru_utime),
           seconds_of(after.ru_stime) - seconds_of(before->ru_stime),
           after.ru_minflt - before->ru_minflt,
           after.ru_nvcsw + after.ru_nivcsw - before->ru_nvcsw - before->ru_nivcsw, reported,
           malloc_origin());
}

static int usage(const struct wl_spec *spec) {
    fprintf(stderr,
            "usage: %s <threads> [operations | percent%%]%s\n       %s --describe\n%s\n"
            "threads: 1..%d; operations: %s, in total over all threads (default %" PRIu64
            "), or a share of the default\n",
            spec->name, spec->params == NULL ? "" : " [parameter=value]...", spec->name,
            spec->about, WL_THREADS_MAX, spec->op, spec->default_ops);
    for (const struct wl_param *at = spec->params; at != NULL && at->name != NULL; at++)
        fprintf(stderr, "%s=%" PRIu64 "..%" PRIu64 ": %s (default %" PRIu64 ")\n", at->name,
                at->low, at->high, at->about, at->value);
    return 2;
}

// A decimal number in [low, high] with nothing but `suffix` behind it.
static bool parse_number(const char *text, const char *suffix, uint64_t low, uint64_t high,
                         uint64_t *value) {
    char *end = NULL;
    errno = 0;
    const uint64_t number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || text[0] == '-' || strcmp(end, suffix) != 0 || number < low ||
        number > high)
        return false;
    *value = number;
    return true;
}

static bool parse_ops(const char *text, const struct wl_spec *spec, uint64_t *ops) {
    uint64_t percent;
    if (parse_number(text, "%", 1, 100000, &percent)) {
        *ops = (spec->default_ops * percent + 99) / 100;
        return true;
    }
    return parse_number(text, "", 1, UINT64_C(1) << 48, ops);
}

// Takes a parameter given as name=value; false if there is none of that name or value.
static bool parse_param(const char *text, const struct wl_spec *spec) {
    const char *equals = strchr(text, '=');
    if (equals == NULL)
        return false;
    const size_t length = (size_t)(equals - text);
    for (struct wl_param *at = spec->params; at != NULL && at->name != NULL; at++) {
        if (strncmp(text, at->name, length) == 0 && at->name[length] == '\0')
            return parse_number(equals + 1, "", at->low, at->high, &at->value);
    }
    return false;
}

// What follows the program's name, into `run` and the parameters; false if it is not as it must be.
static bool parse_arguments(int argc, char **argv, const struct wl_spec *spec, struct wl_run *run) {
    uint64_t threads;
    if (argc < 2 || !parse_number(argv[1], "", 1, WL_THREADS_MAX, &threads))
        return false;
    run->threads = (unsigned)threads;
    int at = 2;
    if (at < argc && parse_ops(argv[at], spec, &run->ops))
        at++;
    while (at < argc && parse_param(argv[at], spec))
        at++;
    return at == argc;
}

int wl_main(int argc, char **argv, const struct wl_spec *spec) {
    program_name = spec->name;
    struct wl_run run = {.ops = spec->default_ops};
    if (argc == 2 && strcmp(argv[1], "--describe") == 0) {
        printf("%s\t%s\t%" PRIu64 "\t%s\n", spec->name, spec->op, spec->default_ops, spec->about);
        return 0;
    }
    if (!parse_arguments(argc, argv, spec, &run))
        return usage(spec);

    struct rusage before;
    getrusage(RUSAGE_SELF, &before);
    const uint64_t start = wl_now_ns();
    spec->run(&run);
    const double seconds = (double)(wl_now_ns() - start) * 1e-9;
    print_result(spec, &run, seconds, &before);
    return 0;
}

struct parallel {
    void (*body)(unsigned index, void *arg);
    void *arg;
    pthread_barrier_t gate; // nobody begins before everybody is there
};

struct parallel_thread {
    struct parallel *all;
    unsigned index;
    pthread_t id;
};

static void *parallel_main(void *arg) {
    struct parallel_thread *self = arg;
    pthread_barrier_wait(&self->all->gate);
    self->all->body(self->index, self->all->arg);
    return NULL;
}

void wl_parallel(unsigned threads, void (*body)(unsigned index, void *arg), void *arg) {
    struct parallel all = {.body = body, .arg = arg};
    struct parallel_thread thread[WL_THREADS_MAX];
    pthread_barrier_init(&all.gate, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        thread[i] = (struct parallel_thread){.all = &all, .index = i};
        const int error = pthread_create(&thread[i].id, NULL, parallel_main, &thread[i]);
        if (error != 0)
            wl_fail("cannot start a thread, error", (uint64_t)error);
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(thread[i].id, NULL);
    pthread_barrier_destroy(&all.gate);
}

uint64_t wl_share(const struct wl_run *run, unsigned index) {
    return run->ops / run->threads + (index < run->ops % run->threads ? 1 : 0);
}

struct wl_rng wl_rng_seeded(uint64_t seed) {
    // One step of splitmix64 parts seeds that are neighbours; the state must not be 0.
    uint64_t x = seed + UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (struct wl_rng){.state = (x ^ (x >> 31)) | 1};
}

// A size from [low, high): first a power of two, each as likely as the next, then evenly within it.
static uint32_t log_uniform(struct wl_rng *rng, uint32_t low, uint32_t high) {
    const uint32_t octaves = (uint32_t)(__builtin_ctz(high) - __builtin_ctz(low));
    const uint32_t base = low << wl_below(rng, octaves);
    return base + wl_below(rng, base);
}

void wl_sizes_log(struct wl_sizes *sizes, uint32_t low, uint32_t high) {
    struct wl_rng rng = wl_rng_seeded(low);
    for (unsigned i = 0; i < WL_SIZES; i++)
        sizes->bytes[i] = log_uniform(&rng, low, high);
}

void wl_sizes_service(struct wl_sizes *sizes) {
    static const struct {
        uint32_t per_mille;
        uint32_t low, high;
    } band[] = {
        {450, 8, 64},     {300, 64, 256},    {150, 256, 1024},
        {80, 1024, 8192}, {19, 8192, 65536}, {1, 65536, 262144},
    };
    struct wl_rng rng = wl_rng_seeded(1);
    unsigned filled = 0;
    uint32_t up_to = 0;
    for (unsigned b = 0; b < sizeof band / sizeof band[0]; b++) {
        up_to += band[b].per_mille;
        for (; filled < WL_SIZES * up_to / 1000; filled++)
            sizes->bytes[filled] = log_uniform(&rng, band[b].low, band[b].high);
    }
}
