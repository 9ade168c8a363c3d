// SPDX-License-Identifier: Apache-2.0
//
// States of the machine in idle_machine.h, the table of all that were reached, and store buffers.
#ifndef LARDER_TESTS_IDLE_STATE_H
#define LARDER_TESTS_IDLE_STATE_H

#include "idle_machine.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../support/support.h"

enum { BUFFER = 4 };

enum life { UNBORN, ALIVE, GONE, DROPPED };
enum registry { LISTED, UNLINKED, RECYCLED };

// All bytes, so that states compare by memcmp().
struct machine {
    uint8_t memory[LOCATIONS];
    uint8_t at[ACTORS];             // enum step
    uint8_t buffer[ACTORS][BUFFER]; // stores on their way, oldest first; 0 ends it
    uint8_t life[2];                // enum life
    uint8_t asleep;                 // a bit for each actor
    uint8_t touching;               // the same: the bins
    uint8_t lock;                   // of the registry: 0, or 1 + its holder
    uint8_t remembered;             // the thread that the scavenger looks at
    uint8_t registry;               // enum registry
    uint8_t spare[3];
};
_Static_assert(sizeof(struct machine) == 32, "without padding");

enum violation { NOTHING, BOTH_TOUCH, DEAD_SLOT, FREED_IN_USE, LEFT_TAKEN, SLEEPS_FOR_EVER };
static const char *const violation_texts[] = {
    "nothing",
    "two touch the bins at once",
    "the slot of a thread that has ended is touched",
    "a record is freed in use",
    "a record is left taken",
    "a thread sleeps for ever",
};

// How a state was reached.
struct link {
    uint32_t from;
    uint8_t actor;
    uint8_t what; // a step, or STEPS + location: that store became visible
};

struct search {
    unsigned rules;
    struct machine *states;
    struct link *links;
    uint32_t count, room;
    uint32_t *table; // of state numbers + 1; 0 is an empty place
    uint32_t table_size;
    uint32_t current; // whose successors are being made
    enum violation found;
};

static uint32_t hash_of(const struct machine *m) {
    uint64_t words[4], h = 0;
    memcpy(words, m, sizeof words);
    for (unsigned i = 0; i < 4; i++) {
        h = (h ^ words[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return (uint32_t)(h >> 16);
}

static uint32_t *place_of(const struct search *s, const struct machine *m) {
    uint32_t i = hash_of(m) & (s->table_size - 1);
    while (s->table[i] != 0 && memcmp(&s->states[s->table[i] - 1], m, sizeof *m) != 0)
        i = (i + 1) & (s->table_size - 1);
    return &s->table[i];
}

static void grow(struct search *s) {
    s->room = s->room == 0 ? 1 << 16 : 2 * s->room;
    s->table_size = 2 * s->room;
    s->states = realloc(s->states, s->room * sizeof *s->states);
    s->links = realloc(s->links, s->room * sizeof *s->links);
    free(s->table);
    s->table = calloc(s->table_size, sizeof *s->table);
    EXPECT(s->states != NULL && s->links != NULL && s->table != NULL);
    for (uint32_t i = 0; i < s->count; i++)
        *place_of(s, &s->states[i]) = i + 1;
}

static bool sleeps_on_futex(const struct machine *m, unsigned t) {
    return (m->asleep & 1u << t) != 0 && program[m->at[t]].operation == FUTEX_WAIT;
}

// What is wrong with the state by itself.
static enum violation check(const struct machine *m) {
    const unsigned at = m->at[SCAVENGER];
    if ((at != S_LOOK && at != S_STOP) || m->buffer[SCAVENGER][0] != 0)
        return NOTHING;
    if (m->memory[STATE] == R_TAKEN)
        return LEFT_TAKEN;
    return sleeps_on_futex(m, FIRST) || sleeps_on_futex(m, SECOND) ? SLEEPS_FOR_EVER : NOTHING;
}

static void add(struct search *s, const struct machine *m, unsigned actor, unsigned what) {
    if (s->count == s->room)
        grow(s);
    uint32_t *const place = place_of(s, m);
    if (*place != 0 || s->found != NOTHING)
        return;
    s->states[s->count] = *m;
    s->links[s->count] = (struct link){s->current, (uint8_t)actor, (uint8_t)what};
    s->found = check(m);
    *place = ++s->count;
}

// A step that breaks a promise: the state is kept as the last one.
static void report(struct search *s, const struct machine *m, unsigned actor,
                   enum violation found) {
    struct machine last = *m;
    last.spare[0] = 1; // unlike any other
    add(s, &last, actor, m->at[actor]);
    s->found = found;
}

// ---- Store buffers: an entry is 0x80 | release | value | location ----

enum { ENTRY = 0x80, ENTRY_RELEASE = 0x40, VALUE_SHIFT = 3, VALUE_MASK = 3, LOCATION_MASK = 7 };

static unsigned location_of(uint8_t entry) { return entry & LOCATION_MASK; }

static unsigned value_of(uint8_t entry) { return entry >> VALUE_SHIFT & VALUE_MASK; }

static bool drained(const struct machine *m, unsigned actor) { return m->buffer[actor][0] == 0; }

static unsigned load(const struct machine *m, unsigned actor, unsigned location) {
    unsigned value = m->memory[location];
    for (unsigned i = 0; i < BUFFER && m->buffer[actor][i] != 0; i++)
        if (location_of(m->buffer[actor][i]) == location)
            value = value_of(m->buffer[actor][i]);
    return value;
}

// False if the buffer is full.
static bool store(struct machine *m, unsigned actor, unsigned location, unsigned value,
                  bool release) {
    unsigned i = 0;
    while (i < BUFFER && m->buffer[actor][i] != 0)
        i++;
    const uint8_t entry =
        (uint8_t)(ENTRY | (release ? ENTRY_RELEASE : 0) | value << VALUE_SHIFT | location);
    if (i > 0 && m->buffer[actor][i - 1] == entry)
        return true;
    if (i == BUFFER)
        return false;
    m->buffer[actor][i] = entry;
    return true;
}

static bool may_become_visible(const struct search *s, const uint8_t *buffer, unsigned i) {
    if (i == 0)
        return true;
    if ((s->rules & WEAK) == 0 || (buffer[i] & ENTRY_RELEASE) != 0)
        return false;
    for (unsigned before = 0; before < i; before++)
        if (location_of(buffer[before]) == location_of(buffer[i]))
            return false;
    return true;
}

static void make_stores_visible(struct search *s, const struct machine *m, unsigned actor) {
    for (unsigned i = 0; i < BUFFER && m->buffer[actor][i] != 0; i++) {
        if (!may_become_visible(s, m->buffer[actor], i))
            continue;
        struct machine next = *m;
        const uint8_t entry = m->buffer[actor][i];
        if (location_of(entry) != BINS)
            next.memory[location_of(entry)] = (uint8_t)value_of(entry);
        memmove(&next.buffer[actor][i], &next.buffer[actor][i + 1], BUFFER - 1 - i);
        next.buffer[actor][BUFFER - 1] = 0;
        add(s, &next, actor, STEPS + location_of(entry));
    }
}

static bool has_store_of_bins(const struct machine *m, unsigned actor) {
    for (unsigned i = 0; i < BUFFER && m->buffer[actor][i] != 0; i++)
        if (location_of(m->buffer[actor][i]) == BINS)
            return true;
    return false;
}

#endif
