// SPDX-License-Identifier: Apache-2.0
#include "tool/replay_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tool/memory_file.h"
#include "tool/tool.h"

enum { NO_SLOT = UINT32_MAX };

// An array that grows.
struct list {
    char *items;
    size_t count;
    size_t room;
};

static void *add(struct list *list, size_t item_bytes) {
    if (list->items == NULL || list->count == list->room) {
        list->room = list->room == 0 ? 64 : 2 * list->room;
        list->items = realloc(list->items, list->room * item_bytes);
        if (list->items == NULL) {
            lr_tool_error("out of memory");
            exit(TOOL_FAILED);
        }
    }
    return memset(list->items + list->count++ * item_bytes, 0, item_bytes);
}

#define ADD(list, type) ((type *)add(list, sizeof(type)))
#define AT(list, type, i) (&((type *)(void *)(list)->items)[i])

// Which slot an address stands for: open addressing; a removed entry stays as a mark.
struct entry {
    uint64_t block; // 0: never used
    uint32_t slot;  // NO_SLOT: removed
};

struct map {
    struct entry *entries;
    size_t room; // a power of two
    size_t used; // marks included
};

struct slot {
    uint64_t size;
    uint64_t freed; // order of its last free
};

struct thread {
    struct list ops;
    uint32_t resizing; // slot of the block that a realloc under way has taken; NO_SLOT: none
    uint64_t resizing_block;
    uint64_t resizing_size;
};

struct builder {
    struct thread *threads;
    uint32_t thread_count;
    struct map map;
    struct list slots;
    struct list before;
    struct list free_slots; // uint32_t; taken from the end, or, among threads, from `oldest` on
    size_t oldest;
    struct plan figures;
    uint64_t live_bytes;
};

static void *get_memory(size_t count, size_t bytes) {
    void *memory = calloc(count, bytes);
    if (memory == NULL) {
        lr_tool_error("out of memory");
        exit(TOOL_FAILED);
    }
    return memory;
}

