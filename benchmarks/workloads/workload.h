// SPDX-License-Identifier: Apache-2.0
// What the workload programs share: command line, clock, random numbers, block contents and the
// result line. A workload is an ordinary program that calls malloc and free; which allocator it
// measures is decided by the dynamic linker (LD_PRELOAD) or by what it is linked with.
//
//     <program> <threads> [operations | percent%] [parameter=value]...
//     <program> --describe
//
// The total number of operations is fixed and shared out over the threads, so elapsed times can be
// compared between allocators and between thread counts. The result is one line on stdout:
//
//     workload=NAME threads=N ops=N seconds=S ops_per_s=N peak_rss_kib=N end_rss_kib=N user_s=S
//     sys_s=S minor_faults=N switches=N malloc=FILE
//
// end_rss_kib is sampled when everything has been freed and all threads have ended, malloc is the
// file that the measured malloc came from. What a program reports besides stands before malloc.
// --describe prints name, operation, default number of operations and purpose, separated by tabs.

#ifndef LARDER_BENCHMARKS_WORKLOADS_WORKLOAD_H
#define LARDER_BENCHMARKS_WORKLOADS_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum {
    WL_THREADS_MAX = 1024,
    WL_SIZES = 4096, // length of a size table; a power of two
    WL_LINE = 64,    // bytes of a cache line
    WL_PAGE = 4096,  // bytes of an OS page
};

// One run as the user asked for it.
struct wl_run {
    unsigned threads; // 1..WL_THREADS_MAX
    uint64_t ops;     // total over all threads, at least 1
};

// A number that a program takes besides threads and operations, given as name=value.
struct wl_param {
    const char *name;
    const char *about;  // a few words for the usage message, with the unit
    uint64_t value;     // the default; wl_main() puts what the user gave here
    uint64_t low, high; // least and most that is accepted
};

// One workload program.
struct wl_spec {
    const char *name;                      // as it appears in the result line
    const char *about;                     // one sentence for the usage message
    const char *op;                        // what is counted as one operation
    uint64_t default_ops;                  // about two seconds with an ordinary allocator
    struct wl_param *params;               // up to one without a name; NULL: none
    void (*run)(const struct wl_run *run); // does run->ops operations and frees everything
};

// Runs the program: parses argv, times spec->run and prints the result line. Returns the exit
// status of the process: 0, or 2 after a usage error.
int wl_main(int argc, char **argv, const struct wl_spec *spec);

// Adds key=value to the result line; value is printed without a fraction where it has none. For
// spec->run and its threads, one at a time.
void wl_report(const char *key, double value);

// Nanoseconds of CLOCK_MONOTONIC.
uint64_t wl_now_ns(void);

// Prints "<program>: <what>" with the given value to stderr and ends the process with status 1.
// For failed allocations, failed thread starts and damaged blocks: a benchmark that went on would
// report the time of something else.
_Noreturn void wl_fail(const char *what, uint64_t value);

// Calls body(index, arg) in `threads` threads at once, index 0..threads-1, and waits for all.
void wl_parallel(unsigned threads, void (*body)(unsigned index, void *arg), void *arg);

// This thread's part of the run's operations; the parts add up to run->ops.
uint64_t wl_share(const struct wl_run *run, unsigned index);

// xorshift64*: fast, and good enough to pick slots and sizes.
struct wl_rng {
    uint64_t state; // never 0
};

// A generator of its own for each thread; the same seed gives the same run.
struct wl_rng wl_rng_seeded(uint64_t seed);

static inline uint64_t wl_next(struct wl_rng *rng) {
    uint64_t x = rng->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    rng->state = x;
    return x * UINT64_C(0x2545F4914F6CDD1D);
}

// Uniform in 0..limit-1; limit at least 1.
static inline uint32_t wl_below(struct wl_rng *rng, uint32_t limit) {
    return (uint32_t)(((wl_next(rng) >> 32) * limit) >> 32);
}

// A table of request sizes that is drawn from at random, so that choosing a size costs one load.
struct wl_sizes {
    uint32_t bytes[WL_SIZES];
};

// Sizes spread evenly over the powers of two between low and high (both powers of two, low >= 8).
void wl_sizes_log(struct wl_sizes *sizes, uint32_t low, uint32_t high);

// The mix of a network service: 45 % below 64 bytes, 30 % to 256, 15 % to 1 KiB, 8 % to 8 KiB,
// 1.9 % to 64 KiB and 0.1 % to 256 KiB.
void wl_sizes_service(struct wl_sizes *sizes);

static inline uint32_t wl_size(const struct wl_sizes *sizes, struct wl_rng *rng) {
    return sizes->bytes[wl_next(rng) >> 52];
}
_Static_assert(WL_SIZES == 1 << 12, "wl_size() draws twelve bits");

// The compiler must assume that memory behind the pointer is read and written here. It keeps
// stores to a block that is freed soon, and the pair of malloc and free itself.
static inline void wl_escape(void *block) { __asm__ volatile("" : : "r"(block) : "memory"); }

// What every block holds in its first word while it is live. It depends on the address alone, so
// two blocks that overlap destroy each other's.
static inline uint64_t wl_stamp(const void *block) {
    return (uint64_t)(uintptr_t)block * UINT64_C(0x9E3779B97F4A7C15);
}

// Writes a block as its user would: a word of every cache line in the first KiB, a word of every
// page after that (buffers are rarely filled to the end), the stamp in front. bytes >= 8.
static inline void wl_fill(void *block, size_t bytes) {
    char *at = block;
    const size_t dense = bytes < 1024 ? bytes : 1024;
    for (size_t i = WL_LINE; i + sizeof(uint64_t) <= dense; i += WL_LINE)
        *(uint64_t *)(void *)(at + i) = i;
    for (size_t i = WL_PAGE; i + sizeof(uint64_t) <= bytes; i += WL_PAGE)
        *(uint64_t *)(void *)(at + i) = i;
    *(uint64_t *)block = wl_stamp(block);
    wl_escape(block);
}

// malloc and wl_fill; ends the process when there is no memory.
static inline void *wl_new(size_t bytes) {
    void *block = malloc(bytes);
    if (__builtin_expect(block == NULL, 0))
        wl_fail("out of memory for a block of this many bytes:", bytes);
    wl_fill(block, bytes);
    return block;
}

// Checks the stamp and frees the block. NULL is allowed.
static inline void wl_delete(void *block) {
    if (block == NULL)
        return;
    if (__builtin_expect(*(uint64_t *)block != wl_stamp(block), 0))
        wl_fail("block was damaged while in use, at address", (uint64_t)(uintptr_t)block);
    free(block);
}

#endif
