// SPDX-License-Identifier: Apache-2.0
// How long single calls take: the pattern of random_replacement with every malloc and every free
// timed by the processor's cycle counter. Slots are filled before the clock counts. Reported are
// percentiles and the maximum in nanoseconds, of malloc, of free and of both together (call), each
// with the reading of the counter inside; clock_ns is what that alone amounts to.

#include "probe.h"

#include <stdio.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

enum {
    LIVE_OBJECTS = 64 * 1024, // over all threads, as in random_replacement
    SUB_BITS = 6,             // a bucket is at most 1/64 wide of what it counts
    SUB_BUCKETS = 1 << SUB_BITS,
    BUCKETS = (64 - SUB_BITS + 1) * SUB_BUCKETS,
    CLOCK_READINGS = 100000, // to see what reading the counter costs
    CALIBRATION_MS = 100,
};

// Ticks of a counter that runs at the same rate on all processors, whatever their frequency. What
// stands before it in the program is done before it is read.
#if defined(__x86_64__)
static inline uint64_t ticks(void) {
    unsigned processor;
    const uint64_t now = __rdtscp(&processor);
    _mm_lfence();
    return now;
}
#elif defined(__aarch64__)
static inline uint64_t ticks(void) {
    uint64_t now;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(now) : : "memory");
    return now;
}
#else
static inline uint64_t ticks(void) { return wl_now_ns(); }
#endif

// Counts of durations, with buckets that widen as durations grow: exact below SUB_BUCKETS ticks.
struct histogram {
    uint64_t count[BUCKETS];
    uint64_t most; // ticks
};

struct part {
    struct histogram in_malloc, in_free;
};

struct latency {
    const struct wl_run *run;
    struct part *part; // one a thread
};

static struct wl_sizes sizes;

static unsigned bucket_of(uint64_t value) {
    if (value < SUB_BUCKETS)
        return (unsigned)value;
    const unsigned shift = 63 - (unsigned)__builtin_clzll(value) - SUB_BITS;
    return (shift + 1) * SUB_BUCKETS + (unsigned)(value >> shift) - SUB_BUCKETS;
}

// The middle of what a bucket counts.
static double bucket_value(unsigned bucket) {
    if (bucket < SUB_BUCKETS)
        return bucket;
    const unsigned shift = bucket / SUB_BUCKETS - 1;
    const uint64_t lowest = (uint64_t)(SUB_BUCKETS + bucket % SUB_BUCKETS) << shift;
    return (double)lowest + (double)((UINT64_C(1) << shift) - 1) / 2;
}

static inline void record(struct histogram *histogram, uint64_t value) {
    histogram->count[bucket_of(value)]++;
    if (value > histogram->most)
        histogram->most = value;
}

static void add(struct histogram *to, const struct histogram *from) {
    for (unsigned i = 0; i < BUCKETS; i++)
        to->count[i] += from->count[i];
    to->most = from->most > to->most ? from->most : to->most;
}

// The duration that all but a share of `above` calls do not exceed, in ticks.
static double percentile(const struct histogram *histogram, double above) {
    uint64_t total = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        total += histogram->count[i];
    const uint64_t rank = total - (uint64_t)((double)total * above);
    uint64_t seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += histogram->count[i];
        if (seen >= rank)
            return bucket_value(i);
    }
    return (double)histogram->most;
}

static double ns_per_tick(void) {
    const uint64_t start_ns = wl_now_ns(), start = ticks();
    probe_sleep_until(start_ns + CALIBRATION_MS * 1000000);
    const uint64_t end_ns = wl_now_ns(), end = ticks();
    return (double)(end_ns - start_ns) / (double)(end - start);
}

static void replace(unsigned index, void *arg) {
    const struct latency *latency = arg;
    struct part *part = &latency->part[index];
    const uint32_t slots = LIVE_OBJECTS / latency->run->threads;
    void **slot = probe_map(slots * sizeof *slot, true);
    struct wl_rng rng = wl_rng_seeded(index);
    for (uint32_t i = 0; i < slots; i++)
        slot[i] = wl_new(wl_size(&sizes, &rng));
    for (uint64_t left = wl_share(latency->run, index); left > 0; left--) {
        void **at = &slot[wl_below(&rng, slots)];
        const uint32_t bytes = wl_size(&sizes, &rng);
        if (*(uint64_t *)*at != wl_stamp(*at))
            wl_fail("block was damaged while in use, at address", (uint64_t)(uintptr_t)*at);
        const uint64_t before_free = ticks();
        free(*at);
        const uint64_t after_free = ticks();
        const uint64_t before_malloc = ticks();
        void *block = malloc(bytes);
        const uint64_t after_malloc = ticks();
        if (block == NULL)
            wl_fail("out of memory for a block of this many bytes:", bytes);
        wl_fill(block, bytes);
        *at = block;
        record(&part->in_free, after_free - before_free);
        record(&part->in_malloc, after_malloc - before_malloc);
    }
    for (uint32_t i = 0; i < slots; i++)
        wl_delete(slot[i]);
    probe_unmap(slot, slots * sizeof *slot);
}

static void report(const char *call, const struct histogram *histogram, double scale) {
    static const struct {
        const char *name;
        double above;
    } at[] = {{"p50", 0.5}, {"p99", 0.01}, {"p999", 0.001}, {"p9999", 0.0001}};
    char key[64];
    for (unsigned i = 0; i < sizeof at / sizeof at[0]; i++) {
        snprintf(key, sizeof key, "%s_%s_ns", call, at[i].name);
        wl_report(key, percentile(histogram, at[i].above) * scale);
    }
    snprintf(key, sizeof key, "%s_max_ns", call);
    wl_report(key, (double)histogram->most * scale);
}

static double empty_reading(struct histogram *histogram) {
    for (unsigned i = 0; i < CLOCK_READINGS; i++) {
        const uint64_t before = ticks();
        record(histogram, ticks() - before);
    }
    return percentile(histogram, 0.5);
}

static void run(const struct wl_run *run) {
    const size_t bytes = (run->threads + 1) * sizeof(struct part);
    struct latency latency = {.run = run, .part = probe_map(bytes, true)};
    const double scale = ns_per_tick();
    wl_parallel(run->threads, replace, &latency);

    for (unsigned i = 1; i < run->threads; i++) {
        add(&latency.part[0].in_malloc, &latency.part[i].in_malloc);
        add(&latency.part[0].in_free, &latency.part[i].in_free);
    }
    struct part *spare = &latency.part[run->threads];
    add(&spare->in_free, &latency.part[0].in_malloc);
    add(&spare->in_free, &latency.part[0].in_free);
    report("malloc", &latency.part[0].in_malloc, scale);
    report("free", &latency.part[0].in_free, scale);
    report("call", &spare->in_free, scale);
    wl_report("clock_ns", empty_reading(&spare->in_malloc) * scale);
    probe_unmap(latency.part, bytes);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "latency",
        .about = "Every malloc and free of a random replacement is timed.",
        .op = "blocks replaced",
        .default_ops = 16000000,
        .run = run,
    };
    wl_sizes_service(&sizes);
    return wl_main(argc, argv, &spec);
}
