// SPDX-License-Identifier: Apache-2.0
//
// Every interleaving of the transfer cache (cache/transfer.c): two threads that take objects out
// and put them back, and the scavenger that moves the oldest to the central list, in single
// accesses to count and slots. A breadth-first search over all states; in each of them
//   - every object is in exactly one place: a thread's hands, the slots below count, central list;
//   - no access leaves the slots;
//   - somebody can go on.
// Each rule of the protocol is then left out in turn, and the search must find what that breaks.
//
// The central list is one step (its own lock), and the slots do not grow.
#include <stdio.h>
#include <string.h>

#include "../support/support.h"

enum { OBJECTS = 3, ROOM = 2, THREADS = 2, MOVER = THREADS, ACTORS = THREADS + 1 };
enum { STATES_MOST = 1 << 21, TABLE = 1 << 22, ALL = (1 << OBJECTS) - 1 };

enum rule {
    GET_LOCKS = 1 << 0,
    PUT_LOCKS = 1 << 1,
    MOVE_LOCKS = 1 << 2,
    COUNT_AGAIN = 1 << 3, // get reads count again under the lock, not only before
    FITS = 1 << 4,        // put keeps what the slots have room for
    ALL_RULES = (1 << 5) - 1,
};

enum step {
    IDLE,
    GET_LOCK,
    GET_COUNT,
    GET_READ, // once an object
    GET_DONE,
    GET_UNLOCK,
    GET_CENTRAL,
    PUT_LOCK,
    PUT_COUNT,
    PUT_WRITE, // once an object
    PUT_DONE,
    PUT_UNLOCK,
    PUT_CENTRAL,
    MOVE_LOCK,
    MOVE_COUNT,
    MOVE_READ,
    MOVE_SHIFT, // once a slot
    MOVE_DONE,
    MOVE_UNLOCK,
    MOVE_CENTRAL,
};

struct actor {
    uint8_t at;     // enum step
    uint8_t hands;  // objects that are its own
    uint8_t moving; // of these, copied but not accounted for: out of the slots, or into them
    uint8_t count;  // as it read it
    uint8_t wanted; // objects to move
    uint8_t done;   // slots shifted
};

struct machine {
    uint8_t slots[ROOM]; // numbers of objects + 1
    uint8_t count;
    uint8_t holder; // of the lock: actor + 1
    uint8_t central;
    struct actor actors[ACTORS];
};

static struct machine states[STATES_MOST];
static uint32_t table[TABLE]; // number of a state + 1
static size_t state_count;
static unsigned rules;
static const char *violation; // the first one

static void add(const struct machine *m) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < sizeof *m; i++)
        hash = (hash ^ ((const uint8_t *)m)[i]) * 1099511628211u;
    uint32_t *entry = &table[(hash ^ hash >> 32) % TABLE];
    while (*entry != 0 && memcmp(&states[*entry - 1], m, sizeof *m) != 0)
        entry = entry + 1 == table + TABLE ? table : entry + 1;
    if (*entry != 0)
        return;
    EXPECT_UINT(state_count, <, STATES_MOST);
    states[state_count++] = *m;
    *entry = (uint32_t)state_count;
}

static void note(const char *what) {
    if (violation == NULL)
        violation = what;
}

static unsigned bits(unsigned mask) { return (unsigned)__builtin_popcount(mask); }
static unsigned lowest(unsigned mask) { return mask & -mask; }
static unsigned least(unsigned a, unsigned b) { return a < b ? a : b; }

// The object in a slot, as a mask.
static unsigned read_slot(const struct machine *m, unsigned slot) {
    if (slot < ROOM && m->slots[slot] != 0)
        return 1u << (m->slots[slot] - 1);
    note("a read beyond the slots");
    return 0;
}

static void write_slot(struct machine *m, unsigned slot, unsigned object) {
    if (slot >= ROOM)
        note("a write beyond the slots");
    else
        m->slots[slot] = (uint8_t)(__builtin_ctz(object) + 1);
}

