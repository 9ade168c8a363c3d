// SPDX-License-Identifier: Apache-2.0
// gperftools' C functions for its allocator (gperftools/malloc_extension_c.h), so that programs and
// libraries written against them work. Weak: a program that links gperftools too keeps its own.
// Larder declares them here only; who calls them has gperftools' header.
#include <larder/ctl.h>
#include <larder/larder.h>
#include <larder/stats.h>
#include <limits.h>
#include <string.h>

#include "base/attr.h"
#include "conf/stats.h"
#include "diag/report.h"
#include "diag/stats_text.h"

#define WEAK __attribute__((__weak__, __visibility__("default")))

enum { HISTOGRAM = 64 };

// Properties that a program may read, and which figures of ours they are the sum of.
static const struct property {
    const char *name;
    enum lr_stat_id first;
    enum lr_stat_id second; // LR_STAT_COUNT: none
} properties[] = {
    {"generic.current_allocated_bytes", LR_STAT_live_bytes, LR_STAT_COUNT},
    {"generic.heap_size", LR_STAT_held_bytes, LR_STAT_returned_bytes},
    {"generic.total_physical_bytes", LR_STAT_held_bytes, LR_STAT_COUNT},
    {"tcmalloc.pageheap_free_bytes", LR_STAT_span_heap_free_bytes, LR_STAT_COUNT},
    {"tcmalloc.pageheap_unmapped_bytes", LR_STAT_returned_bytes, LR_STAT_COUNT},
    {"tcmalloc.central_cache_free_bytes", LR_STAT_central_free_bytes, LR_STAT_COUNT},
    {"tcmalloc.transfer_cache_free_bytes", LR_STAT_transfer_cache_bytes, LR_STAT_COUNT},
    {"tcmalloc.thread_cache_free_bytes", LR_STAT_thread_cache_bytes, LR_STAT_COUNT},
    {"tcmalloc.current_total_thread_cache_bytes", LR_STAT_thread_cache_bytes, LR_STAT_COUNT},
};

// Those that are options of Larder, for reading and writing.
static const struct tunable {
    const char *name;
    const char *option;
} tunables[] = {
    {"tcmalloc.max_total_thread_cache_bytes", "thread_cache_total"},
};

static const char *option_of(const char *property) {
    for (size_t i = 0; i < sizeof tunables / sizeof *tunables; i++) {
        if (strcmp(tunables[i].name, property) == 0) {
            return tunables[i].option;
        }
    }
    return NULL;
}

// 1 if the property is known.
WEAK int MallocExtension_GetNumericProperty(const char *property, size_t *value);
int MallocExtension_GetNumericProperty(const char *property, size_t *value) {
    const char *option = option_of(property);
    uint64_t number;
    if (option != NULL && larder_option_get(option, &number) == 0) {
        *value = number;
        return 1;
    }
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        const struct property *p = &properties[i];
        if (strcmp(p->name, property) == 0) {
            struct larder_stats stats;
            larder_stats_get(&stats, sizeof stats);
            *value = lr_stat_value(&stats, p->first);
            *value += p->second != LR_STAT_COUNT ? lr_stat_value(&stats, p->second) : 0;
            return 1;
        }
    }
    return 0;
}

WEAK int MallocExtension_SetNumericProperty(const char *property, size_t value);
int MallocExtension_SetNumericProperty(const char *property, size_t value) {
    const char *option = option_of(property);
    return option != NULL && larder_option_set(option, value) == 0;
}

// As much of the statistics page as fits, with its end.
WEAK void MallocExtension_GetStats(char *buffer, int buffer_length);
void MallocExtension_GetStats(char *buffer, int buffer_length) {
    if (buffer_length <= 0) {
        return;
    }
    struct lr_report report;
    struct lr_print p;
    lr_report_gather(&report);
    lr_print_init(&p, buffer, (size_t)buffer_length, -1);
    lr_stats_text(&p, &report);
}

// histogram[i]: live blocks of sizes from 2^i on to below 2^(i+1); large ones by their mean size.
WEAK int MallocExtension_MallocMemoryStats(int *blocks, size_t *total, int histogram[HISTOGRAM]);
int MallocExtension_MallocMemoryStats(int *blocks, size_t *total, int histogram[HISTOGRAM]) {
    struct larder_stats stats;
    struct larder_class_stats class_stats;
    uint64_t counts[HISTOGRAM] = {0};
    uint64_t all = 0;
    larder_stats_get(&stats, sizeof stats);
    for (unsigned i = 0; larder_stats_class(i, &class_stats) == 0; i++) {
        counts[63 - __builtin_clzll(class_stats.size | 1)] += class_stats.live_objects;
        all += class_stats.live_objects;
    }
    if (stats.large_blocks != 0) {
        const uint64_t mean = stats.large_bytes / stats.large_blocks;
        counts[63 - __builtin_clzll(mean | 1)] += stats.large_blocks;
        all += stats.large_blocks;
    }
    for (int i = 0; i < HISTOGRAM; i++) {
        histogram[i] = counts[i] > INT_MAX ? INT_MAX : (int)counts[i];
    }
    *blocks = all > INT_MAX ? INT_MAX : (int)all;
    *total = stats.live_bytes;
    return 1;
}

WEAK void MallocExtension_ReleaseToSystem(size_t bytes);
void MallocExtension_ReleaseToSystem(size_t bytes) { (void)larder_release(bytes); }

WEAK void MallocExtension_ReleaseFreeMemory(void);
void MallocExtension_ReleaseFreeMemory(void) { (void)larder_release(SIZE_MAX); }

// The calling thread will be idle for long: its cache is given back. It needs no word when it is
// not.
WEAK void MallocExtension_MarkThreadIdle(void);
void MallocExtension_MarkThreadIdle(void) { (void)larder_thread_flush(); }

WEAK void MallocExtension_MarkThreadBusy(void);
void MallocExtension_MarkThreadBusy(void) {}

WEAK size_t MallocExtension_GetEstimatedAllocatedSize(size_t size);
size_t MallocExtension_GetEstimatedAllocatedSize(size_t size) { return larder_good_size(size, 0); }

WEAK size_t MallocExtension_GetAllocatedSize(const void *block);
size_t MallocExtension_GetAllocatedSize(const void *block) {
    return larder_malloc_usable_size((void *)(size_t)block);
}

enum { OWNERSHIP_OWNED = 1, OWNERSHIP_NOT_OWNED = 2 };

WEAK int MallocExtension_GetOwnership(const void *block);
int MallocExtension_GetOwnership(const void *block) {
    return larder_owns(block) ? OWNERSHIP_OWNED : OWNERSHIP_NOT_OWNED;
}
