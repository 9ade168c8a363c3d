// SPDX-License-Identifier: Apache-2.0
#include "hard/slab.h"

#include <string.h>

#include "cache/size_class.h"
#include "hard/pages.h"
#include "hard/pattern.h"
#include "hard/random.h"
#include "heap/meta.h"
#include "heap/span_heap.h"
#include "os/os.h"

enum {
    EMPTY_CLASS = LR_CLASS_COUNT, // of blocks of no bytes
    EMPTY_SLOT_BYTES = LR_MIN_ALIGN,
    // With its guard page a slab of the smallest classes is 64 KiB, and its records fit 8 KiB.
    SLAB_PAGES_MIN = 7,
    SLOTS_MIN = 7, // fewer would leave a random choice little to choose from
    // A slot's record: its state, and by how much its block is shorter than it.
    SLACK_BITS = 14,
    // Slots that a class holds back, in each of two stages.
    HELD_BYTES = 64 << 10,
    HELD_MIN = 4,
    HELD_MAX = 1024,
};

static_assert(2 * LR_PAGE_BYTES <= 1 << SLACK_BITS, "slack by alignment and by size class");

enum slot_state { FREE, LIVE, QUARANTINED };

// Behind the descriptor of its span; then come a bit for each slot (set: free), and its record.
struct slab {
    struct slab *next; // guarded by: lock of the class, as all that follows
    struct slab *prev;
    uint32_t slots; // immutable
    uint32_t free;
};

// Slots of a class wait in two stages: a slot that is freed takes a random place of the first, and
// who lay there goes to the end of the second, a queue.
struct quarantine {
    void **random; // NULL: no memory for it yet
    void **queue;
    uint32_t head; // of the queue, a ring
    uint32_t held; // slots in both
};

struct class_slabs {
    struct lr_lock lock;
    struct slab *partial; // guarded by: lock, as all that follows; slabs with free and other slots
    struct slab *full;
    struct slab *spare; // one that is entirely free, against ping-pong
    size_t slabs;
    size_t live;
    size_t live_bytes;
    struct quarantine quarantine;
    struct lr_random random;
} LR_CACHE_ALIGNED;

#define CLASS_INIT                                                                                 \
    { .lock = LR_LOCK_INIT(LR_RANK_CENTRAL) }
static struct class_slabs classes[LR_SLAB_CLASSES] = {[0 ... LR_SLAB_CLASSES - 1] = CLASS_INIT};

struct lr_lock *lr_slab_lock(unsigned size_class) {
    return &classes[size_class].lock;
}

unsigned lr_slab_class(size_t size, size_t align) {
    if (size == 0 && align <= LR_MIN_ALIGN) {
        return EMPTY_CLASS;
    }
    if (size > LR_SLAB_MAX - LR_CANARY_BYTES || align > LR_PAGE_BYTES) {
        return 0;
    }
    unsigned size_class = lr_class_of_aligned(size + LR_CANARY_BYTES, align);
    return lr_classes[size_class].bytes <= LR_SLAB_MAX ? size_class : 0;
}

// ---- The parts of a slab ----

static size_t slot_bytes(unsigned size_class) {
    return size_class == EMPTY_CLASS ? EMPTY_SLOT_BYTES : lr_classes[size_class].bytes;
}

// A guard, and what a slab consists of: an OS page may be larger than ours.
static size_t unit_pages(void) { return lr_max(lr_os_page_bytes() >> LR_PAGE_SHIFT, 1); }

static size_t slab_pages(unsigned size_class) {
    size_t pages = SLAB_PAGES_MIN;
    while (pages * LR_PAGE_BYTES / slot_bytes(size_class) < SLOTS_MIN) {
        pages = 2 * pages + 1; // with the guard page a power of two, which packs huge pages
    }
    return lr_align_up(pages, unit_pages());
}

static uint32_t slot_count(unsigned size_class) {
    return (uint32_t)(slab_pages(size_class) * LR_PAGE_BYTES / slot_bytes(size_class));
}

static size_t words_of(uint32_t slots) { return (slots + 63) / 64; }

static struct slab *slab_of(struct span *span) { return (struct slab *)(void *)span->bits; }

