// SPDX-License-Identifier: Apache-2.0
//   | no access | place 0 | no access | place 1 | no access | ...
//
// A block lies at the end of its place, so that an overrun faults at its first byte, or, one in
// four, at the beginning. The rest of its first or last page is filled and looked at when it is
// freed. What is known of a place is written by who takes or gives it, and read by whoever faults.
#include "prof/guard.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/config.h"
#include "base/print.h"
#include "conf/options.h"
#include "heap/meta.h"
#include "os/os.h"
#include "prof/frames.h"
#include "prof/pace.h"
#include "prof/sample.h"
#include "prof/unwind.h"

enum {
    PLACES = 256, // at most
    PLACES_MIN = 8,
    LIMIT_SHARE = 16, // of what RLIMIT_AS and RLIMIT_DATA allow places take such a part
    FRAMES = 16,
    FILLER = 0xa5,
    REPORT_BYTES = 1024,
    STDERR = 2,
};

// A sample costs ten microseconds, most of it system calls and a page fault. Who allocates more
// than this in a second gets no more of them: at one in 8 MiB they take an eighth of a percent of
// a processor.
#define BYTES_A_SECOND LR_GIB
#define S_NS UINT64_C(1000000000)

#define NO_ACCESS (64 * LR_KIB) // the largest OS page
#define ROOM (64 * LR_KIB)
#define STRIDE (ROOM + NO_ACCESS)

static_assert(LR_GUARD_BYTES_MAX <= ROOM, "a block fits its place");

struct stack {
    uint32_t thread;
    uint32_t depth;
    size_t pcs[FRAMES];
};

enum place_state { NEVER, LIVE, FREED };

struct place {
    atomic_u32 state;  // enum place_state
    atomic_u32 opened; // a report made pages around the block accessible
    uint32_t next;     // guarded by: lr_guard_lock; of the queue of places to take, 0: none
    char *block;
    size_t size;  // asked for
    size_t bytes; // usable
    struct stack allocated;
    struct stack freed;
};

static struct {
    _Atomic(char *) base; // NULL: no pool yet; set once, under lr_guard_lock
    struct place *places; // written before base, immutable after
    uint32_t count;       // the same; how many there are
    uint32_t first;       // guarded by: lr_guard_lock; the place that was freed longest ago + 1
    uint32_t last;        // guarded by: lr_guard_lock
    uint32_t fresh;       // guarded by: lr_guard_lock; places that were taken once
    bool refused;         // guarded by: lr_guard_lock; there was no memory for a pool
    atomic_u32 reporting; // the thread that prints, of several that fault
    atomic_u64 taken_ns;  // relaxed: when the last place was taken, for too_soon()
} guard;

struct lr_lock lr_guard_lock = LR_LOCK_INIT(LR_RANK_GUARD);

// Acquire pairs with make_pool_locked(): who sees the pool sees its places.
static char *base(void) { return lr_load_acquire(&guard.base); }

static char *start_of(uint32_t index) { return base() + NO_ACCESS + (size_t)index * STRIDE; }

static struct place *place_of(uint32_t index) { return &guard.places[index]; }

// ---- Places come and go ----

static size_t pool_bytes(void) { return guard.count * STRIDE + NO_ACCESS; }

static uint32_t choose_count(void) {
    size_t limit = lr_min(lr_os_address_limit(), lr_os_data_limit());
    return (uint32_t)lr_min(lr_max(limit / LIMIT_SHARE / STRIDE, PLACES_MIN), PLACES);
}

static bool make_pool_locked(void) {
    if (base() != NULL || guard.refused) {
        return base() != NULL;
    }
    guard.count = choose_count();
    size_t records_bytes = guard.count * sizeof(struct place);
    struct place *places = lr_meta_alloc(records_bytes);
    char *pool = places != NULL ? lr_os_map(pool_bytes(), NO_ACCESS) : NULL;
    if (pool == NULL || !lr_os_guard(pool, pool_bytes())) {
        guard.refused = true;
        if (pool != NULL) {
            lr_os_unmap(pool, pool_bytes());
        }
        if (places != NULL) {
            lr_meta_free(places, records_bytes);
        }
        return false;
    }
    memset(places, 0, records_bytes);
    lr_os_name_range(pool, pool_bytes(), "larder guards");
    guard.places = places;
    lr_store_release(&guard.base, pool); // pairs with base()
    return true;
}

// A place that is free; PLACES if there is none. New ones first, then the one freed longest ago.
static uint32_t pop(void) {
    uint32_t index = PLACES;
    lr_lock(&lr_guard_lock);
    if (make_pool_locked()) {
        if (guard.fresh < guard.count) {
            index = guard.fresh++;
        } else if (guard.first != 0) {
            index = guard.first - 1;
            guard.first = place_of(index)->next;
        }
    }
    lr_unlock(&lr_guard_lock);
    return index;
}

