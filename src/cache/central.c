// SPDX-License-Identifier: Apache-2.0
#include "cache/central.h"

#include "cache/misuse.h"
#include "heap/pool.h"
#include "heap/span_heap.h"

enum {
    FULLNESS =
        8, // steps by share of objects handed out, which separate full from empty well enough
    // A bucket is RESIDENT (no page of its spans was returned) + fullness * 2 + CHANGED (freed into
    // since lr_central_claim_pages() looked). The highest is used first.
    CHANGED = 1,
    RESIDENT = 2 * FULLNESS,
    BUCKETS = 2 * RESIDENT,
    LOOK_AHEAD = 64, // objects put back under one lock hold
    // Bytes of spans that are kept as spares, and longer ones up to a part of the heap: those of
    // 64 KiB from 32 MiB on.
    SPARE_ALWAYS = 32 << 10,
    SPARE_PART = 512,
};

#define CHANGED_BUCKETS UINT32_C(0xAAAAAAAA)

struct central {
    struct lr_lock lock;
    uint32_t filled;              // guarded by: lock; bit set: the bucket is not empty
    uint32_t spans;               // guarded by: lock
    struct span *spare;           // guarded by: lock; one empty span, against ping-pong
    uint64_t free_objects;        // guarded by: lock
    uint64_t lowest;              // guarded by: lock; lowest free_objects since the last look
    uint64_t clean_units;         // guarded by: lock; in all spans of the class
    uint64_t clean_ends;          // guarded by: lock; of them, those with a span's tail
    uint32_t fill[FULLNESS];      // guarded by: lock; spans in the buckets by fullness
    struct span *bucket[BUCKETS]; // guarded by: lock; spans with free and used objects
} LR_CACHE_ALIGNED;

#define CENTRAL_INIT                                                                               \
    { .lock = LR_LOCK_INIT(LR_RANK_CENTRAL) }
static struct central lists[LR_CLASS_COUNT] = {[0 ... LR_CLASS_COUNT - 1] = CENTRAL_INIT};
static atomic_u64 used_classes[LR_CLASS_COUNT / 64 + 1]; // bit set: it has had a span

struct lr_lock *lr_central_lock(unsigned size_class) {
    return &lists[size_class].lock;
}

bool lr_central_is_used(unsigned size_class) {
    return (lr_load_relaxed(&used_classes[size_class / 64]) >> size_class % 64 & 1) != 0;
}

static void note_used(unsigned size_class) {
    if (!lr_central_is_used(size_class)) {
        lr_fetch_or_relaxed(&used_classes[size_class / 64], (uint64_t)1 << size_class % 64);
    }
}

static unsigned bucket_of(const struct span *span) {
    unsigned used = span->object_count - span->free_objects;
    unsigned fullness = used * FULLNESS / (span->object_count + 1U);
    return (span->clean == 0 ? RESIDENT : 0) + 2 * fullness + CHANGED;
}

static unsigned fullness_of(unsigned bucket) { return bucket % RESIDENT / 2; }

static void link_into(struct central *list, struct span *span, unsigned bucket) {
    list->fill[fullness_of(bucket)]++;
    span->bucket = (uint8_t)bucket;
    span->prev = NULL;
    span->next = list->bucket[bucket];
    if (span->next != NULL) {
        span->next->prev = span;
    }
    list->bucket[bucket] = span;
    list->filled |= 1U << bucket;
}

static void link_span(struct central *list, struct span *span) {
    link_into(list, span, bucket_of(span));
}

