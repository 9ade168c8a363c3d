// SPDX-License-Identifier: Apache-2.0
// A load that swings: the live set is a fifth of its peak for two seconds, then at the peak for two
// seconds, and so on. All the time blocks of service-like sizes are replaced, the oldest by a new
// one; when the load falls the oldest go, so that whole pages become free. An allocator that
// returns them pays with system calls and with page faults when the load rises again. Time is fixed
// here and the work counted: blocks_per_s. Memory is looked at at the end of every stretch.

#include "probe.h"

enum {
    LOW_PART = 5,     // the low load is one of so many parts of the peak
    CLOCK_STEPS = 64, // steps between two looks at the clock
    STEP_BLOCKS = 2,  // by which the live set grows or shrinks in one step
};

enum { SECONDS, STRETCH_MS };
static struct wl_param params[] = {
    [SECONDS] = {"seconds", "how long it takes", 16, 1, 3600},
    [STRETCH_MS] = {"stretch_ms", "how long the load stays low, or high", 2000, 10, 60000},
    {0},
};

// A queue of blocks, the oldest first.
struct part {
    uint64_t peak_blocks, allocated;
    uint64_t first, count, capacity;
    void **block;
};

struct swing {
    const struct wl_run *run;
    uint64_t start_ns;                 // set by the main thread
    uint64_t rss_sum[2], rss_looks[2]; // low, high; thread 0 only
    struct part part[WL_THREADS_MAX];
};

static struct wl_sizes sizes;

static void push(struct part *part, struct wl_rng *rng) {
    part->block[(part->first + part->count++) % part->capacity] = wl_new(wl_size(&sizes, rng));
    part->allocated++;
}

static void pop(struct part *part) {
    wl_delete(part->block[part->first]);
    part->first = (part->first + 1) % part->capacity;
    part->count--;
}

// Replaces a block, and moves the live set a step towards the aim.
static void step(struct part *part, uint64_t aim, struct wl_rng *rng) {
    if (part->count > 0)
        pop(part);
    push(part, rng);
    for (unsigned i = 0; i < STEP_BLOCKS && part->count < aim; i++)
        push(part, rng);
    for (unsigned i = 0; i < STEP_BLOCKS && part->count > aim; i++)
        pop(part);
}

static void look(struct swing *swing, bool high) {
    swing->rss_sum[high] += probe_rss_bytes();
    swing->rss_looks[high]++;
}

static void swing_load(unsigned index, void *arg) {
    struct swing *swing = arg;
    struct part *part = &swing->part[index];
    struct wl_rng rng = wl_rng_seeded(index);
    const uint64_t end_ns = params[SECONDS].value * 1000000000;
    const uint64_t stretch_ns = params[STRETCH_MS].value * 1000000;
    uint64_t stretch = 0;
    for (uint64_t now = 0; now < end_ns; now = wl_now_ns() - swing->start_ns) {
        if (now / stretch_ns != stretch) {
            if (index == 0)
                look(swing, stretch % 2 != 0);
            stretch = now / stretch_ns;
        }
        const uint64_t aim = stretch % 2 != 0 ? part->peak_blocks : part->peak_blocks / LOW_PART;
        for (unsigned i = 0; i < CLOCK_STEPS; i++)
            step(part, aim, &rng);
    }
    if (index == 0)
        look(swing, stretch % 2 != 0);
    while (part->count > 0)
        pop(part);
}

static uint64_t mean_size(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < WL_SIZES; i++)
        sum += sizes.bytes[i];
    return sum / WL_SIZES;
}

static void run(const struct wl_run *run) {
    static struct swing swing;
    swing.run = run;
    for (unsigned i = 0; i < run->threads; i++) {
        struct part *part = &swing.part[i];
        part->peak_blocks = wl_share(run, i) * 1024 / mean_size() + 1;
        part->capacity = part->peak_blocks + STEP_BLOCKS;
        part->block = probe_map(part->capacity * sizeof *part->block, true);
    }
    swing.start_ns = wl_now_ns();
    wl_parallel(run->threads, swing_load, &swing);
    const double seconds = (double)(wl_now_ns() - swing.start_ns) * 1e-9;

    uint64_t allocated = 0;
    for (unsigned i = 0; i < run->threads; i++) {
        allocated += swing.part[i].allocated;
        probe_unmap(swing.part[i].block, swing.part[i].capacity * sizeof *swing.part[i].block);
    }
    wl_report("blocks_per_s", (double)allocated / seconds);
    static const char *const key[] = {"low_rss_kib", "high_rss_kib"};
    for (unsigned high = 0; high < 2; high++) {
        const uint64_t looks = swing.rss_looks[high];
        wl_report(key[high], looks > 0 ? (double)(swing.rss_sum[high] / looks / 1024) : 0);
    }
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "swing",
        .about = "The live set swings between its peak and a fifth of it while it is replaced.",
        .op = "KiB live at the peak",
        .default_ops = 1000000,
        .params = params,
        .run = run,
    };
    wl_sizes_service(&sizes);
    return wl_main(argc, argv, &spec);
}