static void push(uint32_t index) {
    lr_lock(&lr_guard_lock);
    place_of(index)->next = 0;
    if (guard.first == 0) {
        guard.first = index + 1;
    } else {
        place_of(guard.last)->next = index + 1;
    }
    guard.last = index;
    lr_unlock(&lr_guard_lock);
}

// The first frames of `pcs` that are not Larder's own.
static void note_frames(struct stack *stack, const size_t *pcs, unsigned depth) {
    unsigned own = lr_frames_own(pcs, depth);
    stack->thread = lr_os_thread_id();
    stack->depth = (uint32_t)lr_min(depth - own, FRAMES);
    memcpy(stack->pcs, pcs + own, stack->depth * sizeof *pcs);
}

static void note_stack(struct stack *stack) {
    size_t pcs[2 * FRAMES];
    note_frames(stack, pcs, lr_unwind(pcs, 2 * FRAMES));
}

// The accessible pages around a block.
static char *pages_start(const struct place *p) {
    return (char *)lr_align_down((size_t)p->block, lr_os_page_bytes());
}

static size_t pages_bytes(const struct place *p) {
    char *end = (char *)lr_align_up((size_t)(p->block + p->bytes), lr_os_page_bytes());
    return (size_t)(end - pages_start(p));
}

// Of two threads at a time both may get a place.
static bool too_soon(void) {
    double distance_ns = (double)lr_pace_mean() / (double)BYTES_A_SECOND * (double)S_NS;
    uint64_t now = lr_os_now_ns();
    if ((double)(now - lr_load_relaxed(&guard.taken_ns)) < distance_ns) {
        return true;
    }
    lr_store_relaxed(&guard.taken_ns, now);
    return false;
}

static bool on_fault(void *address, const struct lr_os_registers *at);

static void *take(size_t size, size_t bytes) {
    uint32_t index = bytes <= LR_GUARD_BYTES_MAX && !too_soon() ? pop() : PLACES;
    if (index == PLACES) {
        return NULL;
    }
    struct place *p = place_of(index);
    p->block = start_of(index) + (index % 4 == 3 ? 0 : ROOM - bytes);
    p->size = size;
    p->bytes = bytes;
    note_stack(&p->allocated);
    p->freed.depth = 0;
    if (!lr_os_unguard(pages_start(p), pages_bytes(p))) {
        push(index);
        return NULL;
    }
    memset(pages_start(p), FILLER, (size_t)(p->block - pages_start(p)));
    char *end = p->block + bytes;
    memset(end, FILLER, (size_t)(pages_start(p) + pages_bytes(p) - end));
    lr_store_release(&p->state, LIVE); // pairs with on_fault()
    // Again and again, because the program may have installed a handler of its own meanwhile.
    lr_lock(&lr_guard_lock);
    lr_os_watch_faults(on_fault);
    lr_unlock(&lr_guard_lock);
    lr_pace_note_guarded();
    return p->block;
}

// ---- Reports ----

static uint32_t index_of(const void *address) {
    const char *pool = base();
    size_t offset = (size_t)address - (size_t)pool;
    return pool != NULL && offset < pool_bytes()
               ? (uint32_t)lr_min(offset < NO_ACCESS / 2 ? 0 : (offset - NO_ACCESS / 2) / STRIDE,
                                  guard.count - 1)
               : PLACES;
}

static void print_stack(struct lr_print *out, const char *what, const struct stack *stack) {
    lr_print_f(out, "  %s by thread %u at\n", what, stack->thread);
    lr_frames_print(out, stack->pcs, stack->depth);
}

// `accessed`: its stack; NULL: there was none.
static void report(const struct place *p, const char *what, const void *address,
                   const struct stack *accessed) {
    if (lr_opt_on_error() == LR_ON_ERROR_IGNORE) {
        return;
    }
    char text[REPORT_BYTES];
    struct lr_print out;
    lr_print_init(&out, text, sizeof text, STDERR);
    long at = (long)((const char *)address - p->block);
    lr_print_f(&out, "larder: %s %p, byte %ld of a guarded block of %zu bytes at %p, thread %u\n",
               what, address, at, p->size, (void *)p->block, lr_os_thread_id());
    if (accessed != NULL) {
        print_stack(&out, "accessed", accessed);
    }
    print_stack(&out, "allocated", &p->allocated);
    if (p->freed.depth != 0) {
        print_stack(&out, "freed", &p->freed);
    }
    lr_print_flush(&out);
    if (lr_opt_on_error() == LR_ON_ERROR_ABORT) {
        abort();
    }
}