static struct span *span_of(struct slab *slab) {
    return (struct span *)(void *)((char *)slab - offsetof(struct span, bits));
}

static uint64_t *bits_of(struct slab *slab) { return (uint64_t *)(void *)(slab + 1); }

static uint16_t *records_of(struct slab *slab) {
    return (uint16_t *)(void *)(bits_of(slab) + words_of(slab->slots));
}

static enum slot_state state_of(uint16_t record) { return record >> SLACK_BITS; }

static size_t length_of(unsigned size_class, uint16_t record) {
    size_t slack = record & ((1U << SLACK_BITS) - 1);
    return size_class == EMPTY_CLASS ? 0 : slot_bytes(size_class) - slack;
}

static uint16_t live_record(unsigned size_class, size_t size) {
    size_t slack = size_class == EMPTY_CLASS ? 0 : slot_bytes(size_class) - size;
    return (uint16_t)(LIVE << SLACK_BITS | slack);
}

static char *slot_start(unsigned size_class, struct slab *slab, size_t slot) {
    return lr_span_start(span_of(slab)) + slot * slot_bytes(size_class);
}

static void push(struct slab **list, struct slab *slab) {
    slab->prev = NULL;
    slab->next = *list;
    if (slab->next != NULL) {
        slab->next->prev = slab;
    }
    *list = slab;
}

static void take_off(struct slab **list, struct slab *slab) {
    if (slab->next != NULL) {
        slab->next->prev = slab->prev;
    }
    *(slab->prev != NULL ? &slab->prev->next : list) = slab->next;
}

// ---- A slab comes and goes ----

static void make_zero(const struct span *span, size_t bytes) {
    char *start = lr_span_start(span);
    if (!span->zeroed && !lr_os_purge(start, bytes)) {
        memset(start, 0, bytes); // locked memory
    }
}

static void set_map(const struct span *span, size_t pages, uint32_t id) {
    for (size_t i = 0; i < pages; i++) {
        lr_store_relaxed(&lr_window.span_map[span->first_page + i], id);
    }
}

// A slab that no list knows yet; no lock is held. A guard that the kernel refuses is done without.
static struct slab *make_slab(unsigned size_class) {
    size_t pages = slab_pages(size_class);
    size_t bytes = pages * LR_PAGE_BYTES;
    uint32_t slots = slot_count(size_class);
    size_t records = sizeof(struct slab) + words_of(slots) * 8 + slots * sizeof(uint16_t);
    size_t guard = unit_pages();
    struct span *span = lr_span_alloc_private(pages + guard, guard, (uint8_t)size_class, records);
    if (span == NULL) {
        return NULL;
    }
    if (size_class == EMPTY_CLASS) {
        lr_os_guard(lr_span_start(span), lr_span_bytes(span));
    } else {
        make_zero(span, bytes);
        lr_os_guard(lr_span_start(span) + bytes, guard << LR_PAGE_SHIFT);
    }
    struct slab *slab = slab_of(span);
    slab->slots = slots;
    slab->free = slots;
    for (uint32_t i = 0; i < slots; i++) {
        bits_of(slab)[i / 64] |= (uint64_t)1 << (i % 64);
    }
    set_map(span, pages, lr_span_id(span));
    return slab;
}

// Takes a slab that is on no list out of the map, under the lock: find_slot_locked() trusts a
// descriptor that it finds.
static struct span *let_go(unsigned size_class, struct slab *slab) {
    classes[size_class].slabs--;
    set_map(span_of(slab), slab_pages(size_class), 0);
    return span_of(slab);
}

// The slab is entirely free and on no list: it becomes the spare one, or is let go and returned.
static struct span *retire(unsigned size_class, struct slab *slab) {
    struct class_slabs *of = &classes[size_class];
    if (of->spare == NULL) {
        of->spare = slab;
        return NULL;
    }
    return let_go(size_class, slab);
}

