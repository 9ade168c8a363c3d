// SPDX-License-Identifier: Apache-2.0
// Large buffers of 256 KiB to 64 MiB, as for files, images and messages: each thread keeps a few
// and replaces the oldest. A quarter comes from calloc, a quarter is grown by realloc after it was
// filled, half is plain malloc. One word of every page is written, so that fresh pages cost what
// they cost.

#include "workload.h"

enum {
    LIVE_BUFFERS = 4, // in each thread
    MIN_BYTES = 256 * 1024,
    MAX_BYTES = 64 * 1024 * 1024,
};

static struct wl_sizes sizes;

static void *zeroed_buffer(size_t bytes) {
    unsigned char *buffer = calloc(1, bytes);
    if (buffer == NULL)
        wl_fail("out of memory for a buffer of bytes:", bytes);
    if (buffer[bytes / 2] != 0 || buffer[bytes - 1] != 0)
        wl_fail("calloc gave bytes that are not zero, of", bytes);
    wl_fill(buffer, bytes);
    return buffer;
}

static void *grown_buffer(size_t bytes) {
    void *half = wl_new(bytes / 2);
    void *buffer = realloc(half, bytes);
    if (buffer == NULL)
        wl_fail("out of memory for a buffer of bytes:", bytes);
    wl_fill(buffer, bytes);
    return buffer;
}

static void replace(unsigned index, void *arg) {
    const struct wl_run *run = arg;
    struct wl_rng rng = wl_rng_seeded(index);
    void *live[LIVE_BUFFERS] = {NULL};
    const uint64_t ops = wl_share(run, index);
    for (uint64_t i = 0; i < ops; i++) {
        void **slot = &live[i % LIVE_BUFFERS];
        wl_delete(*slot);
        const size_t bytes = wl_size(&sizes, &rng);
        switch (wl_below(&rng, 4)) {
        case 0:
            *slot = zeroed_buffer(bytes);
            break;
        case 1:
            *slot = grown_buffer(bytes);
            break;
        default:
            *slot = wl_new(bytes);
        }
    }
    for (unsigned i = 0; i < LIVE_BUFFERS; i++)
        wl_delete(live[i]);
}

static void run(const struct wl_run *run) {
    struct wl_run copy = *run;
    wl_parallel(run->threads, replace, &copy);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "large_buffers",
        .about = "Each thread replaces the oldest of four buffers of 256 KiB to 64 MiB.",
        .op = "buffers replaced",
        .default_ops = 800,
        .run = run,
    };
    wl_sizes_log(&sizes, MIN_BYTES, MAX_BYTES);
    return wl_main(argc, argv, &spec);
}
