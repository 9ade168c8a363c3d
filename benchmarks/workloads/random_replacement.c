// SPDX-License-Identifier: Apache-2.0
// A service with a steady live set: each thread owns slots and replaces random ones by blocks of
// service-like sizes. Nothing is passed on between threads. The live set is the same for every
// thread count, because a service's data does not grow with its threads.

#include "workload.h"

enum { LIVE_OBJECTS = 64 * 1024 }; // over all threads; about 70 MiB

static struct wl_sizes sizes;

static void replace(unsigned index, void *arg) {
    const struct wl_run *run = arg;
    const uint32_t slots = LIVE_OBJECTS / run->threads;
    void **slot = calloc(slots, sizeof *slot);
    if (slot == NULL)
        wl_fail("out of memory for slots, number", slots);
    struct wl_rng rng = wl_rng_seeded(index);
    for (uint64_t left = wl_share(run, index); left > 0; left--) {
        void **at = &slot[wl_below(&rng, slots)];
        wl_delete(*at);
        *at = wl_new(wl_size(&sizes, &rng));
    }
    for (uint32_t i = 0; i < slots; i++)
        wl_delete(slot[i]);
    free(slot);
}

static void run(const struct wl_run *run) {
    struct wl_run copy = *run;
    wl_parallel(run->threads, replace, &copy);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "random_replacement",
        .about = "Each thread replaces random blocks of its own by blocks of service-like sizes.",
        .op = "blocks replaced",
        .default_ops = 32000000,
        .run = run,
    };
    wl_sizes_service(&sizes);
    return wl_main(argc, argv, &spec);
}