static void unlink_span(struct central *list, struct span *span) {
    unsigned bucket = span->bucket;
    list->fill[fullness_of(bucket)]--;
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

// First and last unit of the span in which the object lies, as a mask.
static uint32_t units_of(const struct span *span, const struct class_info *info, size_t object) {
    size_t unit_bytes = lr_span_unit_pages(span->page_count) << LR_PAGE_SHIFT;
    size_t first = object * info->bytes / unit_bytes;
    size_t last = ((object + 1) * info->bytes - 1) / unit_bytes;
    return (uint32_t)(((uint64_t)2 << last) - ((uint64_t)1 << first));
}

static unsigned units_in(const struct span *span) {
    uint32_t unit = lr_span_unit_pages(span->page_count);
    return (span->page_count + unit - 1) / unit;
}

static void set_clean(struct central *list, struct span *span, uint32_t clean) {
    unsigned end = units_in(span) - 1;
    list->clean_units += (uint64_t)__builtin_popcount(clean);
    list->clean_units -= (uint64_t)__builtin_popcount(span->clean);
    list->clean_ends += clean >> end & 1;
    list->clean_ends -= span->clean >> end & 1;
    span->clean = clean;
}

// Objects that lie in returned pages are handed out.
static void note_touched(struct central *list, struct span *span, void *const *objects,
                         unsigned count) {
    const struct class_info *info = &lr_classes[span->size_class];
    uint32_t clean = span->clean;
    for (unsigned i = 0; i < count; i++) {
        size_t offset = (size_t)((const char *)objects[i] - lr_span_start(span));
        clean &= ~units_of(span, info, lr_object_index(info, offset));
    }
    set_clean(list, span, clean);
}

static unsigned remove_locked(struct central *list, unsigned size_class, void **end,
                              unsigned most) {
    unsigned taken = 0;
    while (taken < most) {
        struct span *span = pick_span(list);
        if (span == NULL) {
            break;
        }
        unsigned carved = carve(span, size_class, end - taken, most - taken);
        taken += carved;
        if (LR_UNLIKELY(span->clean != 0)) {
            note_touched(list, span, end - taken, carved);
        }
        if (span->free_objects > 0) {
            link_span(list, span);
        }
    }
    list->free_objects -= taken;
    list->lowest = lr_min(list->lowest, list->free_objects);
    return taken;
}

// Objects lie before out + most; moves them to `out`.
static void move_to_front(void **out, unsigned most, unsigned taken) {
    for (unsigned i = 0; taken < most && i < taken; i++) {
        out[i] = out[most - taken + i];
    }
}

unsigned lr_central_remove_held(unsigned size_class, void **out, unsigned most) {
    struct central *list = &lists[size_class];
    lr_lock(&list->lock);
    unsigned taken = remove_locked(list, size_class, out + most, most);
    lr_unlock(&list->lock);
    move_to_front(out, most, taken);
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
        note_used(size_class);
        lr_lock(&list->lock);
        taken = carve(span, size_class, end, most);
        list->spans++;
        list->free_objects += span->free_objects;
        if (span->free_objects > 0) {
            link_span(list, span);
        }
        lr_unlock(&list->lock);
    }
    move_to_front(out, most, taken);
    return taken;
}

// An empty span leaves for the span heap, which is told which of its pages are clean. The maps
// forget it under the lock, so that who holds it may use what they lead to.
static void drop_empty(struct central *list, struct span *span) {
    lr_span_unmap(span);
    uint32_t clean = span->clean;
    set_clean(list, span, 0);
    span->clean = clean;
    list->spans--;
    list->free_objects -= span->object_count;
    list->lowest = lr_min(list->lowest, list->free_objects);
}

// In a small heap there would else be more in spares than in use.
static bool is_worth_keeping(const struct span *span) {
    return lr_span_bytes(span) <= lr_max(SPARE_ALWAYS, lr_pool_bytes() / SPARE_PART);
}

