// SPDX-License-Identifier: Apache-2.0
// After Hoard's test of the same name: each thread allocates a set of equal blocks and frees them
// again, over and over. Nothing is shared, so threads should not slow each other down; the sets are
// longer than what a thread caches.

#include "workload.h"

enum {
    SET_BLOCKS = 60000, // over all threads
    BLOCK_BYTES = 64,
};

static void allocate_and_free(unsigned index, void *arg) {
    const struct wl_run *run = arg;
    const uint64_t set = SET_BLOCKS / run->threads;
    void **block = malloc(set * sizeof *block);
    if (block == NULL)
        wl_fail("out of memory for a set of blocks, number", set);
    for (uint64_t left = wl_share(run, index), count; left > 0; left -= count) {
        count = left < set ? left : set;
        for (uint64_t i = 0; i < count; i++)
            block[i] = wl_new(BLOCK_BYTES);
        for (uint64_t i = 0; i < count; i++)
            wl_delete(block[i]);
    }
    free(block);
}

static void run(const struct wl_run *run) {
    struct wl_run copy = *run;
    wl_parallel(run->threads, allocate_and_free, &copy);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "threadtest",
        .about = "Each thread allocates and frees a set of equal blocks, over and over.",
        .op = "blocks allocated and freed",
        .default_ops = 90000000,
        .run = run,
    };
    return wl_main(argc, argv, &spec);
}
