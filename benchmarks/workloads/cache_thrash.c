// SPDX-License-Identifier: Apache-2.0
// Active false sharing, after Hoard's test of the same name: every thread allocates one small block
// at a time, counts it up two hundred times and frees it. Shows whether an allocator hands blocks
// of one cache line out to threads that ask at the same time.

#include "scribble.h"

static void thrash(unsigned index, void *arg) {
    const struct wl_run *run = arg;
    for (uint64_t left = wl_share(run, index); left > 0; left--)
        scribble();
}

static void run(const struct wl_run *run) {
    struct wl_run copy = *run;
    wl_parallel(run->threads, thrash, &copy);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "cache_thrash",
        .about = "Each thread allocates a small block, counts in it and frees it.",
        .op = "blocks allocated, counted in and freed",
        .default_ops = 2000000,
        .run = run,
    };
    return wl_main(argc, argv, &spec);
}
