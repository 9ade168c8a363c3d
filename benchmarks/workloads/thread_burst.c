// SPDX-License-Identifier: Apache-2.0
// Bursts of short-lived threads: in every wave each thread frees what its predecessor left behind,
// allocates blocks of service-like sizes, frees half of them itself, leaves the other half to the
// next wave and ends. Measures what a new thread's first blocks, a thread's end, and blocks that
// outlive their thread cost.

#include "workload.h"

enum {
    LIFE_BLOCKS = 1000,            // allocated by one thread in its life
    LEFT_BLOCKS = LIFE_BLOCKS / 2, // of these, left to the next wave
};

struct legacy {
    void *block[LEFT_BLOCKS];
};

struct wave {
    uint64_t number;
    struct wl_run share; // this wave's threads and operations
    struct legacy *legacy;
};

static struct wl_sizes sizes;

static void burst(unsigned index, void *arg) {
    struct wave *wave = arg;
    struct wl_rng rng = wl_rng_seeded(wave->number * WL_THREADS_MAX + index);
    void **left = wave->legacy[index].block;
    for (unsigned i = 0; i < LEFT_BLOCKS; i++) {
        wl_delete(left[i]);
        left[i] = NULL;
    }
    const uint64_t blocks = wl_share(&wave->share, index);
    void *own[LIFE_BLOCKS - LEFT_BLOCKS] = {NULL};
    for (uint64_t i = 0; i < blocks; i++) {
        void **slot = i % 2 == 0 ? &own[i / 2] : &left[i / 2];
        *slot = wl_new(wl_size(&sizes, &rng));
    }
    for (unsigned i = 0; i < LIFE_BLOCKS - LEFT_BLOCKS; i++)
        wl_delete(own[i]);
}

static void run(const struct wl_run *run) {
    struct wave wave = {.share = {.threads = run->threads}};
    wave.legacy = calloc(run->threads, sizeof *wave.legacy);
    if (wave.legacy == NULL)
        wl_fail("out of memory for threads, number", run->threads);
    const uint64_t wave_ops = (uint64_t)run->threads * LIFE_BLOCKS;
    for (uint64_t left = run->ops; left > 0; left -= wave.share.ops) {
        wave.share.ops = left < wave_ops ? left : wave_ops;
        wave.number++;
        wl_parallel(run->threads, burst, &wave);
    }
    for (unsigned i = 0; i < run->threads; i++) {
        for (unsigned j = 0; j < LEFT_BLOCKS; j++)
            wl_delete(wave.legacy[i].block[j]);
    }
    free(wave.legacy);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "thread_burst",
        .about = "Waves of short-lived threads; half of the blocks outlive their thread.",
        .op = "blocks allocated and freed",
        .default_ops = 6000000,
        .run = run,
    };
    wl_sizes_service(&sizes);
    return wl_main(argc, argv, &spec);
}
