// SPDX-License-Identifier: Apache-2.0
// Passive false sharing, after Hoard's test of the same name: the main thread allocates a small
// block for each worker, so that they lie side by side; every worker frees the one it was handed
// and goes on with blocks of its own, one at a time, each counted up two hundred times. An
// allocator that gives a worker the freed block again makes the workers count in the same cache
// line.

#include "scribble.h"

struct handout {
    const struct wl_run *run;
    void *block[WL_THREADS_MAX]; // for each worker
};

static void scratch(unsigned index, void *arg) {
    const struct handout *handout = arg;
    wl_delete(handout->block[index]);
    for (uint64_t left = wl_share(handout->run, index); left > 0; left--)
        scribble();
}

static void run(const struct wl_run *run) {
    struct handout handout = {.run = run};
    for (unsigned i = 0; i < run->threads; i++)
        handout.block[i] = wl_new(sizeof(struct scribbled));
    wl_parallel(run->threads, scratch, &handout);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "cache_scratch",
        .about = "Each thread frees a small block of the main thread's and counts in its own.",
        .op = "blocks allocated, counted in and freed",
        .default_ops = 2000000,
        .run = run,
    };
    return wl_main(argc, argv, &spec);
}
