// SPDX-License-Identifier: Apache-2.0
// The parts of the microbenchmark program: each bench_<path>.c registers its own benchmarks.

#ifndef LARDER_BENCHMARKS_BENCH_SUITE_H
#define LARDER_BENCHMARKS_BENCH_SUITE_H

#define BENCH_COUNT(array) (sizeof(array) / sizeof((array)[0]))

void bench_register_hit(void);
void bench_register_refill(void);
void bench_register_cross(void);
void bench_register_span(void);
void bench_register_large(void);
void bench_register_realloc(void);
void bench_register_calloc(void);
void bench_register_aligned(void);
void bench_register_thread(void);

#endif