// The span is entirely free and on no list: keeps it as the spare or adds it to *empty.
static void retire(struct central *list, struct span *span, struct span **empty) {
    if (list->spare == NULL && is_worth_keeping(span)) {
        list->spare = span;
        return;
    }
    drop_empty(list, span);
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

// The same for one object.
static LR_ALWAYS_INLINE unsigned mark_one_free(struct span *span, const struct class_info *info,
                                               const void *object) {
    size_t offset = (size_t)((const char *)object - lr_span_start(span));
    size_t i = lr_object_index(info, offset);
    uint64_t bit = (uint64_t)1 << (i % 64);
    if (LR_UNLIKELY(i * info->bytes != offset || i >= span->fresh ||
                    (span->bits[i / 64] & bit) != 0)) {
        return 0;
    }
    span->bits[i / 64] |= bit;
    span->free_objects++;
    return 1;
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
        unsigned count = runs[i].end - at;
        unsigned done = count == 1 ? mark_one_free(span, info, objects[at])
                                   : mark_free(span, info, objects + at, count);
        // A span that did not accept its first object is none of ours to settle: it may be on its
        // way out.
        if (span->touched == 0 && done > 0) {
            span->touched = 1;
            touched[touched_count++] = span;
        }
        at += done;
        if (LR_UNLIKELY(done < count)) {
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

static void free_spans(struct span *empty) {
    while (empty != NULL) {
        struct span *next = empty->next;
        lr_span_free_private(empty, false);
        empty = next;
    }
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
    free_spans(empty);
}

// ---- Pages without a live object in spans that are in use ----

static bool is_free(const struct span *span, size_t object) {
    return object >= span->fresh || (span->bits[object / 64] >> (object % 64) & 1) != 0;
}

// True if every object that lies in the unit is free.
static bool unit_is_free(const struct span *span, const struct class_info *info, unsigned unit) {
    size_t unit_bytes = lr_span_unit_pages(span->page_count) << LR_PAGE_SHIFT;
    size_t first = unit * unit_bytes / info->bytes;
    size_t last = lr_min(((unit + 1) * unit_bytes - 1) / info->bytes, span->object_count - 1U);
    for (size_t i = first; i <= last; i++) {
        if (!is_free(span, i)) {
            return false;
        }
    }
    return true;
}

// The units that may go back: free, not returned before, and touched at all.
static uint32_t dirty_units(const struct span *span, const struct class_info *info) {
    size_t unit_bytes = lr_span_unit_pages(span->page_count) << LR_PAGE_SHIFT;
    size_t touched = span->zeroed != 0 ? (size_t)span->fresh * info->bytes : lr_span_bytes(span);
    uint32_t units = 0;
    for (unsigned u = 0; u * unit_bytes < touched; u++) {
        if ((span->clean >> u & 1) == 0 && unit_is_free(span, info, u)) {
            units |= (uint32_t)1 << u;
        }
    }
    return units;
}

// Calls for each object that lies in one of the units.
#define FOR_EACH_OBJECT_IN(i, span, info, units)                                                   \
    for (size_t i = 0; i < (span)->object_count; i++)                                              \
        if ((units_of(span, info, i) & (units)) != 0)

// Hands the objects in the units out, to the caller.
static unsigned hand_out(struct span *span, const struct class_info *info, uint32_t units) {
    for (; span->fresh < span->object_count; span->fresh++) {
        span->bits[span->fresh / 64] |= (uint64_t)1 << (span->fresh % 64);
    }
    unsigned count = 0;
    FOR_EACH_OBJECT_IN(i, span, info, units) {
        span->bits[i / 64] &= ~((uint64_t)1 << (i % 64));
        count++;
    }
    span->free_objects = (uint16_t)(span->free_objects - count);
    return count;
}

bool lr_central_claim_pages(unsigned size_class, struct central_claim *claim, unsigned *looks) {
    struct central *list = &lists[size_class];
    const struct class_info *info = &lr_classes[size_class];
    claim->units = 0;
    lr_lock(&list->lock);
    while (*looks > 0 && claim->units == 0) {
        uint32_t changed = list->filled & CHANGED_BUCKETS;
        if (changed == 0) {
            break;
        }
        (*looks)--;
        struct span *span = list->bucket[__builtin_ctz(changed)];
        unlink_span(list, span);
        claim->span = span;
        claim->units = dirty_units(span, info);
        if (claim->units != 0) {
            list->free_objects -= hand_out(span, info, claim->units);
        }
        if (span->free_objects > 0) {
            link_into(list, span, bucket_of(span) - CHANGED);
        }
    }
    lr_unlock(&list->lock);
    return claim->units != 0;
}

void lr_central_return_pages(unsigned size_class, const struct central_claim *claim, bool clean) {
    struct central *list = &lists[size_class];
    const struct class_info *info = &lr_classes[size_class];
    struct span *span = claim->span;
    struct span *empty = NULL;
    const void *twice = NULL; // freed by the program, which did not have it
    lr_lock(&list->lock);
    FOR_EACH_OBJECT_IN(i, span, info, claim->units) {
        void *object = lr_span_start(span) + i * info->bytes;
        if (LR_LIKELY(mark_free(span, info, &object, 1) == 1)) {
            list->free_objects++;
        } else {
            twice = object;
        }
    }
    if (clean) {
        set_clean(list, span, span->clean | claim->units);
    }
    bool changed = span->bucket != LR_SPAN_UNLISTED && (span->bucket & CHANGED) != 0;
    settle(list, span, &empty);
    if (!changed && span->bucket != LR_SPAN_UNLISTED) {
        unlink_span(list, span);
        link_into(list, span, bucket_of(span) - CHANGED);
    }
    lr_unlock(&list->lock);
    free_spans(empty);
    if (LR_UNLIKELY(twice != NULL)) {
        lr_misuse_report(LR_MISUSE_FREE, twice);
    }
}

struct central_unused lr_central_take_unused(unsigned size_class) {
    struct central *list = &lists[size_class];
    const struct class_info *info = &lr_classes[size_class];
    lr_lock(&list->lock);
    size_t unused = list->lowest * info->bytes;
    size_t clean = (list->clean_units * lr_span_unit_pages(info->pages)) << LR_PAGE_SHIFT;
    bool used = list->lowest != list->free_objects;
    list->lowest = list->free_objects;
    lr_unlock(&list->lock);
    return (struct central_unused){.bytes = unused > clean ? unused - clean : 0, .used = used};
}

void lr_central_release_spares(void) {
    for (unsigned c = 1; c < LR_CLASS_COUNT; c++) {
        struct central *list = &lists[c];
        lr_lock(&list->lock);
        struct span *span = list->spare;
        if (span != NULL) {
            list->spare = NULL;
            drop_empty(list, span);
        }
        lr_unlock(&list->lock);
        if (span != NULL) {
            lr_span_free_private(span, false);
        }
    }
}

struct central_counts lr_central_counts(unsigned size_class) {
    struct central *list = &lists[size_class];
    lr_lock(&list->lock);
    const struct class_info *info = &lr_classes[size_class];
    size_t unit_bytes = lr_span_unit_pages(info->pages) << LR_PAGE_SHIFT;
    size_t tail = info->pages * LR_PAGE_BYTES - (size_t)info->objects * info->bytes;
    struct central_counts counts = {.spans = list->spans,
                                    .free_objects = list->free_objects,
                                    .clean_bytes = list->clean_units * unit_bytes,
                                    .clean_tail_bytes = list->clean_ends * tail};
    lr_unlock(&list->lock);
    return counts;
}

void lr_central_fills(unsigned size_class, uint32_t fills[LR_CENTRAL_FILLS]) {
    struct central *list = &lists[size_class];
    lr_lock(&list->lock);
    uint32_t partly = 0;
    for (unsigned f = 0; f < FULLNESS; f++) {
        fills[1 + f] = list->fill[f];
        partly += list->fill[f];
    }
    fills[0] = list->spare != NULL;
    fills[FULLNESS + 1] = list->spans - partly - fills[0];
    lr_unlock(&list->lock);
}