// The first fault among the free slots of a slab, all of which should be zero.
static bool check_zeroes(unsigned size_class, struct slab *slab, size_t slot,
                         struct lr_verdict *verdict) {
    char *start = slot_start(size_class, slab, slot);
    size_t at =
        size_class == EMPTY_CLASS ? SIZE_MAX : lr_first_nonzero(start, slot_bytes(size_class));
    if (LR_UNLIKELY(at < slot_bytes(size_class))) {
        *verdict = (struct lr_verdict){
            .fault = LR_FAULT_WRITTEN, .block = start, .bytes = slot_bytes(size_class), .at = at};
        return false;
    }
    return true;
}

static void dispose(unsigned size_class, struct span *span, struct lr_verdict *verdict) {
    if (span == NULL) {
        return;
    }
    struct slab *slab = slab_of(span);
    for (uint32_t i = 0; i < slab->slots; i++) {
        if (!check_zeroes(size_class, slab, i, verdict)) {
            break;
        }
    }
    lr_pages_quarantine(span);
}

// ---- Slots ----

// The first free slot at or behind `from`, or else the first of all; there is one.
static size_t free_slot_from(struct slab *slab, size_t from) {
    const uint64_t *bits = bits_of(slab);
    size_t words = words_of(slab->slots);
    size_t w = from / 64;
    uint64_t word = bits[w] & (~(uint64_t)0 << (from % 64));
    while (word == 0) {
        w = w + 1 == words ? 0 : w + 1;
        word = bits[w];
    }
    return w * 64 + (size_t)__builtin_ctzl(word);
}

static void *take_slot(unsigned size_class, struct slab *slab, size_t size,
                       struct lr_verdict *verdict) {
    struct class_slabs *of = &classes[size_class];
    size_t slot = free_slot_from(slab, lr_random_below(&of->random, slab->slots));
    char *block = slot_start(size_class, slab, slot);
    bits_of(slab)[slot / 64] &= ~((uint64_t)1 << (slot % 64));
    records_of(slab)[slot] = live_record(size_class, size);
    of->live++;
    of->live_bytes += size;
    if (--slab->free == 0) {
        take_off(&of->partial, slab);
        push(&of->full, slab);
    }
    if (!check_zeroes(size_class, slab, slot, verdict)) {
        memset(block, 0, slot_bytes(size_class));
    }
    if (size_class != EMPTY_CLASS) {
        lr_mark_end(block, size, slot_bytes(size_class));
    }
    return block;
}

static bool has_free_slot(struct class_slabs *of) {
    if (of->partial == NULL && of->spare != NULL) {
        push(&of->partial, of->spare);
        of->spare = NULL;
    }
    return of->partial != NULL;
}

void *lr_slab_alloc(unsigned size_class, size_t size, struct lr_verdict *verdict) {
    struct class_slabs *of = &classes[size_class];
    lr_lock(&of->lock);
    if (!has_free_slot(of)) {
        lr_unlock(&of->lock);
        struct slab *slab = make_slab(size_class);
        lr_lock(&of->lock);
        if (slab != NULL) {
            push(&of->partial, slab);
            of->slabs++;
        }
    }
    // Where there was no memory for a slab, lr_slab_reclaim() may have made slots of others free.
    void *block = has_free_slot(of) ? take_slot(size_class, of->partial, size, verdict) : NULL;
    lr_unlock(&of->lock);
    return block;
}

// The slot that the block begins, with the lock of the span's class held, which the caller drops.
// False if it is not live. The span may be gone by now, and its descriptor another's: only what the
// map says under the lock counts.
static bool find_slot_locked(struct span *span, unsigned size_class, const void *block,
                             size_t *slot, struct lr_verdict *verdict) {
    *verdict = (struct lr_verdict){.fault = LR_FAULT_NOT_A_BLOCK, .block = block};
    if (lr_span_of_page(lr_page_of(block)) != span || span->size_class != size_class) {
        return false;
    }
    struct slab *slab = slab_of(span);
    size_t bytes = slot_bytes(size_class);
    size_t offset = (size_t)((const char *)block - lr_span_start(span));
    *slot = offset / bytes;
    verdict->bytes = bytes;
    if (*slot >= slab->slots || *slot * bytes != offset) {
        return false;
    }
    uint16_t record = records_of(slab)[*slot];
    if (state_of(record) != LIVE) {
        verdict->fault = LR_FAULT_FREED;
        return false;
    }
    verdict->fault = LR_FAULT_NONE;
    verdict->bytes = length_of(size_class, record);
    return true;
}

