// SPDX-License-Identifier: Apache-2.0
// The microbenchmark program. It measures the malloc it runs with: preload an allocator, or link
// one in. Flags are Google Benchmark's, e.g. --benchmark_filter=hit.

#include "bench_suite.h"
#include "shim/bench.h"

int main(int argc, char **argv) {
    bench_register_hit();
    bench_register_refill();
    bench_register_cross();
    bench_register_span();
    bench_register_large();
    bench_register_realloc();
    bench_register_calloc();
    bench_register_aligned();
    bench_register_thread();
    return bench_main(argc, argv);
}
