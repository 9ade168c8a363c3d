// SPDX-License-Identifier: Apache-2.0
#include "hard/hard.h"

#include "base/bits.h"
#include "cache/misuse.h"
#include "hard/pages.h"
#include "hard/pattern.h"
#include "hard/slab.h"
#include "heap/direct.h"
#include "heap/limit.h"
#include "heap/span_heap.h"
#include "heap/thp.h"
#include "os/os.h"

bool lr_hardened;
uint64_t lr_canary_key;

static LR_COLD void report(const struct lr_verdict *verdict, const char *use) {
    switch (verdict->fault) {
    case LR_FAULT_NOT_A_BLOCK:
        lr_misuse_report_f("invalid %s of %p: no block begins there", use, verdict->block);
        break;
    case LR_FAULT_FREED:
        lr_misuse_report_f("%s of %p: freed before, in a slot or block of %zu bytes", use,
                           verdict->block, verdict->bytes);
        break;
    case LR_FAULT_OVERFLOW:
        lr_misuse_report_f("overflow of %p, a block of %zu bytes: byte %zu was changed",
                           verdict->block, verdict->bytes, verdict->at);
        break;
    default:
        lr_misuse_report_f(
            "write after free to %p, a free block of %zu bytes: byte %zu was changed",
            verdict->block, verdict->bytes, verdict->at);
        break;
    }
}

static void judge(const struct lr_verdict *verdict, const char *use) {
    if (LR_UNLIKELY(verdict->fault != LR_FAULT_NONE)) {
        report(verdict, use);
    }
}

// The span heap is out of pages or records: the quarantines give way, or what was freed could not
// be had again as blocks of other sizes. Slots first, because their slabs go where pages are.
static void reclaim(void) {
    for (unsigned c = 1; c < LR_SLAB_CLASSES; c++) {
        struct lr_verdict verdict = {.fault = LR_FAULT_NONE};
        lr_slab_reclaim(c, &verdict);
        judge(&verdict, "");
    }
    lr_pages_reclaim();
}

LR_COLD void lr_hard_enable(void) {
    lr_thp_forbid();
    lr_os_random(&lr_canary_key, sizeof lr_canary_key);
    lr_span_heap_set_reclaim(reclaim);
    lr_hardened = true;
}

// The span that the pointer's page belongs to, if it is one of this folder. Read without a lock:
// its owner looks again.
static struct span *span_at(const void *block) {
    size_t page = lr_page_of(block);
    struct span *span = lr_page_in_window(page) ? lr_span_of_page(page) : NULL;
    return span != NULL && span->is_private ? span : NULL;
}

bool lr_hard_owns(const void *block) { return span_at(block) != NULL; }

static void *alloc_pages(size_t size, size_t align) {
    if (align <= lr_window.align) {
        void *block = lr_pages_alloc(size, align);
        if (block != NULL || !lr_span_heap_window_full(size >> LR_PAGE_SHIFT)) {
            return block;
        }
    }
    if (!lr_span_heap_may_hold(size >> LR_PAGE_SHIFT)) {
        lr_limit_note_refused();
        return NULL;
    }
    return lr_direct_alloc(lr_max(size, 1), align);
}

void *lr_hard_alloc(size_t size, size_t align) {
    struct lr_verdict verdict = {.fault = LR_FAULT_NONE};
    if (size > PTRDIFF_MAX - LR_HUGE_BYTES || align > PTRDIFF_MAX - LR_HUGE_BYTES - size) {
        return NULL;
    }
    unsigned size_class = lr_slab_class(size, align);
    void *block =
        size_class != 0 ? lr_slab_alloc(size_class, size, &verdict) : alloc_pages(size, align);
    judge(&verdict, "");
    return block;
}

void *lr_hard_alloc_to_grow(size_t size) {
    const bool large = size > LR_SLAB_MAX && size <= PTRDIFF_MAX / 2;
    return large ? lr_pages_alloc_to_grow(size) : NULL;
}

void lr_hard_free(void *block) {
    struct lr_verdict verdict = {.fault = LR_FAULT_NOT_A_BLOCK, .block = block};
    struct span *span = span_at(block);
    if (span != NULL) {
        (span->size_class != 0 ? lr_slab_free : lr_pages_free)(span, block, &verdict);
    }
    judge(&verdict, verdict.fault == LR_FAULT_FREED ? "double free" : "free");
}

// What was asked for; 0 with a verdict if it is no live block.
static size_t look(const void *block, struct lr_verdict *verdict) {
    *verdict = (struct lr_verdict){.fault = LR_FAULT_NOT_A_BLOCK, .block = block};
    struct span *span = span_at(block);
    if (span == NULL) {
        return 0;
    }
    return (span->size_class != 0 ? lr_slab_bytes : lr_pages_bytes)(span, block, verdict);
}

bool lr_hard_is_block(const void *p) {
    struct lr_verdict verdict;
    (void)look(p, &verdict);
    return verdict.fault == LR_FAULT_NONE;
}

bool lr_hard_bytes(const void *block, const char *use, size_t *bytes) {
    struct lr_verdict verdict;
    *bytes = look(block, &verdict);
    judge(&verdict, use);
    return verdict.fault == LR_FAULT_NONE;
}

size_t lr_hard_bytes_from(struct span *span, const void *inside) {
    const char *start = inside;
    if (span != NULL) {
        start = span->size_class != 0 ? lr_slab_slot(span, inside) : lr_pages_start(span);
    }
    size_t bytes;
    if (!lr_hard_bytes(start, "larder_object_size", &bytes)) {
        return 0;
    }
    size_t offset = (size_t)inside - (size_t)start;
    return offset < bytes ? bytes - offset : 0;
}

void lr_hard_free_sized(void *block, size_t size, size_t align) {
    size_t bytes;
    if (lr_hard_bytes(block, "sized free", &bytes)) {
        if (bytes != size || ((size_t)block & (align - 1)) != 0) {
            lr_misuse_report_size(block, size, bytes);
        }
        lr_hard_free(block);
    }
}

bool lr_hard_resize(void *block, size_t size) {
    struct lr_verdict verdict = {.fault = LR_FAULT_NONE};
    struct span *span = span_at(block);
    bool done = span != NULL && (span->size_class != 0 ? lr_slab_resize : lr_pages_resize)(
                                    span, block, size, &verdict);
    judge(&verdict, "realloc");
    return done;
}

void lr_hard_check_all(void) {
    struct lr_verdict verdict = {.fault = LR_FAULT_NONE};
    for (unsigned c = 1; c < LR_SLAB_CLASSES; c++) {
        if (!lr_slab_check(c, &verdict)) {
            report(&verdict, "");
        }
    }
    if (!lr_pages_check(&verdict)) {
        report(&verdict, "");
    }
}