static struct entry *find(const struct map *map, uint64_t block) {
    size_t at = (size_t)((block * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (map->room - 1);
    while (map->entries[at].block != 0 && map->entries[at].block != block) {
        at = (at + 1) & (map->room - 1);
    }
    return &map->entries[at];
}

static void make_room(struct map *map) {
    if (2 * (map->used + 1) <= map->room) {
        return;
    }
    struct map old = *map;
    size_t live = 0;
    for (size_t i = 0; i < old.room; i++) {
        live += old.entries[i].block != 0 && old.entries[i].slot != NO_SLOT;
    }
    map->room = 1024;
    while (map->room < 4 * (live + 1)) {
        map->room *= 2;
    }
    map->entries = get_memory(map->room, sizeof *map->entries);
    map->used = live;
    for (size_t i = 0; i < old.room; i++) {
        if (old.entries[i].block != 0 && old.entries[i].slot != NO_SLOT) {
            *find(map, old.entries[i].block) = old.entries[i];
        }
    }
    free(old.entries);
}

static void put(struct builder *b, uint64_t block, uint32_t slot) {
    make_room(&b->map);
    struct entry *entry = find(&b->map, block);
    b->map.used += entry->block == 0;
    *entry = (struct entry){.block = block, .slot = slot};
}

static uint32_t take_out(struct builder *b, uint64_t block) {
    make_room(&b->map);
    struct entry *entry = find(&b->map, block);
    if (entry->block == 0) {
        return NO_SLOT;
    }
    const uint32_t slot = entry->slot;
    entry->slot = NO_SLOT;
    return slot;
}

// A slot that nobody uses while the event is run: among threads one that was free for long enough.
static uint32_t new_slot(struct builder *b, uint64_t order) {
    if (b->thread_count <= 1 && b->free_slots.count > 0) {
        return *AT(&b->free_slots, uint32_t, --b->free_slots.count);
    }
    const struct slot *slots = (const void *)b->slots.items;
    if (slots != NULL && b->oldest < b->free_slots.count) {
        const uint32_t slot = *AT(&b->free_slots, uint32_t, b->oldest);
        if (slots[slot].freed + 2 * PLAN_WINDOW < order) {
            b->oldest++;
            return slot;
        }
    }
    (void)ADD(&b->slots, struct slot);
    return (uint32_t)(b->slots.count - 1);
}

static void give_slot(struct builder *b, uint32_t slot, uint64_t order) {
    struct slot *slots = (void *)b->slots.items;
    if (slots != NULL) { // always: there is this one
        slots[slot].freed = order;
    }
    *ADD(&b->free_slots, uint32_t) = slot;
}

static void begin_life(struct builder *b, uint64_t block, uint32_t slot, uint64_t size) {
    AT(&b->slots, struct slot, slot)->size = size;
    put(b, block, slot);
    b->live_bytes += size;
    b->figures.live_blocks++;
    if (b->live_bytes > b->figures.peak_bytes) {
        b->figures.peak_bytes = b->live_bytes;
    }
}

// The slot of a block that goes away now. One that is not known was there before the recording.
static uint32_t end_life(struct builder *b, uint64_t block, uint64_t size) {
    uint32_t slot = take_out(b, block);
    if (slot == NO_SLOT) {
        slot = (uint32_t)b->slots.count; // none that others had: it is in use from the begin on
        (void)ADD(&b->slots, struct slot);
        *ADD(&b->before, struct plan_before) = (struct plan_before){.size = size, .slot = slot};
        b->figures.unseen++;
        return slot;
    }
    b->live_bytes -= AT(&b->slots, struct slot, slot)->size;
    b->figures.live_blocks--;
    return slot;
}

static void add_op(struct builder *b, const struct trace_event *event, uint32_t kind, uint32_t slot,
                   uint32_t to, uint64_t size) {
    *ADD(&b->threads[event->thread].ops, struct plan_op) =
        (struct plan_op){.size = size,
                         .order = event->sequence,
                         .slot = slot,
                         .to = to,
                         .kind = kind,
                         .align_log = event->align_log};
    b->figures.op_count++;
}

static void add_free(struct builder *b, const struct trace_event *event) {
    const uint32_t slot = end_life(b, event->block, event->size);
    add_op(b, event, LARDER_TRACE_DEALLOC, slot, slot, 0);
    give_slot(b, slot, event->sequence);
}

// Before the address is handed out: if it is in use, its free was dropped.
static void free_lost(struct builder *b, const struct trace_event *event) {
    make_room(&b->map);
    const struct entry *entry = find(&b->map, event->block);
    if (entry->block != 0 && entry->slot != NO_SLOT) {
        b->figures.lost++;
        add_free(b, event);
    }
}

static void add_allocation(struct builder *b, const struct trace_event *event) {
    free_lost(b, event);
    const uint32_t slot = new_slot(b, event->sequence);
    begin_life(b, event->block, slot, event->size);
    add_op(b, event, event->kind, slot, slot, event->size);
    b->figures.allocations++;
}

static void end_resize(struct builder *b, struct thread *thread, const struct trace_event *event) {
    const uint32_t from = thread->resizing;
    if (from == NO_SLOT) {
        return; // its begin was dropped
    }
    free_lost(b, event);
    const uint32_t to = new_slot(b, event->sequence);
    add_op(b, event, LARDER_TRACE_REALLOC, from, to, thread->resizing_size);
    begin_life(b, event->block, to, thread->resizing_size);
    give_slot(b, from, event->sequence);
    thread->resizing = NO_SLOT;
    b->figures.reallocs++;
}

static void add_event(struct builder *b, const struct trace_event *event) {
    struct thread *thread = &b->threads[event->thread];
    const bool inside = thread->resizing != NO_SLOT;
    switch (event->kind) {
    case LARDER_TRACE_REALLOC:
        if (inside) { // its end was dropped
            add_op(b, event, LARDER_TRACE_DEALLOC, thread->resizing, thread->resizing, 0);
            give_slot(b, thread->resizing, event->sequence);
            b->figures.lost++;
        }
        thread->resizing = end_life(b, event->block, event->size);
        thread->resizing_block = event->block;
        thread->resizing_size = event->size;
        break;
    case LARDER_TRACE_REALLOC_END:
        end_resize(b, thread, event);
        break;
    case LARDER_TRACE_DEALLOC:
        if (!inside || event->block != thread->resizing_block) {
            b->figures.frees++;
            add_free(b, event);
        }
        break;
    default:
        if (!inside || event->size != thread->resizing_size) {
            add_allocation(b, event);
        }
        break;
    }
}

static uint64_t place(uint64_t *at, uint64_t bytes) {
    const uint64_t begin = *at;
    *at += (bytes + 63) / 64 * 64;
    return begin;
}

static struct plan *share(const struct builder *b, int *fd) {
    struct plan figures = b->figures;
    uint32_t threads = 0;
    for (uint32_t t = 0; t < b->thread_count; t++) {
        threads += b->threads[t].ops.count > 0;
    }
    uint64_t at = 0;
    (void)place(&at, sizeof figures);
    figures.thread_count = threads;
    figures.before_count = b->before.count;
    figures.slot_count = b->slots.count;
    figures.live_bytes = b->live_bytes;
    figures.threads_at = place(&at, threads * sizeof(struct plan_thread));
    figures.ops_at = place(&at, figures.op_count * sizeof(struct plan_op));
    figures.before_at = place(&at, b->before.count * sizeof(struct plan_before));
    figures.slots_at = place(&at, b->slots.count * sizeof(uint64_t));
    figures.bytes = at;
    *fd = lr_memory_file_make("larder-replay");
    struct plan *plan = MAP_FAILED;
    if (*fd >= 0 && ftruncate(*fd, (off_t)at) == 0) {
        plan = mmap(NULL, at, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    }
    if (plan == MAP_FAILED) {
        lr_tool_error("no memory to replay from: %s", strerror(errno));
        return NULL;
    }
    *plan = figures;
    uint64_t first = 0;
    struct plan_thread *thread = lr_plan_threads(plan);
    for (uint32_t t = 0; t < b->thread_count; t++) {
        const struct list *ops = &b->threads[t].ops;
        if (ops->count > 0) {
            *thread++ = (struct plan_thread){.first = first, .count = ops->count};
            memcpy(lr_plan_ops(plan) + first, ops->items, ops->count * sizeof(struct plan_op));
            first += ops->count;
        }
    }
    if (b->before.count > 0) {
        memcpy(lr_plan_before(plan), b->before.items, b->before.count * sizeof(struct plan_before));
    }
    return plan;
}

struct plan *lr_plan_make(const struct trace *trace, int *fd) {
    struct builder b = {.thread_count = trace->threads};
    b.threads = get_memory(trace->threads + 1, sizeof *b.threads);
    uint32_t active = 0;
    uint32_t last = UINT32_MAX;
    for (uint32_t t = 0; t < trace->threads; t++) {
        b.threads[t].resizing = NO_SLOT;
    }
    for (size_t i = 0; i < trace->count && active < 2; i++) {
        active += trace->events[i].thread != last;
        last = trace->events[i].thread;
    }
    b.thread_count = active < 2 ? 1 : trace->threads; // one only: slots can be used again at once
    for (size_t i = 0; i < trace->count; i++) {
        if (trace->events[i].block != 0) {
            add_event(&b, &trace->events[i]);
        }
    }
    for (uint32_t t = 0; t < trace->threads; t++) {
        if (b.threads[t].resizing != NO_SLOT) { // cut off amid a realloc
            b.figures.live_blocks++;
        }
    }
    b.thread_count = trace->threads;
    struct plan *plan = share(&b, fd);
    for (uint32_t t = 0; t < trace->threads; t++) {
        free(b.threads[t].ops.items);
    }
    free(b.threads);
    free(b.map.entries);
    free(b.slots.items);
    free(b.before.items);
    free(b.free_slots.items);
    return plan;
}

struct plan *lr_plan_load(const char *path, int *fd) {
    struct trace trace;
    FILE *in = fopen(path, "re");
    if (in == NULL) {
        lr_tool_error("cannot read '%s': %s", path, strerror(errno));
        return NULL;
    }
    const char *wrong = lr_trace_read(in, &trace);
    fclose(in);
    if (wrong == NULL && trace.count == 0) {
        wrong = "there is no call in it";
    }
    struct plan *plan = NULL;
    if (wrong != NULL) {
        lr_tool_error("cannot use '%s': %s", path, wrong);
    } else {
        if (trace.cut_off) {
            lr_tool_error("'%s' is cut off or damaged; the first %zu events of it are used", path,
                          trace.count);
        }
        plan = lr_plan_make(&trace, fd);
    }
    lr_trace_free(&trace);
    return plan;
}