// Class of a span that some map led to, racily; 0 if it is none of a slab.
static unsigned class_of_span(const struct span *span) {
    unsigned size_class = span->size_class;
    return size_class < LR_SLAB_CLASSES ? size_class : 0;
}

static bool check_end(unsigned size_class, const char *block, struct lr_verdict *verdict) {
    if (size_class == EMPTY_CLASS) {
        return true;
    }
    size_t room = slot_bytes(size_class);
    verdict->at = lr_first_changed(block, verdict->bytes, room);
    if (LR_UNLIKELY(verdict->at < room)) {
        verdict->fault = LR_FAULT_OVERFLOW;
        return false;
    }
    return true;
}

// Slots that each of the two stages holds.
static uint32_t held_each(unsigned size_class) {
    return (uint32_t)lr_min(lr_max(HELD_BYTES / slot_bytes(size_class), HELD_MIN), HELD_MAX);
}

static bool make_quarantine(struct quarantine *q, size_t each) {
    if (q->random == NULL) {
        void **both = lr_meta_alloc(2 * each * sizeof *both);
        if (both == NULL) {
            return false;
        }
        memset(both, 0, 2 * each * sizeof *both);
        q->random = both;
        q->queue = both + each;
    }
    return true;
}

// Takes a block in and returns the one that has been there for long enough, if there is one. It
// may be the same one, where there is no memory for a quarantine.
static void *pass_quarantine(unsigned size_class, void *block) {
    struct class_slabs *of = &classes[size_class];
    struct quarantine *q = &of->quarantine;
    uint32_t each = held_each(size_class);
    if (!make_quarantine(q, each)) {
        return block;
    }
    unsigned place = lr_random_below(&of->random, each);
    void *moved = q->random[place];
    q->random[place] = block;
    void *leaves = NULL;
    if (moved != NULL) {
        leaves = q->queue[q->head];
        q->queue[q->head] = moved;
        q->head = (q->head + 1) % each;
    }
    q->held += leaves == NULL;
    return leaves;
}

// Makes a slot free; the span, if it has to be disposed of.
static struct span *give_slot(unsigned size_class, void *block) {
    struct class_slabs *of = &classes[size_class];
    struct slab *slab = slab_of(lr_span_of_page(lr_page_of(block)));
    size_t offset = (size_t)((char *)block - slot_start(size_class, slab, 0));
    size_t slot = offset / slot_bytes(size_class);
    records_of(slab)[slot] = FREE << SLACK_BITS;
    bits_of(slab)[slot / 64] |= (uint64_t)1 << (slot % 64);
    if (++slab->free == 1) {
        take_off(&of->full, slab);
        push(&of->partial, slab);
    }
    if (slab->free < slab->slots) {
        return NULL;
    }
    take_off(&of->partial, slab);
    return retire(size_class, slab);
}

void lr_slab_free(struct span *span, void *block, struct lr_verdict *verdict) {
    unsigned size_class = class_of_span(span);
    struct class_slabs *of = &classes[size_class];
    struct span *doomed = NULL;
    size_t slot;
    lr_lock(&of->lock);
    if (find_slot_locked(span, size_class, block, &slot, verdict)) {
        check_end(size_class, block, verdict);
        if (size_class != EMPTY_CLASS) {
            memset(block, 0, slot_bytes(size_class));
        }
        records_of(slab_of(span))[slot] = QUARANTINED << SLACK_BITS;
        of->live--;
        of->live_bytes -= verdict->bytes;
        void *leaves = pass_quarantine(size_class, block);
        if (leaves != NULL) {
            doomed = give_slot(size_class, leaves);
        }
    }
    lr_unlock(&of->lock);
    dispose(size_class, doomed, verdict);
}

static void chain(struct span **all, struct span *doomed) {
    if (doomed != NULL) {
        doomed->next = *all;
        *all = doomed;
    }
}

