// SPDX-License-Identifier: Apache-2.0
// A live set of constant size whose blocks change their sizes: eight phases, each with a size
// distribution of its own. In a phase every block is replaced four times: new ones push out, at
// random, those that are older than the pass, until none of them is left and the next pass begins.
// Memory that was cut for the sizes of one phase must serve the next ones.
//
// Resident memory, less what was there before the first block, is held against the live bytes: at
// the end of every phase (end_N, worst is the worst of them), when no block of the phase before is
// left, and at 32 moments of a phase (worst_N, peak). While a phase's first pass is under way the
// pages of old and new blocks are both in use, and no allocator that cannot move blocks stays much
// below 2. held_N is what remained if every page without a live block were returned: what is above
// it is memory kept for later, what is below it the price of where blocks were put.

#include "probe.h"

#include <pthread.h>
#include <stdio.h>

enum {
    PHASES = 8,
    PASSES = 4, // of a phase
    STEPS = 32, // of a phase; memory is looked at after each
    SMALLEST_BYTES = 32,
};

static struct wl_sizes sizes[PHASES];

struct part {
    uint64_t budget_bytes; // of live blocks
    uint64_t live_bytes, live_blocks;
    uint64_t old_blocks;        // of the live ones, not yet replaced in this pass
    struct probe_block **block; // the old ones in front
    uint64_t allocated;         // blocks, in all
};

struct phase {
    double worst, sum, end; // resident / live bytes
    double held;            // pages with live blocks / live bytes, at the end
    uint64_t work_ns;       // while all threads work
};

struct phases {
    const struct wl_run *run;
    pthread_barrier_t barrier;
    uint64_t before_bytes; // resident before the first block
    struct probe_pages pages;
    struct phase phase[PHASES];
    struct part part[WL_THREADS_MAX];
};

static void push_out_one(struct part *part, struct wl_rng *rng) {
    if (part->old_blocks == 0)
        part->old_blocks = part->live_blocks;
    struct probe_block **at = &part->block[wl_next(rng) % part->old_blocks];
    struct probe_block *block = *at;
    *at = part->block[--part->old_blocks];
    part->block[part->old_blocks] = part->block[--part->live_blocks];
    part->live_bytes -= block->bytes;
    wl_delete(block);
}

// Allocates so many bytes of new blocks.
static void step(struct part *part, const struct wl_sizes *from, uint64_t bytes,
                 struct wl_rng *rng) {
    for (uint64_t done = 0; done < bytes;) {
        const uint32_t size = wl_size(from, rng);
        while (part->live_blocks > 0 && part->live_bytes + size > part->budget_bytes)
            push_out_one(part, rng);
        part->block[part->live_blocks++] = probe_new(size);
        part->live_bytes += size;
        part->allocated++;
        done += size;
    }
}

static uint64_t all_live_bytes(const struct phases *phases) {
    uint64_t live = 0;
    for (unsigned i = 0; i < phases->run->threads; i++)
        live += phases->part[i].live_bytes;
    return live;
}

static void look(struct phases *phases, struct phase *phase) {
    const uint64_t now = probe_rss_bytes();
    const uint64_t own = now > phases->before_bytes ? now - phases->before_bytes : 0;
    phase->end = (double)own / (double)all_live_bytes(phases);
    phase->sum += phase->end;
    phase->worst = phase->end > phase->worst ? phase->end : phase->worst;
}

static void look_at_pages(struct phases *phases, struct phase *phase) {
    for (unsigned i = 0; i < phases->run->threads; i++) {
        const struct part *part = &phases->part[i];
        for (uint64_t j = 0; j < part->live_blocks; j++)
            probe_pages_add(&phases->pages, part->block[j], part->block[j]->bytes);
    }
    phase->held = (double)(phases->pages.count * WL_PAGE) / (double)all_live_bytes(phases);
    probe_pages_clear(&phases->pages);
}

static void change(unsigned index, void *arg) {
    struct phases *phases = arg;
    struct part *part = &phases->part[index];
    struct wl_rng rng = wl_rng_seeded(index);
    // The first blocks only fill the live set.
    pthread_barrier_wait(&phases->barrier);
    if (index == 0)
        phases->before_bytes = probe_rss_bytes();
    pthread_barrier_wait(&phases->barrier);
    step(part, &sizes[0], part->budget_bytes, &rng);
    for (unsigned i = 0; i < PHASES * STEPS; i++) {
        struct phase *phase = &phases->phase[i / STEPS];
        pthread_barrier_wait(&phases->barrier);
        const uint64_t start = wl_now_ns();
        step(part, &sizes[i / STEPS], part->budget_bytes * PASSES / STEPS, &rng);
        pthread_barrier_wait(&phases->barrier);
        if (index == 0) {
            phase->work_ns += wl_now_ns() - start;
            look(phases, phase);
            if (i % STEPS == STEPS - 1)
                look_at_pages(phases, phase);
        }
    }
    while (part->live_blocks > 0)
        push_out_one(part, &rng);
}

static void report_phase(const char *what, unsigned number, double value) {
    char key[32];
    snprintf(key, sizeof key, "%s_%u", what, number);
    wl_report(key, value);
}

static void report(const struct phases *phases) {
    double worst = 0, peak = 0, sum = 0;
    uint64_t work_ns = 0, allocated = 0;
    for (unsigned i = 0; i < PHASES; i++) {
        const struct phase *phase = &phases->phase[i];
        report_phase("end", i + 1, phase->end);
        report_phase("worst", i + 1, phase->worst);
        report_phase("held", i + 1, phase->held);
        worst = phase->end > worst ? phase->end : worst;
        peak = phase->worst > peak ? phase->worst : peak;
        sum += phase->sum;
        work_ns += phase->work_ns;
    }
    for (unsigned i = 0; i < phases->run->threads; i++)
        allocated += phases->part[i].allocated;
    wl_report("worst", worst);
    wl_report("peak", peak);
    wl_report("mean", sum / (PHASES * STEPS));
    wl_report("blocks", (double)allocated);
    wl_report("work_s", (double)work_ns * 1e-9);
}

static void run(const struct wl_run *run) {
    static struct phases phases;
    phases.run = run;
    phases.pages = probe_pages_new();
    pthread_barrier_init(&phases.barrier, NULL, run->threads);
    size_t capacity[WL_THREADS_MAX];
    for (unsigned i = 0; i < run->threads; i++) {
        struct part *part = &phases.part[i];
        part->budget_bytes = (wl_share(run, i) + 1) * 1024;
        capacity[i] = (part->budget_bytes / SMALLEST_BYTES + 1) * sizeof *part->block;
        part->block = probe_map(capacity[i], true);
    }
    wl_parallel(run->threads, change, &phases);
    for (unsigned i = 0; i < run->threads; i++)
        probe_unmap(phases.part[i].block, capacity[i]);
    probe_pages_delete(&phases.pages);
    pthread_barrier_destroy(&phases.barrier);
    report(&phases);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "phases",
        .about = "A live set of constant size goes through eight distributions of block sizes.",
        .op = "KiB live",
        .default_ops = 64 * 1024,
        .run = run,
    };
    // Neighbours have little in common; what was common long ago comes back.
    static const uint32_t band[PHASES][2] = {
        {32, 128},   {1024, 4096}, {64, 512},     {8192, 32768},
        {256, 1024}, {32, 64},     {2048, 16384}, {32, 256},
    };
    for (unsigned i = 0; i < PHASES; i++)
        wl_sizes_log(&sizes[i], band[i][0], band[i][1]);
    return wl_main(argc, argv, &spec);
}