// False if the lock is not to be had now.
static bool lock(struct machine *m, unsigned who, enum rule rule) {
    if ((rules & rule) == 0)
        return true;
    if (m->holder != 0)
        return false;
    m->holder = (uint8_t)(who + 1);
    return true;
}

static void unlock(struct machine *m, enum rule rule) {
    if ((rules & rule) != 0)
        m->holder = 0;
}

static void step_get(struct machine *m, struct actor *a) {
    switch (a->at) {
    case GET_COUNT:
        a->count = (rules & COUNT_AGAIN) != 0 ? m->count : a->count;
        a->wanted = (uint8_t)least(a->wanted, a->count);
        a->at = a->wanted > 0 ? GET_READ : GET_UNLOCK;
        break;
    case GET_READ:
        a->moving |= (uint8_t)read_slot(m, a->count - 1u - a->done++);
        a->at = a->done < a->wanted ? GET_READ : GET_DONE;
        break;
    case GET_DONE:
        m->count = (uint8_t)(a->count - a->wanted);
        a->hands |= a->moving;
        a->at = GET_UNLOCK;
        break;
    case GET_UNLOCK:
        unlock(m, GET_LOCKS);
        a->at = a->wanted > 0 ? IDLE : GET_CENTRAL;
        break;
    default: // GET_CENTRAL
        a->hands |= (uint8_t)lowest(m->central);
        m->central &= (uint8_t)~lowest(m->central);
        a->at = IDLE;
    }
}

static void step_put(struct machine *m, struct actor *a) {
    switch (a->at) {
    case PUT_COUNT:
        a->count = m->count;
        a->wanted = (uint8_t)bits(a->hands);
        if ((rules & FITS) != 0)
            a->wanted = (uint8_t)least(a->wanted, ROOM - least(ROOM, a->count));
        a->at = a->wanted > 0 ? PUT_WRITE : PUT_UNLOCK;
        break;
    case PUT_WRITE: {
        const unsigned object = lowest(a->hands & ~(unsigned)a->moving);
        write_slot(m, a->count + bits(a->moving), object);
        a->moving |= (uint8_t)object;
        a->at = bits(a->moving) < a->wanted ? PUT_WRITE : PUT_DONE;
        break;
    }
    case PUT_DONE:
        m->count = (uint8_t)(a->count + a->wanted);
        a->hands &= (uint8_t)~a->moving;
        a->at = PUT_UNLOCK;
        break;
    case PUT_UNLOCK:
        unlock(m, PUT_LOCKS);
        a->at = a->hands != 0 ? PUT_CENTRAL : IDLE;
        break;
    default: // PUT_CENTRAL
        m->central |= a->hands;
        a->hands = 0;
        a->at = IDLE;
    }
}

static void step_move(struct machine *m, struct actor *a) {
    switch (a->at) {
    case MOVE_COUNT:
        a->count = m->count;
        a->at = a->count > 0 ? MOVE_READ : MOVE_UNLOCK;
        break;
    case MOVE_READ:
        a->moving = (uint8_t)read_slot(m, 0);
        a->at = a->count > 1 ? MOVE_SHIFT : MOVE_DONE;
        break;
    case MOVE_SHIFT:
        write_slot(m, a->done, read_slot(m, a->done + 1u));
        a->done++;
        a->at = a->done + 1 < a->count ? MOVE_SHIFT : MOVE_DONE;
        break;
    case MOVE_DONE:
        m->count = (uint8_t)(a->count - 1);
        a->hands = a->moving;
        a->at = MOVE_UNLOCK;
        break;
    case MOVE_UNLOCK:
        unlock(m, MOVE_LOCKS);
        a->at = a->hands != 0 ? MOVE_CENTRAL : IDLE;
        break;
    default: // MOVE_CENTRAL
        m->central |= a->hands;
        a->hands = 0;
        a->at = IDLE;
    }
}