void lr_slab_reclaim(unsigned size_class, struct lr_verdict *verdict) {
    struct class_slabs *of = &classes[size_class];
    struct quarantine *q = &of->quarantine;
    struct span *all = NULL;
    lr_lock(&of->lock);
    for (uint32_t i = 0; q->held > 0; i++) { // the stages lie one behind the other
        if (q->random[i] != NULL) {
            chain(&all, give_slot(size_class, q->random[i]));
            q->random[i] = NULL;
            q->held--;
        }
    }
    if (of->spare != NULL) {
        chain(&all, let_go(size_class, of->spare));
        of->spare = NULL;
    }
    lr_unlock(&of->lock);
    while (all != NULL) {
        struct span *doomed = all;
        all = doomed->next;
        dispose(size_class, doomed, verdict);
    }
}

size_t lr_slab_bytes(struct span *span, const void *block, struct lr_verdict *verdict) {
    unsigned size_class = class_of_span(span);
    struct class_slabs *of = &classes[size_class];
    size_t slot;
    lr_lock(&of->lock);
    bool live = find_slot_locked(span, size_class, block, &slot, verdict);
    lr_unlock(&of->lock);
    return live ? verdict->bytes : 0;
}

const char *lr_slab_slot(struct span *span, const void *inside) {
    size_t bytes = slot_bytes(class_of_span(span));
    size_t offset = (size_t)((const char *)inside - lr_span_start(span));
    // A descriptor that is another's by now has a class of its own, or none.
    return (const char *)inside - (bytes != 0 ? offset % bytes : 0);
}

bool lr_slab_resize(struct span *span, void *block, size_t size, struct lr_verdict *verdict) {
    unsigned size_class = class_of_span(span);
    struct class_slabs *of = &classes[size_class];
    size_t slot;
    if (lr_slab_class(size, 1) != size_class || size == 0) {
        return false;
    }
    lr_lock(&of->lock);
    bool live = find_slot_locked(span, size_class, block, &slot, verdict);
    if (live) {
        check_end(size_class, block, verdict);
        char *start = block;
        size_t kept = lr_min(size, verdict->bytes);
        memset(start + kept, 0, slot_bytes(size_class) - kept);
        lr_mark_end(start, size, slot_bytes(size_class));
        records_of(slab_of(span))[slot] = live_record(size_class, size);
        of->live_bytes += size - verdict->bytes;
    }
    lr_unlock(&of->lock);
    return live;
}

// ---- A look at everything ----

static bool check_slab(unsigned size_class, struct slab *slab, struct lr_verdict *verdict) {
    for (uint32_t i = 0; i < slab->slots; i++) {
        uint16_t record = records_of(slab)[i];
        if (state_of(record) != LIVE) {
            if (!check_zeroes(size_class, slab, i, verdict)) {
                return false;
            }
            continue;
        }
        *verdict = (struct lr_verdict){.block = slot_start(size_class, slab, i),
                                       .bytes = length_of(size_class, record)};
        if (!check_end(size_class, verdict->block, verdict)) {
            return false;
        }
    }
    return true;
}

bool lr_slab_check(unsigned size_class, struct lr_verdict *verdict) {
    struct class_slabs *of = &classes[size_class];
    bool good = true;
    lr_lock(&of->lock);
    for (struct slab *slab = of->partial; slab != NULL && good; slab = slab->next) {
        good = check_slab(size_class, slab, verdict);
    }
    for (struct slab *slab = of->full; slab != NULL && good; slab = slab->next) {
        good = check_slab(size_class, slab, verdict);
    }
    if (of->spare != NULL && good) {
        good = check_slab(size_class, of->spare, verdict);
    }
    lr_unlock(&of->lock);
    return good;
}

struct lr_slab_counts lr_slab_counts(unsigned size_class) {
    struct class_slabs *of = &classes[size_class];
    lr_lock(&of->lock);
    struct lr_slab_counts counts = {.slot_bytes =
                                        size_class == EMPTY_CLASS ? 0 : slot_bytes(size_class),
                                    .slots = slot_count(size_class),
                                    .slab_bytes = slab_pages(size_class) * LR_PAGE_BYTES,
                                    .slabs = of->slabs,
                                    .live = of->live,
                                    .live_bytes = of->live_bytes,
                                    .quarantined = of->quarantine.held};
    lr_unlock(&of->lock);
    return counts;
}
