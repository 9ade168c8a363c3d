// SPDX-License-Identifier: Apache-2.0
//
// Every interleaving of the hand-over of an idle thread's cache, to the last one: a breadth-first
// search over the states of the machine in idle_machine.h. What must hold in each state:
//   - no two parties touch the bins at once, nor one while stores of another are on their way;
//   - the scavenger does not touch the slot of a thread that has ended;
//   - a record is not freed or recycled while a thread has it;
//   - when the scavenger is done with a record, it is not left taken and nobody sleeps for it.
// Each rule of the protocol is then left out in turn, and the search must find what that breaks.
#include "idle_machine.h"
#include "idle_state.h"

#include <stdio.h>
#include <unistd.h>

#include "../support/support.h"

static unsigned skip(const struct search *s, unsigned step) {
    const struct instruction *in = &program[step];
    while ((in->rule & ~s->rules) != 0 || (in->unless & s->rules) != 0) {
        step = in->next;
        in = &program[step];
    }
    return step;
}

static void go(struct search *s, const struct machine *m, unsigned actor, unsigned step) {
    struct machine next = *m;
    next.at[actor] = (uint8_t)skip(s, step);
    add(s, &next, actor, m->at[actor]);
}

static unsigned resolve(const struct machine *m, unsigned actor, unsigned location) {
    if (location == OWN_SLOT)
        return FIRST_SLOT + actor;
    return location == RECORDS_SLOT ? FIRST_SLOT + load(m, actor, RECORD_SLOT) : location;
}

static enum violation check_access(const struct machine *m, unsigned actor, unsigned location) {
    const bool slot = location == FIRST_SLOT || location == SECOND_SLOT;
    if (slot && m->life[location - FIRST_SLOT] == GONE)
        return DEAD_SLOT;
    return !slot && actor != SCAVENGER && m->registry == RECYCLED ? FREED_IN_USE : NOTHING;
}

static void do_access(struct search *s, const struct machine *m, unsigned actor,
                      const struct instruction *in) {
    if (in->location == LOCATIONS) {
        go(s, m, actor, m->life[actor] == ALIVE ? in->next : in->other);
        return;
    }
    const unsigned location = resolve(m, actor, in->location);
    struct machine next = *m;
    if (check_access(m, actor, location) != NOTHING) {
        report(s, m, actor, check_access(m, actor, location));
    } else if (in->operation == LOAD) {
        go(s, m, actor, load(m, actor, location) == in->value ? in->next : in->other);
    } else if (in->operation == SWAP) {
        const bool same = m->memory[location] == in->value;
        next.memory[location] = same ? in->to : m->memory[location];
        if (drained(m, actor))
            go(s, &next, actor, same ? in->next : in->other);
    } else {
        // What the release of the state orders is not in question.
        const bool orders = location == STATE || (s->rules & OWNER_RELEASE) != 0;
        const bool release = in->operation == RELEASE && orders;
        if (store(&next, actor, location, in->value, release))
            go(s, &next, actor, in->next);
    }
}

static void do_use(struct search *s, const struct machine *m, unsigned actor,
                   const struct instruction *in) {
    struct machine next = *m;
    if (in->operation == USED) {
        next.touching = (uint8_t)(m->touching & ~(1u << actor));
        go(s, &next, actor, in->next);
        return;
    }
    for (unsigned other = 0; other < ACTORS; other++) {
        const bool touches = (m->touching & 1u << other) != 0 || has_store_of_bins(m, other);
        if (other != actor && touches) {
            report(s, m, actor, BOTH_TOUCH);
            return;
        }
    }
    next.touching = (uint8_t)(m->touching | 1u << actor);
    if (check_access(m, actor, BINS) != NOTHING)
        report(s, m, actor, check_access(m, actor, BINS));
    else if (store(&next, actor, BINS, 0, false))
        go(s, &next, actor, in->next);
}

static void do_sleep(struct search *s, const struct machine *m, unsigned actor,
                     const struct instruction *in) {
    const bool futex = in->operation == FUTEX_WAIT;
    struct machine next = *m;
    next.asleep = (uint8_t)(m->asleep ^ 1u << actor);
    if ((m->asleep & 1u << actor) != 0) {
        if (!futex) // else somebody else has to wake it
            go(s, &next, actor, in->next);
        return;
    }
    if (!futex || (drained(m, actor) && m->memory[STATE] != in->value))
        go(s, m, actor, in->next);
    const bool orders = futex || (s->rules & SLEEP_ORDERS) != 0;
    if ((drained(m, actor) || !orders) && (!futex || m->memory[STATE] == in->value))
        go(s, &next, actor, m->at[actor]);
}

