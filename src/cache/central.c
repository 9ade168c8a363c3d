// SPDX-License-Identifier: Apache-2.0
#include "cache/central.h"

#include "cache/misuse.h"
#include "heap/span_heap.h"

enum {
    BUCKETS =
        8, // spans by share of objects handed out; 8 steps separate full from empty well enough
    LOOK_AHEAD = 64, // objects put back under one lock hold
};

struct central {
    struct lr_lock lock;
    struct span *bucket[BUCKETS]; // guarded by: lock; spans with free and used objects
    struct span *spare;           // guarded by: lock; one empty span, against ping-pong
    uint32_t filled;              // guarded by: lock; bit set: the bucket is not empty
    uint32_t spans;               // guarded by: lock
    uint64_t free_objects;        // guarded by: lock
} LR_CACHE_ALIGNED;

#define CENTRAL_INIT                                                                               \
    { .lock = LR_LOCK_INIT(LR_RANK_CENTRAL) }
static struct central lists[LR_CLASS_COUNT] = {[0 ... LR_CLASS_COUNT - 1] = CENTRAL_INIT};

struct lr_lock *lr_central_lock(unsigned size_class) {
    return &lists[size_class].lock;
}

static unsigned bucket_of(const struct span *span) {
    unsigned used = span->object_count - span->free_objects;
    return used * BUCKETS / (span->object_count + 1U);
}

static void link_span(struct central *list, struct span *span) {
    unsigned bucket = bucket_of(span);
    span->bucket = (uint8_t)bucket;
    span->prev = NULL;
    span->next = list->bucket[bucket];
    if (span->next != NULL) {
        span->next->prev = span;
    }
    list->bucket[bucket] = span;
    list->filled |= 1U << bucket;
}

static void unlink_span(struct central *list, struct span *span) {
    unsigned bucket = span->bucket;
    span->bucket = LR_SPAN_UNLISTED;
    if (span->next != NULL) {
        span->next->prev = span->prev;
    }
    if (span->prev != NULL) {
        span->prev->next = span->next;
        return;
    }
    list->bucket[bucket] = span->next;
    if (span->next == NULL) {
        list->filled &= ~(1U << bucket);
    }
}

// The fullest span with a free object, off its list; the spare one if there is no other.
static struct span *pick_span(struct central *list) {
    if (list->filled != 0) {
        struct span *span = list->bucket[31 - __builtin_clz(list->filled)];
        unlink_span(list, span);
        return span;
    }
    struct span *span = list->spare;
    list->spare = NULL;
    return span;
}

// Moves `count` recycled objects, or as many as there are, to the places below `end`; returns the
// last place filled.
static void **carve_recycled(struct span *span, size_t bytes, void **end, unsigned count) {
    char *at = lr_span_start(span); // the first object of the word
    uint64_t *bits = span->bits;
    uint64_t word = *bits;
    for (; count > 0; count--) {
        while (word == 0) {
            *bits++ = 0;
            word = *bits;
            at += 64 * bytes;
        }
        *--end = at + (size_t)__builtin_ctzl(word) * bytes;
        word &= word - 1;
    }
    *bits = word;
    return end;
}

// Moves up to `most` objects of the span to the places below `end`, recycled ones first because
// their memory is there; returns how many.
static unsigned carve(struct span *span, unsigned size_class, void **end, unsigned most) {
    size_t bytes = lr_classes[size_class].bytes;
    unsigned untouched = (unsigned)(span->object_count - span->fresh);
    unsigned recycled = (unsigned)lr_min(span->free_objects - untouched, most);
    unsigned fresh = (unsigned)lr_min(untouched, most - recycled);
    end = carve_recycled(span, bytes, end, recycled);
    char *at = lr_span_start(span) + span->fresh * bytes;
    for (unsigned i = 0; i < fresh; i++, at += bytes) {
        *--end = at;
    }
    span->fresh = (uint16_t)(span->fresh + fresh);
    span->free_objects = (uint16_t)(span->free_objects - recycled - fresh);
    return recycled + fresh;
}

static unsigned remove_locked(struct central *list, unsigned size_class, void **end,
                              unsigned most) {
    unsigned taken = 0;
    while (taken < most) {
        struct span *span = pick_span(list);
        if (span == NULL) {
            break;
        }
        taken += carve(span, size_class, end - taken, most - taken);
        if (span->free_objects > 0) {
            link_span(list, span);
        }
    }
    list->free_objects -= taken;
    return taken;
}

unsigned lr_central_remove(unsigned size_class, void **out, unsigned most) {
    struct central *list = &lists[size_class];
    const struct class_info *info = &lr_classes[size_class];
    void **end = out + most;
    lr_lock(&list->lock);
    unsigned taken = remove_locked(list, size_class, end, most);
    lr_unlock(&list->lock);
    if (taken == 0) {
        struct span *span = lr_span_alloc_small(info->pages, info->objects, (uint8_t)size_class,
                                                lr_bin_offset(size_class));
        if (span == NULL) {
            return 0;
        }
        lr_lock(&list->lock);
        taken = carve(span, size_class, end, most);
        list->spans++;
        list->free_objects += span->free_objects;
        if (span->free_objects > 0) {
            link_span(list, span);
        }
        lr_unlock(&list->lock);
    }
    if (taken < most) {
        for (unsigned i = 0; i < taken; i++) {
            out[i] = *(end - taken + i);
        }
    }
    return taken;
}

// The span is entirely free and on no list: keeps it as the spare or adds it to *empty.
static void retire(struct central *list, struct span *span, struct span **empty) {
    if (list->spare == NULL) {
        list->spare = span;
        return;
    }
    list->spans--;
    list->free_objects -= span->object_count;
    span->next = *empty;
    *empty = span;
}