static void check(const struct machine *m) {
    unsigned seen = m->central, twice = 0;
    if (m->actors[MOVER].at == MOVE_SHIFT || m->actors[MOVER].at == MOVE_DONE)
        return; // slots and count do not belong together then, which nobody may see
    for (unsigned i = 0; i < ACTORS; i++) {
        twice |= seen & m->actors[i].hands;
        seen |= m->actors[i].hands;
    }
    for (unsigned i = 0; i < m->count && i < ROOM; i++) {
        const unsigned object = read_slot(m, i);
        twice |= seen & object;
        seen |= object;
    }
    if (twice != 0)
        note("an object has two owners");
    if (seen != ALL)
        note("an object is lost");
}

static void go(struct machine *next, unsigned who) {
    struct actor *const a = &next->actors[who];
    if (a->at == IDLE) // what it remembers is of no use any more
        *a = (struct actor){.at = IDLE, .hands = a->hands};
    if (violation == NULL)
        check(next);
    if (violation == NULL)
        add(next);
}

// What an idle actor begins: a get of one or two objects, or a put of all it has.
static void begin(const struct machine *m, unsigned who) {
    struct machine next = *m;
    struct actor *const a = &next.actors[who];
    if (who == MOVER) {
        a->at = MOVE_LOCK;
        go(&next, who);
        return;
    }
    for (unsigned wanted = 1; wanted <= 2 && a->hands != ALL; wanted++) {
        next = *m;
        a->wanted = (uint8_t)wanted;
        a->count = m->count; // without the lock
        a->at = m->count > 0 ? GET_LOCK : GET_CENTRAL;
        go(&next, who);
    }
    next = *m;
    if (a->hands != 0) {
        a->at = PUT_LOCK;
        go(&next, who);
    }
}

// All that one actor may do next; false if it has to wait.
static bool move_on(const struct machine *m, unsigned who) {
    struct machine next = *m;
    struct actor *const a = &next.actors[who];
    const unsigned at = a->at;
    if (at == IDLE) {
        begin(m, who);
        return true;
    }
    if (at == GET_LOCK || at == PUT_LOCK || at == MOVE_LOCK) {
        const enum rule rule = at == GET_LOCK ? GET_LOCKS : at == PUT_LOCK ? PUT_LOCKS : MOVE_LOCKS;
        if (!lock(&next, who, rule))
            return false;
        a->at++;
    } else if (at < PUT_LOCK) {
        step_get(&next, a);
    } else if (at < MOVE_LOCK) {
        step_put(&next, a);
    } else {
        step_move(&next, a);
    }
    go(&next, who);
    return true;
}

// The first violation of a protocol with these rules; NULL: there is none in any order.
static const char *search(unsigned with_rules) {
    static const struct machine first = {.central = ALL};
    memset(table, 0, sizeof table);
    state_count = 0;
    violation = NULL;
    rules = with_rules;
    add(&first);
    for (size_t i = 0; i < state_count && violation == NULL; i++) {
        const struct machine m = states[i];
        bool moved = false;
        for (unsigned who = 0; who < ACTORS; who++)
            moved |= move_on(&m, who);
        if (!moved)
            note("everybody waits");
    }
    return violation;
}

START_TEST(test_transfer__every_order_keeps_all_objects) {
    const char *const found = search(ALL_RULES);
    if (found != NULL)
        test_fail(__FILE__, __LINE__, "%s", found);
    printf("%zu states\n", state_count);
    EXPECT_UINT(state_count, >, 1000);
}
END_TEST

START_TEST(test_transfer__each_rule_is_needed) {
    for (unsigned rule = 1; rule < ALL_RULES; rule <<= 1) {
        const char *const found = search(ALL_RULES & ~rule);
        if (found == NULL)
            test_fail(__FILE__, __LINE__, "nothing breaks without rule %#x", rule);
        printf("without rule %#x: %s, after %zu states\n", rule, found, state_count);
    }
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("transfer");
    test_add(suite, test_transfer__every_order_keeps_all_objects);
    test_add(suite, test_transfer__each_rule_is_needed);
    return suite;
}
