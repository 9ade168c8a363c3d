// SPDX-License-Identifier: Apache-2.0
// glibc's reports about its heap, from Larder's statistics: mallinfo(), mallinfo2(), malloc_info()
// and malloc_stats(). Its notions are chunks in bins of arenas, so each figure is that of the
// nearest thing Larder has: caches are the fast bins, central lists and free pages the others, and
// there is one arena.
#include <errno.h>
#include <larder/larder.h>
#include <larder/stats.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>

#include "api/override.h"
#include "base/attr.h"
#include "base/config.h"

// Free blocks of one size class.
struct free_blocks {
    size_t size;
    size_t count;
};

// All that a report needs, read before the first byte is written: writing may allocate. No more,
// because the caller may have a small stack.
struct heap_view {
    struct larder_stats stats;
    struct free_blocks classes[LR_CLASS_COUNT];
    unsigned class_count;
    size_t cached_bytes;   // in free blocks of thread and transfer caches
    size_t cached_objects; // the number of them
    size_t listed_objects; // free blocks in central lists; their bytes: stats.central_free_bytes
    size_t free_pages;     // pages of LR_PAGE_BYTES in stats.span_heap_free_bytes
    size_t arena_bytes;    // held for small blocks and free pages
    size_t used_bytes;     // of arena_bytes, in live blocks
};

// Figures of running threads: a difference may come out below what it is the rest of.
static size_t rest_of(size_t whole, size_t part) { return whole > part ? whole - part : 0; }

static void look(struct heap_view *view) {
    *view = (struct heap_view){.class_count = 0};
    struct larder_stats *stats = &view->stats;
    larder_stats_get(stats, sizeof *stats);
    while (view->class_count < LR_CLASS_COUNT) {
        struct larder_class_stats class;
        if (larder_stats_class(view->class_count, &class) != 0) {
            break;
        }
        const size_t cached = class.thread_objects + class.transfer_objects;
        view->cached_objects += cached;
        view->listed_objects += class.central_objects;
        view->classes[view->class_count++] =
            (struct free_blocks){.size = class.size, .count = cached + class.central_objects};
    }
    view->cached_bytes = stats->thread_cache_bytes + stats->transfer_cache_bytes;
    view->free_pages = stats->span_heap_free_bytes / LR_PAGE_BYTES;
    view->used_bytes = rest_of(stats->live_bytes, stats->large_bytes);
    const size_t arena = rest_of(stats->held_bytes, stats->metadata_bytes + stats->large_bytes);
    view->arena_bytes = arena > view->used_bytes ? arena : view->used_bytes;
}

struct mallinfo2 larder_mallinfo2(void) {
    struct heap_view view;
    look(&view);
    return (struct mallinfo2){
        .arena = view.arena_bytes,
        .ordblks = view.listed_objects + view.free_pages,
        .smblks = view.cached_objects,
        .hblks = view.stats.large_blocks,
        .hblkhd = view.stats.large_bytes,
        .fsmblks = view.cached_bytes,
        .uordblks = view.used_bytes,
        .fordblks = view.arena_bytes - view.used_bytes,
        .keepcost = view.stats.span_heap_free_bytes,
    };
}

static int saturated(size_t value) { return value > INT_MAX ? INT_MAX : (int)value; }

struct mallinfo larder_mallinfo(void) {
    const struct mallinfo2 wide = larder_mallinfo2();
    return (struct mallinfo){
        .arena = saturated(wide.arena),
        .ordblks = saturated(wide.ordblks),
        .smblks = saturated(wide.smblks),
        .hblks = saturated(wide.hblks),
        .hblkhd = saturated(wide.hblkhd),
        .usmblks = saturated(wide.usmblks),
        .fsmblks = saturated(wide.fsmblks),
        .uordblks = saturated(wide.uordblks),
        .fordblks = saturated(wide.fordblks),
        .keepcost = saturated(wide.keepcost),
    };
}

// Where the XML goes, and the errno of the first write that failed, 0 for none.
struct xml {
    FILE *stream;
    int error;
};

static void emit(struct xml *xml, const char *format, ...) LR_PRINTF(2, 3);

static void emit(struct xml *xml, const char *format, ...) {
    if (xml->error != 0) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    if (vfprintf(xml->stream, format, arguments) < 0) {
        xml->error = errno;
    }
    va_end(arguments);
}

// One <size> for each class with free blocks, which serves requests of `from` to `to` bytes; the
// free pages, which can become any class, are what glibc calls unsorted.
static void emit_sizes(struct xml *xml, const struct heap_view *view) {
    size_t from = 0;
    emit(xml, "<sizes>\n");
    for (unsigned i = 0; i < view->class_count; i++) {
        const struct free_blocks *class = &view->classes[i];
        if (class->count > 0) {
            emit(xml, "  <size from=\"%zu\" to=\"%zu\" total=\"%zu\" count=\"%zu\"/>\n", from,
                 class->size, class->count * class->size, class->count);
        }
        from = class->size + 1;
    }
    if (view->free_pages > 0) {
        emit(xml, "  <unsorted from=\"%zu\" to=\"%zu\" total=\"%zu\" count=\"%zu\"/>\n",
             LR_PAGE_BYTES, LR_PAGE_BYTES, (size_t)view->stats.span_heap_free_bytes,
             view->free_pages);
    }
    emit(xml, "</sizes>\n");
}

static void emit_free(struct xml *xml, const struct heap_view *view) {
    emit(xml, "<total type=\"fast\" count=\"%zu\" size=\"%zu\"/>\n", view->cached_objects,
         view->cached_bytes);
    emit(xml, "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n",
         view->listed_objects + view->free_pages,
         (size_t)(view->stats.central_free_bytes + view->stats.span_heap_free_bytes));
}

// "current" is what the heap holds now; "max" adds the pages that could have held memory before:
// no peak is recorded, and this bounds it. One address space, all of it accessible.
static void emit_system(struct xml *xml, const struct heap_view *view) {
    const struct larder_stats *stats = &view->stats;
    emit(xml, "<system type=\"current\" size=\"%zu\"/>\n", (size_t)stats->held_bytes);
    emit(xml, "<system type=\"max\" size=\"%zu\"/>\n",
         (size_t)(stats->held_bytes + stats->returned_bytes));
    emit(xml, "<aspace type=\"total\" size=\"%zu\"/>\n", (size_t)stats->mapped_bytes);
    emit(xml, "<aspace type=\"mprotect\" size=\"%zu\"/>\n", (size_t)stats->mapped_bytes);
}

int larder_malloc_info(int options, FILE *stream) {
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    struct heap_view view;
    look(&view);
    struct xml xml = {.stream = stream, .error = 0};
    emit(&xml, "<malloc version=\"1\">\n<heap nr=\"0\">\n");
    emit_sizes(&xml, &view);
    emit_free(&xml, &view);
    emit_system(&xml, &view);
    emit(&xml, "</heap>\n");
    // The sums over all heaps, of which there is one.
    emit_free(&xml, &view);
    emit(&xml, "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n",
         (size_t)view.stats.large_blocks, (size_t)view.stats.large_bytes);
    emit_system(&xml, &view);
    emit(&xml, "</malloc>\n");
    if (xml.error != 0) {
        errno = xml.error;
        return -1;
    }
    return 0;
}

void larder_malloc_stats(void) {
    enum { STANDARD_ERROR = 2 };
    larder_stats_print(STANDARD_ERROR);
}

LR_OVERRIDES_OF_GLIBC_INFO(LR_OVERRIDE)