static void do_life(struct search *s, const struct machine *m, unsigned actor,
                    const struct instruction *in) {
    struct machine next = *m;
    const bool listed = m->memory[STATE] == R_FREE && m->registry == LISTED;
    if (!drained(m, actor))
        return;
    if (in->operation == CLAIM && m->lock == 0) {
        next.lock = listed ? (uint8_t)(actor + 1) : 0;
        go(s, &next, actor, listed ? in->next : in->other);
    } else if (in->operation == UNLOCK) {
        next.lock = 0;
        next.life[actor] = ALIVE;
        go(s, &next, actor, in->next);
    } else if (in->operation == UNLINK && m->lock == 0) {
        next.registry = listed ? UNLINKED : m->registry;
        go(s, &next, actor, listed ? in->next : in->other);
    } else if (in->operation == RECYCLE) {
        next.registry = RECYCLED;
        go(s, &next, actor, in->next);
    } else if ((in->operation == END || in->operation == DROP) && m->life[actor] == ALIVE) {
        next.life[actor] = in->operation == END ? GONE : DROPPED;
        go(s, &next, actor, in->next);
    }
}

static void do_look(struct search *s, const struct machine *m, unsigned actor,
                    const struct instruction *in) {
    struct machine next = *m;
    const unsigned thread = load(m, actor, RECORD_THREAD);
    const bool asleep = (m->asleep & 1u << m->remembered) != 0;
    const bool gone = m->life[m->remembered] == GONE || m->life[m->remembered] == DROPPED;
    switch (in->operation) {
    case REMEMBER:
        next.remembered = (uint8_t)thread;
        go(s, &next, actor, in->next);
        break;
    case ASK:
        go(s, m, actor, gone ? in->other : asleep ? in->next : S_LOOK);
        break;
    case ASK_ASLEEP:
        go(s, m, actor, !gone && asleep ? in->next : in->other);
        break;
    default: // IS_SAME
        go(s, m, actor, thread == m->remembered ? in->next : in->other);
        break;
    }
}

static void do_scavenger(struct search *s, const struct machine *m, unsigned actor,
                         const struct instruction *in) {
    struct machine next = *m;
    if (in->operation == ALL_BARRIER) {
        if (drained(m, FIRST) && drained(m, SECOND) && drained(m, SCAVENGER))
            go(s, m, actor, in->next);
    } else if (in->operation == FUTEX_WAKE && drained(m, actor)) {
        for (unsigned t = FIRST; t <= SECOND; t++) {
            if (sleeps_on_futex(m, t)) {
                next.asleep = (uint8_t)(next.asleep & ~(1u << t));
                next.at[t] = (uint8_t)skip(s, program[m->at[t]].next);
            }
        }
        go(s, &next, actor, in->next);
    } else if (in->operation == FREE_RECORD && drained(m, actor)) {
        const unsigned owner = m->life[m->memory[RECORD_THREAD]];
        next.memory[STATE] = R_FREE;
        if (m->memory[STATE] != R_TAKEN || owner == ALIVE)
            report(s, m, actor, FREED_IN_USE);
        else
            go(s, &next, actor, in->next);
    }
}

static void do_step(struct search *s, const struct machine *m, unsigned actor) {
    const struct instruction *const in = &program[m->at[actor]];
    switch (in->operation) {
    case CHOOSE:
        go(s, m, actor, in->next);
        go(s, m, actor, in->other);
        break;
    case STORE:
    case RELEASE:
    case LOAD:
    case SWAP:
        do_access(s, m, actor, in);
        break;
    case USE:
    case USED:
        do_use(s, m, actor, in);
        break;
    case MAY_SLEEP:
    case FUTEX_WAIT:
        do_sleep(s, m, actor, in);
        break;
    case REMEMBER:
    case ASK:
    case ASK_ASLEEP:
    case IS_SAME:
        do_look(s, m, actor, in);
        break;
    case ALL_BARRIER:
    case FUTEX_WAKE:
    case FREE_RECORD:
        do_scavenger(s, m, actor, in);
        break;
    case STOP:
        break;
    default:
        do_life(s, m, actor, in);
        break;
    }
}

static const char *describe(const struct link *link) {
    static const char *const names[] = {[STATE] = "state",
                                        [BUSY] = "busy",
                                        [FIRST_SLOT] = "first slot",
                                        [SECOND_SLOT] = "second slot",
                                        [RECORD_SLOT] = "record's slot",
                                        [RECORD_THREAD] = "record's thread",
                                        [BINS] = "bins"};
    return link->what < STEPS ? program[link->what].text : names[link->what - STEPS];
}