// Sets the bits of objects[0..count) of one span; returns how many were accepted before one that
// is not an object that is handed out. A word of bits stays in a register as long as it is the same
// one: each store would have to be waited for by the next load.
static unsigned mark_free(struct span *span, const struct class_info *info, void *const *objects,
                          unsigned count) {
    const char *start = lr_span_start(span);
    size_t fresh = span->fresh;
    size_t at = SIZE_MAX;
    uint64_t word = 0;
    unsigned done = 0;
    for (; done < count; done++) {
        size_t offset = (size_t)((const char *)objects[done] - start);
        size_t i = lr_object_index(info, offset);
        if (LR_UNLIKELY(i * info->bytes != offset || i >= fresh)) {
            break;
        }
        if (i / 64 != at) {
            if (done > 0) {
                span->bits[at] = word;
            }
            at = i / 64;
            word = span->bits[at];
        }
        uint64_t bit = (uint64_t)1 << (i % 64);
        if (LR_UNLIKELY((word & bit) != 0)) {
            break;
        }
        word |= bit;
    }
    // Where nothing was accepted nothing is written: the span may even be on its way out.
    if (LR_LIKELY(done > 0)) {
        span->bits[at] = word;
        span->free_objects = (uint16_t)(span->free_objects + done);
    }
    return done;
}

// Puts a span that took objects back where its counts say it belongs.
static void settle(struct central *list, struct span *span, struct span **empty) {
    bool listed = span->bucket != LR_SPAN_UNLISTED;
    bool is_empty = span->free_objects == span->object_count;
    if (listed && (is_empty || bucket_of(span) != span->bucket)) {
        unlink_span(list, span);
        listed = false;
    }
    if (!is_empty && !listed) {
        link_span(list, span);
    } else if (is_empty && span != list->spare) {
        retire(list, span, empty);
    }
}

// Consecutive objects of one span.
struct run {
    struct span *span; // NULL: not a pointer into a span
    unsigned end;      // index behind the last object
};

// Cuts objects[0..count), at least one, into runs; how many there are. The lock is not needed: a
// span with an object handed out is not released, so its map entries stay as they are.
static unsigned find_runs(void *const *objects, unsigned count, struct run *runs) {
    size_t last_page = SIZE_MAX;
    unsigned found = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t page = lr_page_of(objects[i]);
        if (page == last_page) {
            continue;
        }
        last_page = page;
        struct span *span = lr_page_in_window(page) ? lr_span_of_page(page) : NULL;
        if (found > 0) {
            if (runs[found - 1].span == span) {
                continue;
            }
            runs[found - 1].end = i;
        }
        __builtin_prefetch(span, 1); // it is written to under the lock
        runs[found++].span = span;
    }
    runs[found - 1].end = count;
    return found;
}

// Puts the objects of the runs back; returns how many were accepted before a bad one. A span is
// settled once, however many runs it has.
static unsigned insert_locked(struct central *list, unsigned size_class, const struct run *runs,
                              unsigned run_count, void *const *objects, struct span **empty) {
    const struct class_info *info = &lr_classes[size_class];
    struct span *touched[LOOK_AHEAD];
    unsigned touched_count = 0;
    unsigned at = 0;
    for (unsigned i = 0; i < run_count; i++) {
        struct span *span = runs[i].span;
        if (LR_UNLIKELY(span == NULL || span->size_class != size_class)) {
            break;
        }
        at += mark_free(span, info, objects + at, runs[i].end - at);
        // A span that did not accept its first object is none of ours to settle: it may be on its
        // way out.
        if (span->touched == 0 && at > (i == 0 ? 0 : runs[i - 1].end)) {
            span->touched = 1;
            touched[touched_count++] = span;
        }
        if (LR_UNLIKELY(at < runs[i].end)) {
            break;
        }
    }
    list->free_objects += at;
    for (unsigned i = 0; i < touched_count; i++) {
        touched[i]->touched = 0;
        settle(list, touched[i], empty);
    }
    return at;
}

void lr_central_insert(unsigned size_class, void *const *objects, unsigned count) {
    struct central *list = &lists[size_class];
    struct span *empty = NULL;
    while (count > 0) {
        struct run runs[LOOK_AHEAD];
        unsigned part = (unsigned)lr_min(count, LOOK_AHEAD);
        unsigned run_count = find_runs(objects, part, runs);
        lr_lock(&list->lock);
        unsigned done = insert_locked(list, size_class, runs, run_count, objects, &empty);
        lr_unlock(&list->lock);
        if (LR_UNLIKELY(done < part)) {
            lr_misuse_report(LR_MISUSE_FREE, objects[done]);
            done++; // the policy says to go on without it
        }
        objects += done;
        count -= done;
    }
    while (empty != NULL) {
        struct span *next = empty->next;
        lr_span_free(empty);
        empty = next;
    }
}

void lr_central_release_spares(void) {
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        struct central *list = &lists[c];
        lr_lock(&list->lock);
        struct span *span = list->spare;
        if (span != NULL) {
            list->spare = NULL;
            list->spans--;
            list->free_objects -= span->object_count;
        }
        lr_unlock(&list->lock);
        if (span != NULL) {
            lr_span_free(span);
        }
    }
}

struct central_counts lr_central_counts(unsigned size_class) {
    struct central *list = &lists[size_class];
    lr_lock(&list->lock);
    struct central_counts counts = {.spans = list->spans, .free_objects = list->free_objects};
    lr_unlock(&list->lock);
    return counts;
}
