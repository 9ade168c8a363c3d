// SPDX-License-Identifier: Apache-2.0
// What threads cost that were busy once and now wait. All threads start and wait without ever
// having called malloc; then each allocates and frees blocks of service-like sizes, some thousands
// in sets of a thousand, and waits again. Reported is what became resident between the two waits, a
// thread: cached blocks, the heap behind them and every record kept. Stacks are not in it, because
// every thread has used as much of its own before the first wait as it ever does.

#include "probe.h"

#include <pthread.h>

enum {
    SET_BLOCKS = 1000,       // live at a time in one thread
    STACK_BYTES = 64 * 1024, // more than any malloc uses
};

enum { SECONDS };
static struct wl_param params[] = {
    [SECONDS] = {"seconds", "how long threads wait before memory counts", 10, 0, PROBE_SECONDS_MAX},
    {0},
};

struct idle {
    const struct wl_run *run;
    pthread_barrier_t barrier;
    uint64_t before_bytes;    // resident while no thread has called malloc; written by thread 0
    struct probe_watch watch; // written by thread 0
};

static struct wl_sizes sizes;

static __attribute__((noinline)) void use_stack(void) {
    char stack[STACK_BYTES];
    for (unsigned i = 0; i < STACK_BYTES; i += WL_PAGE)
        stack[i] = 1;
    wl_escape(stack);
}

static void fill_caches(uint64_t blocks, struct wl_rng *rng) {
    void *block[SET_BLOCKS];
    for (uint64_t left = blocks, count; left > 0; left -= count) {
        count = left < SET_BLOCKS ? left : SET_BLOCKS;
        for (uint64_t i = 0; i < count; i++)
            block[i] = wl_new(wl_size(&sizes, rng));
        for (uint64_t i = 0; i < count; i++)
            wl_delete(block[i]);
    }
}

static void live(unsigned index, void *arg) {
    struct idle *idle = arg;
    struct wl_rng rng = wl_rng_seeded(index);
    use_stack();
    pthread_barrier_wait(&idle->barrier);
    if (index == 0)
        idle->before_bytes = probe_rss_bytes();
    pthread_barrier_wait(&idle->barrier);
    fill_caches(wl_share(idle->run, index), &rng);
    pthread_barrier_wait(&idle->barrier);
    if (index == 0)
        probe_watch_memory(&idle->watch, NULL);
    pthread_barrier_wait(&idle->barrier);
}

static void run(const struct wl_run *run) {
    static struct idle idle;
    idle.run = run;
    idle.watch.seconds = (unsigned)params[SECONDS].value;
    pthread_barrier_init(&idle.barrier, NULL, run->threads);
    wl_parallel(run->threads, live, &idle);
    pthread_barrier_destroy(&idle.barrier);

    const double before = (double)idle.before_bytes;
    const double first = (double)idle.watch.rss_bytes[0];
    const double last = (double)idle.watch.rss_bytes[idle.watch.seconds];
    wl_report("before_kib", before / 1024);
    wl_report("thread_kib_0", (first - before) / 1024 / run->threads);
    wl_report("thread_kib", (last - before) / 1024 / run->threads);
    probe_report_watch(&idle.watch);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "idle_threads",
        .about = "Threads fill their caches once and wait.",
        .op = "blocks allocated and freed",
        .default_ops = 4000000,
        .params = params,
        .run = run,
    };
    wl_sizes_service(&sizes);
    return wl_main(argc, argv, &spec);
}