static void print_trace(const struct search *s) {
    static const char *const actors[] = {"first", "second", "scavenger"};
    static uint32_t path[10000];
    unsigned length = 0;
    for (uint32_t i = s->count - 1; i != 0; i = s->links[i].from)
        path[length++] = i;
    while (length-- > 0) {
        const struct link *const link = &s->links[path[length]];
        dprintf(STDERR_FILENO, "  %-9s %s%s\n", actors[link->actor],
                link->what < STEPS ? "" : "                 visible: ", describe(link));
    }
    dprintf(STDERR_FILENO, "  %s\n", violation_texts[s->found]);
}

// The search stops at the first violation, which is one of the nearest.
static struct search explore(unsigned rules) {
    struct search s = {.rules = rules};
    struct machine first = {.memory = {[STATE] = R_OWNED, [FIRST_SLOT] = OWN},
                            .at = {O_IDLE, O_IDLE, S_LOOK},
                            .life = {ALIVE, UNBORN}};
    add(&s, &first, 0, 0);
    while (s.current < s.count && s.found == NOTHING) {
        const struct machine m = s.states[s.current];
        for (unsigned actor = 0; actor < ACTORS; actor++) {
            make_stores_visible(&s, &m, actor);
            do_step(&s, &m, actor);
        }
        s.current++;
    }
    return s;
}

static void dispose(struct search *s) {
    free(s->states);
    free(s->links);
    free(s->table);
}

// Every step has been taken, so that no part of the program is there in vain.
static void expect_all_steps_taken(const struct search *s) {
    bool taken[STEPS] = {false};
    for (uint32_t i = 1; i < s->count; i++)
        if (s->links[i].what < STEPS)
            taken[s->links[i].what] = true;
    for (unsigned step = 0; step < STEPS; step++) {
        const bool skipped = skip(s, step) != step;
        if (!taken[step] && !skipped && step != S_STOP)
            test_fail(__FILE__, __LINE__, "no thread ever %s", program[step].text);
    }
}

static void expect_protocol_holds(unsigned machine) {
    struct search s = explore(ALL_RULES | machine);
    if (s.found != NOTHING) {
        print_trace(&s);
        test_fail(__FILE__, __LINE__, "%s", violation_texts[s.found]);
    }
    expect_all_steps_taken(&s);
    dispose(&s);
}

START_TEST(test_idle__protocol_holds) { expect_protocol_holds(0); }
END_TEST

START_TEST(test_idle__protocol_holds_on_a_weak_machine) { expect_protocol_holds(WEAK); }
END_TEST

static const struct variant {
    const char *text;
    unsigned without;
    unsigned machine;
    enum violation breaks;
} variants[] = {
    {"the state is set after the slot", STATE_FIRST, 0, DEAD_SLOT},
    {"no membarrier", BARRIER, 0, BOTH_TOUCH},
    {"no look at the thread after the barrier", ASK_AGAIN, 0, BOTH_TOUCH},
    {"no look at busy", BUSY_LOOK, 0, BOTH_TOUCH},
    {"no last look at the slot", SLOT_LOOK, 0, BOTH_TOUCH},
    {"a record may have passed to another thread", SAME_OWNER, 0, FREED_IN_USE},
    {"birth does not look at the slot again", BIRTH_LOOK, 0, BOTH_TOUCH},
    {"an ending thread does not wait", EXIT_WAITS, 0, BOTH_TOUCH},
    {"who waits is not woken", WAKE, 0, SLEEPS_FOR_EVER},
    {"a thread may sleep on stores that nobody sees", SLEEP_ORDERS, 0, BOTH_TOUCH},
    {"owners' stores without release", OWNER_RELEASE, WEAK, BOTH_TOUCH},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

START_TEST(test_idle__every_rule_is_needed) {
    unsigned covered = 0;
    for (unsigned i = 0; i < VARIANTS; i++) {
        const struct variant *const v = &variants[i];
        struct search s = explore((ALL_RULES & ~v->without) | v->machine);
        if (s.found != v->breaks)
            test_fail(__FILE__, __LINE__, "%s: found %s, expected %s", v->text,
                      violation_texts[s.found], violation_texts[v->breaks]);
        covered |= v->without;
        dispose(&s);
    }
    EXPECT_UINT(covered, ==, ALL_RULES);
}
END_TEST

// x86 makes the stores of a thread visible in their order, with or without release.
START_TEST(test_idle__release_is_for_weak_machines_only) {
    struct search s = explore(ALL_RULES & ~(unsigned)OWNER_RELEASE);
    EXPECT_INT(s.found, ==, NOTHING);
    dispose(&s);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("idle");
    test_add(suite, test_idle__protocol_holds);
    test_add(suite, test_idle__protocol_holds_on_a_weak_machine);
    test_add(suite, test_idle__every_rule_is_needed);
    test_add(suite, test_idle__release_is_for_weak_machines_only);
    return suite;
}
