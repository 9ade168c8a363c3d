// SPDX-License-Identifier: Apache-2.0
// What stays resident when a load is over. Threads fill memory with blocks of service-like sizes
// and free all but one of a thousand, in random order. Then the process is idle: one thread
// allocates and frees a small block every millisecond (calls=1), or none makes any call at all
// (calls=0). No thread ends meanwhile. Reported is resident memory second by second, and
// kept_kib: the blocks that were kept, each rounded up to whole OS pages, which is the least that
// can be resident when they lie alone.

#include "probe.h"

#include <pthread.h>

enum {
    KEEP_ONE_OF = 1000,
    SMALL_BYTES = 100, // of the block that is allocated and freed while idle
};

enum { CALLS, SECONDS };
static struct wl_param params[] = {
    [CALLS] = {"calls", "1: a malloc and a free every millisecond while idle; 0: none", 1, 0, 1},
    [SECONDS] = {"seconds", "how long to be idle", 10, 0, PROBE_SECONDS_MAX},
    {0},
};

struct part {
    uint64_t blocks, kept_bytes, kept_page_bytes;
    uint64_t work_ns; // of filling and freeing
};

struct residue {
    const struct wl_run *run;
    pthread_barrier_t barrier;
    struct probe_watch watch; // written by thread 0
    uint64_t full_rss_bytes;  // with everything live; written by thread 0
    struct part part[WL_THREADS_MAX];
};

static struct wl_sizes sizes;

// How many blocks a generator in this state will make out of so many bytes; at least one.
static uint64_t count_blocks(struct wl_rng rng, uint64_t bytes) {
    uint64_t blocks = 0, sum = 0;
    do {
        sum += wl_size(&sizes, &rng);
        blocks++;
    } while (sum < bytes);
    return blocks;
}

static void allocate_and_sleep(void) {
    void *block = wl_new(SMALL_BYTES);
    wl_delete(block);
}

// Shuffles the blocks; those in front are the ones to keep.
static void shuffle(struct probe_block **block, uint64_t blocks, struct wl_rng *rng) {
    for (uint64_t i = blocks - 1; i > 0; i--) {
        const uint64_t j = wl_next(rng) % (i + 1);
        struct probe_block *other = block[j];
        block[j] = block[i];
        block[i] = other;
    }
}

static void account(struct part *part, const struct probe_block *block) {
    part->kept_bytes += block->bytes;
    part->kept_page_bytes += (block->bytes + WL_PAGE - 1) / WL_PAGE * WL_PAGE;
}

static void fill_and_free(unsigned index, void *arg) {
    struct residue *residue = arg;
    struct part *part = &residue->part[index];
    struct wl_rng rng = wl_rng_seeded(index);
    const uint64_t bytes = wl_share(residue->run, index) * 1024;
    part->blocks = count_blocks(rng, bytes);
    const uint64_t kept = (part->blocks + KEEP_ONE_OF - 1) / KEEP_ONE_OF;
    struct probe_block **keep = probe_map(kept * sizeof *keep, false);
    struct probe_block **block = probe_map(part->blocks * sizeof *block, false);
    pthread_barrier_wait(&residue->barrier);

    const uint64_t start = wl_now_ns();
    for (uint64_t i = 0; i < part->blocks; i++)
        block[i] = probe_new(wl_size(&sizes, &rng));
    const uint64_t filled = wl_now_ns();
    pthread_barrier_wait(&residue->barrier);
    if (index == 0)
        residue->full_rss_bytes = probe_rss_bytes();
    shuffle(block, part->blocks, &rng);
    for (uint64_t i = 0; i < kept; i++) {
        keep[i] = block[i];
        account(part, keep[i]);
    }
    pthread_barrier_wait(&residue->barrier);
    const uint64_t freeing = wl_now_ns();
    for (uint64_t i = kept; i < part->blocks; i++)
        wl_delete(block[i]);
    part->work_ns = filled - start + wl_now_ns() - freeing;
    probe_unmap(block, part->blocks * sizeof *block);

    pthread_barrier_wait(&residue->barrier);
    if (index == 0)
        probe_watch_memory(&residue->watch, params[CALLS].value ? allocate_and_sleep : NULL);
    pthread_barrier_wait(&residue->barrier);
    for (uint64_t i = 0; i < kept; i++)
        wl_delete(keep[i]);
    probe_unmap(keep, kept * sizeof *keep);
}

static void run(const struct wl_run *run) {
    static struct residue residue;
    residue.run = run;
    residue.watch.seconds = (unsigned)params[SECONDS].value;
    pthread_barrier_init(&residue.barrier, NULL, run->threads);
    wl_parallel(run->threads, fill_and_free, &residue);
    pthread_barrier_destroy(&residue.barrier);

    struct part all = {0};
    for (unsigned i = 0; i < run->threads; i++) {
        const struct part *part = &residue.part[i];
        all.blocks += part->blocks;
        all.kept_bytes += part->kept_bytes;
        all.kept_page_bytes += part->kept_page_bytes;
        all.work_ns = part->work_ns > all.work_ns ? part->work_ns : all.work_ns;
    }
    wl_report("blocks", (double)all.blocks);
    wl_report("work_s", (double)all.work_ns * 1e-9);
    wl_report("full_rss_kib", (double)(residue.full_rss_bytes / 1024));
    wl_report("kept_bytes", (double)all.kept_bytes);
    wl_report("kept_kib", (double)(all.kept_page_bytes / 1024));
    probe_report_watch(&residue.watch);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "residue",
        .about = "Threads fill memory, free all but one block of a thousand, and are idle.",
        .op = "KiB filled",
        .default_ops = 1024 * 1024,
        .params = params,
        .run = run,
    };
    probe_sizes_service(&sizes);
    return wl_main(argc, argv, &spec);
}
