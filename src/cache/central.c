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
    if (span->next != NULL) {
        span->next->prev = span->prev;
    }
    if (span->prev != NULL) {
        span->prev->next = span->next;
        return;
    }
    list->bucket[span->bucket] = span->next;
    if (span->next == NULL) {
        list->filled &= ~(1U << span->bucket);
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

// Moves up to `most` objects of the span to the places below `end`, recycled ones first because
// their memory is there; returns how many.
static unsigned carve(struct span *span, unsigned size_class, void **end, unsigned most) {
    const struct class_info *info = &lr_classes[size_class];
    char *start = lr_span_start(span);
    unsigned taken = 0;
    unsigned recycled = span->free_objects - (unsigned)(span->object_count - span->fresh);
    for (unsigned w = 0; recycled > 0 && taken < most; w++) {
        uint64_t word = span->bits[w];
        while (word != 0 && taken < most) {
            unsigned i = w * 64 + (unsigned)__builtin_ctzl(word);
            *(end - ++taken) = start + (size_t)i * info->bytes;
            word &= word - 1;
            recycled--;
        }
        span->bits[w] = word;
    }
    unsigned fresh = (unsigned)lr_min(most - taken, (size_t)(span->object_count - span->fresh));
    char *at = start + (size_t)span->fresh * info->bytes;
    for (unsigned i = 0; i < fresh; i++, at += info->bytes) {
        *(end - ++taken) = at;
    }
    span->fresh = (uint16_t)(span->fresh + fresh);
    span->free_objects = (uint16_t)(span->free_objects - taken);
    return taken;
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

// Sets the object's bit; false if the pointer is not an object that is handed out.
static bool mark_free(struct span *span, const struct class_info *info, const void *object) {
    size_t offset = (size_t)((const char *)object - lr_span_start(span));
    size_t i = lr_object_index(info, offset);
    uint64_t bit = (uint64_t)1 << (i % 64);
    if (LR_UNLIKELY(i * info->bytes != offset || i >= span->fresh ||
                    (span->bits[i / 64] & bit) != 0)) {
        return false;
    }
    span->bits[i / 64] |= bit;
    span->free_objects++;
    return true;
}

// Puts objects[0..count) of one span back; returns how many were accepted before a bad one.
static unsigned insert_run(struct central *list, struct span *span, const struct class_info *info,
                           void *const *objects, unsigned count, struct span **empty) {
    bool was_full = span->free_objects == 0;
    unsigned done = 0;
    while (done < count && mark_free(span, info, objects[done])) {
        done++;
    }
    if (LR_UNLIKELY(done == 0)) {
        return 0; // nothing changed; the span may even be off all lists, on its way out
    }
    list->free_objects += done;
    bool listed = !was_full && span != list->spare;
    if (span->free_objects == span->object_count) {
        if (listed) {
            unlink_span(list, span);
        }
        if (span != list->spare) {
            retire(list, span, empty);
        }
    } else if (!listed) {
        link_span(list, span);
    } else if (listed && bucket_of(span) != span->bucket) {
        unlink_span(list, span);
        link_span(list, span);
    }
    return done;
}

void lr_central_insert(unsigned size_class, void *const *objects, unsigned count) {
    struct central *list = &lists[size_class];
    const struct class_info *info = &lr_classes[size_class];
    struct span *empty = NULL;
    unsigned bad = count;
    for (unsigned at = 0; at < count;) {
        // Spans are looked up without the lock, which warms their descriptors: a span with an
        // object handed out is not released, so the map entries stay as they are.
        struct span *spans[LOOK_AHEAD];
        unsigned part = (unsigned)lr_min(count - at, LOOK_AHEAD);
        for (unsigned i = 0; i < part; i++) {
            size_t page = lr_page_of(objects[at + i]);
            spans[i] = lr_page_in_window(page) ? lr_span_of_page(page) : NULL;
            __builtin_prefetch(spans[i], 1);
        }
        lr_lock(&list->lock);
        unsigned i = 0;
        while (i < part && bad == count) {
            unsigned same = 1;
            while (i + same < part && spans[i + same] == spans[i]) {
                same++;
            }
            unsigned done = 0;
            if (LR_LIKELY(spans[i] != NULL && spans[i]->size_class == size_class)) {
                done = insert_run(list, spans[i], info, objects + at + i, same, &empty);
            }
            i += done;
            if (LR_UNLIKELY(done < same)) {
                bad = at + i;
            }
        }
        lr_unlock(&list->lock);
        at += i;
        if (LR_UNLIKELY(bad != count)) {
            lr_misuse_report(LR_MISUSE_FREE, objects[bad]);
            bad = count;
            at++; // the policy says to go on without it
        }
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