// Read with the place possibly on its way to somebody else, of which nothing worse than a wrong
// word comes: what is read is printed, and leads nowhere.
static const char *what_faulted(const struct place *p, uint32_t state, const void *address) {
    if (state == FREED) {
        return "use after free of";
    }
    if ((const char *)address < p->block) {
        return "underflow to";
    }
    // The block itself cannot be accessed: another thread took the place just now, or the program
    // has changed the protection of its own memory.
    return (const char *)address < p->block + p->bytes ? "fault at" : "overflow to";
}

// A fault in the pool is misuse in any case. With LARDER_ON_ERROR other than abort the page becomes
// accessible, and the program goes on.
static bool on_fault(void *address, const struct lr_os_registers *at) {
    uint32_t index = index_of(address);
    if (index == PLACES) {
        return false;
    }
    uint32_t nobody = 0;
    uint32_t self = lr_os_thread_id();
    while (!lr_cas_acquire(&guard.reporting, &nobody, self)) {
        if (nobody == self) {
            return false; // a fault of the report itself
        }
        lr_os_futex_wait(&guard.reporting, nobody, 1000000);
        nobody = 0;
    }
    struct place *p = place_of(index);
    // Acquire pairs with take() and give(): the stacks are those of the state.
    uint32_t state = lr_load_acquire(&p->state);
    if (state != NEVER) {
        size_t pcs[FRAMES];
        struct stack accessed;
        note_frames(&accessed, pcs, lr_unwind_from(at, pcs, FRAMES));
        report(p, what_faulted(p, state, address), address, &accessed);
    }
    lr_store_relaxed(&p->opened, 1);
    size_t page = lr_os_page_bytes();
    bool opened = lr_os_unguard((void *)lr_align_down((size_t)address, page), page);
    lr_store_release(&guard.reporting, 0);
    return opened;
}

// Where the filler between two addresses was changed; NULL: nowhere.
static const char *changed(const char *from, const char *to) {
    // All bytes are the filler if the first one is and each is like the one before it.
    if (from == to ||
        ((unsigned char)*from == FILLER && memcmp(from, from + 1, (size_t)(to - from) - 1) == 0)) {
        return NULL;
    }
    while ((unsigned char)*from == FILLER) {
        from++;
    }
    return from;
}

static void give(void *block, size_t size, size_t bytes) {
    (void)size;
    uint32_t index = index_of(block);
    struct place *p = place_of(index);
    note_stack(&p->freed);
    const char *end = (char *)block + bytes;
    const char *under = changed(pages_start(p), block);
    const char *over = changed(end, pages_start(p) + pages_bytes(p));
    lr_store_release(&p->state, FREED); // pairs with on_fault()
    if (under != NULL || over != NULL) {
        report(p,
               over != NULL ? "overflow, seen at the free, to" : "underflow, seen at the free, to",
               over != NULL ? over : under, NULL);
    }
    // Memory goes with it; what a report made accessible, in and around the place, is closed again.
    char *from = lr_load_relaxed(&p->opened) != 0 ? start_of(index) - NO_ACCESS : pages_start(p);
    size_t length =
        lr_load_relaxed(&p->opened) != 0 ? NO_ACCESS + ROOM + NO_ACCESS : pages_bytes(p);
    lr_store_relaxed(&p->opened, 0);
    if (!lr_os_guard(from, length)) {
        memset(pages_start(p), 0, pages_bytes(p));
    }
    push(index);
}

bool lr_guard_report_free(const void *pointer) {
    uint32_t index = index_of(pointer);
    if (index == PLACES || lr_load_acquire(&place_of(index)->state) == NEVER) {
        return false;
    }
    struct place *p = place_of(index);
    struct stack here;
    note_stack(&here);
    report(p, pointer == p->block ? "double free of" : "invalid free of", pointer, &here);
    return true;
}

bool lr_guard_bytes_from(const void *pointer, size_t *bytes) {
    uint32_t index = index_of(pointer);
    *bytes = 0;
    if (index == PLACES) {
        return false;
    }
    struct place *p = place_of(index);
    if (lr_load_acquire(&p->state) == LIVE) { // pairs with take()
        size_t offset = (size_t)pointer - (size_t)p->block;
        *bytes = offset < p->bytes ? p->bytes - offset : 0;
    }
    return true;
}

void lr_guard_after_fork_child(void) {
    lr_store_relaxed(&guard.reporting, 0); // who was about to report is not here
}

void lr_guard_init(void) {
    static const struct lr_sample_place places = {.take = take, .give = give};
    lr_sample_set_place(&places);
}
