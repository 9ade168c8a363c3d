// SPDX-License-Identifier: Apache-2.0
#include "sync/latency.h"

#include "base/bits.h"

static struct {
    atomic_u64 sum_ns;
    atomic_u64 buckets[LR_LATENCY_BUCKETS];
} latencies[LR_LATENCY_KINDS]; // several writers

atomic_u32 lr_latency_on;

void lr_latency_switch(bool on) { lr_store_relaxed(&lr_latency_on, on); }

LR_COLD void lr_latency_add(enum lr_latency_kind kind, uint64_t ns) {
    unsigned index = 0;
    if (ns > (uint64_t)1 << LR_LATENCY_SHIFT) {
        index = lr_log2_floor(ns - 1) + 1 - LR_LATENCY_SHIFT;
    }
    index = (unsigned)lr_min(index, LR_LATENCY_BUCKETS - 1);
    lr_fetch_add_relaxed(&latencies[kind].buckets[index], 1);
    lr_fetch_add_relaxed(&latencies[kind].sum_ns, ns);
}

struct lr_latency_counts lr_latency_read(enum lr_latency_kind kind) {
    struct lr_latency_counts counts = {.sum_ns = lr_load_relaxed(&latencies[kind].sum_ns)};
    for (unsigned i = 0; i < LR_LATENCY_BUCKETS; i++) {
        counts.buckets[i] = lr_load_relaxed(&latencies[kind].buckets[i]);
    }
    return counts;
}

const char *lr_latency_name(enum lr_latency_kind kind) {
    static const char *const names[LR_LATENCY_KINDS] = {
        [LR_LATENCY_REFILL] = "refill",
        [LR_LATENCY_CENTRAL] = "central list",
        [LR_LATENCY_CENTRAL_WAIT] = "wait for central list",
        [LR_LATENCY_SPAN_HEAP_WAIT] = "wait for span heap",
        [LR_LATENCY_POOL] = "pool",
        [LR_LATENCY_RELEASE] = "release",
    };
    return names[kind];
}
