// SPDX-License-Identifier: Apache-2.0
//
// The hand-over of an idle thread's cache (cache/idle.c, cache/thread_state.c) as two programs of
// single memory accesses: an owner's and the scavenger's. Two threads run the owner's program: the
// first one has the record, the second one is born later and may get the same record. model_idle.c
// runs them in every order.
//
// Memory. Stores wait in a buffer of their thread and become visible one after the other (TSO,
// x86), or, in a weak machine, in any order that keeps each location's own and puts a release store
// behind all before it. A compare-and-swap, an unlock and a futex call wait until the thread's own
// buffer is empty. The scavenger's system calls that look at a thread order nothing.
//
// Left out, so that the real thing does less than the model: how long a thread must be idle, and
// that a cache without blocks is not taken.
#ifndef LARDER_TESTS_IDLE_MACHINE_H
#define LARDER_TESTS_IDLE_MACHINE_H

#include <stdint.h>

enum actor { FIRST, SECOND, SCAVENGER, ACTORS };

enum location {
    STATE,      // of the record: R_FREE, R_OWNED, R_TAKEN
    BUSY,       // the owner is inside a slow path
    FIRST_SLOT, // the threads' lr_thread_cache: EMPTY or OWN
    SECOND_SLOT,
    RECORD_SLOT,   // whose slot the record points to
    RECORD_THREAD, // whose thread id the record has
    BINS,          // no value: what a cache holds
    LOCATIONS,
    OWN_SLOT,    // the acting thread's
    RECORDS_SLOT // the one that RECORD_SLOT says
};

enum { R_FREE, R_OWNED, R_TAKEN };
enum { EMPTY, OWN };

// What the protocol relies on; each can be switched off, which must break it.
enum rule {
    ALWAYS = 0,
    STATE_FIRST = 1 << 0,    // the record is taken before the slot is emptied, not after
    BARRIER = 1 << 1,        // membarrier() between emptying the slot and looking at the owner
    ASK_AGAIN = 1 << 2,      // the owner is looked at after the barrier
    BUSY_LOOK = 1 << 3,      // busy must be 0
    SLOT_LOOK = 1 << 4,      // the slot must still be empty
    SAME_OWNER = 1 << 5,     // the taken record must be that of the thread that was looked at
    BIRTH_LOOK = 1 << 6,     // a born thread reads its slot again after calls that may sleep
    EXIT_WAITS = 1 << 7,     // an ending thread waits while the record is taken
    WAKE = 1 << 8,           // the scavenger wakes it
    SLEEP_ORDERS = 1 << 9,   // stores before a sleep are visible to who finds the thread asleep
    OWNER_RELEASE = 1 << 10, // busy = 0 and an ending thread's slot = empty are release stores
    ALL_RULES = (1 << 11) - 1,
    WEAK = 1 << 11, // not a rule: the weak machine
};

enum operation {
    CHOOSE,      // next or other
    STORE,       // location = value
    RELEASE,     // the same, after all stores before
    LOAD,        // location == value: next, else other
    SWAP,        // location: value -> to: next, else other
    USE,         // begins to touch the bins
    USED,        // ends it
    MAY_SLEEP,   // in a system call or not at all
    FUTEX_WAIT,  // asleep until woken if STATE is R_TAKEN
    FUTEX_WAKE,  // wakes who sleeps there
    CLAIM,       // takes the registry lock if a free record is in the registry: next, else other
    UNLOCK,      // the registry
    END,         // the thread is gone with its thread-local memory
    DROP,        // the thread is gone, its destructors did not run
    REMEMBER,    // the record's thread, to be looked at
    ASK,         // is it asleep: next, gone: other, else back to look at the record
    ASK_ASLEEP,  // is it asleep: next, else other
    IS_SAME,     // the record's thread is the one remembered: next, else other
    ALL_BARRIER, // waits until all buffers are empty
    FREE_RECORD, // R_TAKEN -> R_FREE
    UNLINK,      // a free record leaves the registry: next, else other
    RECYCLE,     // the record's memory is used for something else
    STOP,
};

struct instruction {
    uint8_t operation;
    uint8_t location;
    uint8_t value;
    uint8_t to;
    uint8_t next;
    uint8_t other;
    uint16_t rule;   // skipped when this rule is off ...
    uint16_t unless; // ... or when this one is on
    const char *text;
};

enum step {
    // An owner between two calls, and its fast path.
    O_IDLE,
    O_IDLE_MORE,
    O_IDLE_RECORD,
    O_IDLE_LAST,
    O_ASLEEP,
    O_FAST,
    O_FAST_USE,
    O_FAST_USED,
    O_FAST_RESULT,
    // current_cache(), lr_thread_cache_acquire()
    O_SLOW,
    O_BORN,
    O_ACQUIRE,
    O_ACQUIRE_STATE,
    O_ACQUIRE_SLOT,
    O_ACQUIRE_DONE,
    O_ACQUIRE_NONE,
    // alloc_class(), free_small(); begin_slow(), end_slow()
    O_POP,
    O_POPPED,
    O_POP_RESULT,
    O_BEGIN_SLOW,
    O_REFILL,
    O_REFILL_LOCK,
    O_REFILLED,
    O_END_SLOW,
    // on_thread_exit(), lr_thread_record_free()
    O_EXIT,
    O_EXIT_SLOT,
    O_EXIT_STATE,
    O_EXIT_WAIT,
    O_EXIT_FLUSH,
    O_EXIT_LOCK,
    O_EXIT_FLUSHED,
    O_EXIT_DONE,
    O_EXIT_FREE,
    O_EXIT_FREE_WAIT,
    O_EXIT_GONE,
    O_DROPPED,
    // be_born()
    O_CLAIM,
    O_BORN_RECORD,
    O_BORN_THREAD,
    O_BORN_SLOT,
    O_BORN_OWNED,
    O_BORN_UNLOCK,
    O_BORN_WAKE,
    O_BORN_KEY,
    O_BORN_LOOK,
    // look_at()
    S_LOOK,
    S_THREAD,
    S_ASK,
    // try_take()
    S_SLOT_EARLY,
    S_TAKE,
    S_SAME,
    S_SLOT,
    S_BARRIER,
    S_ASK_AGAIN,
    S_BUSY,
    S_SLOT_AGAIN,
    S_EMPTY,
    S_EMPTIED,
    S_RELEASE,
    S_WAKE,
    // take_as_seen(), adopt()
    S_ADOPT,
    S_ADOPT_SAME,
    S_ADOPT_BUSY,
    S_ADOPT_EMPTY,
    S_ADOPT_EMPTIED,
    S_ADOPT_FREE,
    // lr_thread_state_reclaim()
    S_UNLINK,
    S_FLUSH,
    S_FLUSHED,
    S_RECYCLE,
    S_STOP,
    STEPS
};

// clang-format off
static const struct instruction program[STEPS] = {
#define ROW(step, operation, location, value, to, next, other, rule, unless, text) \
    [step] = {operation, location, value, to, next, other, rule, unless, text},
#define STEP(step, operation, next, other, text) \
    ROW(step, operation, 0, 0, 0, next, other, ALWAYS, 0, text)
#define ACCESS(step, operation, location, value, next, other, text) \
    ROW(step, operation, location, value, 0, next, other, ALWAYS, 0, text)
    STEP(O_IDLE, CHOOSE, O_FAST, O_IDLE_MORE, "calls malloc or free, or not")
    STEP(O_IDLE_MORE, CHOOSE, O_ASLEEP, O_IDLE_RECORD, "makes a system call, or ends")
    ACCESS(O_IDLE_RECORD, LOAD, LOCATIONS, 1, O_IDLE_LAST, O_IDLE, "has it a record?")
    STEP(O_IDLE_LAST, CHOOSE, O_EXIT, O_DROPPED, "ends, with its destructors or without")
    STEP(O_ASLEEP, MAY_SLEEP, O_IDLE, 0, "is in a system call of the program")
    ACCESS(O_FAST, LOAD, OWN_SLOT, OWN, O_FAST_USE, O_SLOW, "fast path reads its slot")
    STEP(O_FAST_USE, USE, O_FAST_USED, 0, "pops or pushes")
    STEP(O_FAST_USED, USED, O_FAST_RESULT, 0, "has popped or pushed")
    STEP(O_FAST_RESULT, CHOOSE, O_IDLE, O_SLOW, "hit or miss")

    ACCESS(O_SLOW, LOAD, OWN_SLOT, OWN, O_POP, O_BORN, "slow path reads its slot")
    ACCESS(O_BORN, LOAD, LOCATIONS, 1, O_ACQUIRE, O_CLAIM, "has it a record?")
    ACCESS(O_ACQUIRE, STORE, BUSY, 1, O_ACQUIRE_STATE, 0, "acquire: busy = 1")
    ACCESS(O_ACQUIRE_STATE, LOAD, STATE, R_TAKEN, O_ACQUIRE_NONE, O_ACQUIRE_SLOT, "acquire: state")
    ACCESS(O_ACQUIRE_SLOT, STORE, OWN_SLOT, OWN, O_ACQUIRE_DONE, 0, "acquire: slot = own")
    ACCESS(O_ACQUIRE_DONE, RELEASE, BUSY, 0, O_POP, 0, "acquire: busy = 0, has its cache")
    ACCESS(O_ACQUIRE_NONE, RELEASE, BUSY, 0, O_IDLE, 0, "acquire: busy = 0, works without")

    STEP(O_POP, USE, O_POPPED, 0, "slow path pops or pushes")
    STEP(O_POPPED, USED, O_POP_RESULT, 0, "slow path has popped or pushed")
    STEP(O_POP_RESULT, CHOOSE, O_IDLE, O_BEGIN_SLOW, "hit or miss")
    ACCESS(O_BEGIN_SLOW, STORE, BUSY, 1, O_REFILL, 0, "begin_slow: busy = 1")
    STEP(O_REFILL, USE, O_REFILL_LOCK, 0, "refill begins")
    STEP(O_REFILL_LOCK, MAY_SLEEP, O_REFILLED, 0, "refill waits for a lock, or maps a pool")
    STEP(O_REFILLED, USED, O_END_SLOW, 0, "refill ends")
    ACCESS(O_END_SLOW, RELEASE, BUSY, 0, O_IDLE, 0, "end_slow: busy = 0")

    ACCESS(O_EXIT, STORE, BUSY, 1, O_EXIT_SLOT, 0, "exit: busy = 1")
    ACCESS(O_EXIT_SLOT, RELEASE, OWN_SLOT, EMPTY, O_EXIT_STATE, 0, "exit: slot = empty")
    ROW(O_EXIT_STATE, LOAD, STATE, R_OWNED, 0, O_EXIT_FLUSH, O_EXIT_WAIT, EXIT_WAITS, 0,
        "exit: state")
    ACCESS(O_EXIT_WAIT, FUTEX_WAIT, STATE, R_TAKEN, O_EXIT_STATE, 0, "exit: waits")
    STEP(O_EXIT_FLUSH, USE, O_EXIT_LOCK, 0, "exit: flush begins")
    STEP(O_EXIT_LOCK, MAY_SLEEP, O_EXIT_FLUSHED, 0, "exit: flush waits for a lock")
    STEP(O_EXIT_FLUSHED, USED, O_EXIT_DONE, 0, "exit: flush ends")
    ACCESS(O_EXIT_DONE, RELEASE, BUSY, 0, O_EXIT_FREE, 0, "exit: busy = 0")
    ROW(O_EXIT_FREE, SWAP, STATE, R_OWNED, R_FREE, O_EXIT_GONE, O_EXIT_FREE_WAIT, ALWAYS, 0,
        "exit: owned -> free")
    ACCESS(O_EXIT_FREE_WAIT, FUTEX_WAIT, STATE, R_TAKEN, O_EXIT_FREE, 0, "exit: waits to free")
    STEP(O_EXIT_GONE, END, O_EXIT_GONE, 0, "is gone")
    STEP(O_DROPPED, DROP, O_EXIT_GONE, 0, "ends by a bare system call")

    STEP(O_CLAIM, CLAIM, O_BORN_RECORD, O_IDLE, "birth: claims a free record")
    ACCESS(O_BORN_RECORD, STORE, RECORD_SLOT, SECOND, O_BORN_THREAD, 0, "birth: record's slot")
    ACCESS(O_BORN_THREAD, STORE, RECORD_THREAD, SECOND, O_BORN_SLOT, 0, "birth: record's thread")
    ACCESS(O_BORN_SLOT, STORE, OWN_SLOT, OWN, O_BORN_OWNED, 0, "birth: slot = own")
    ACCESS(O_BORN_OWNED, RELEASE, STATE, R_OWNED, O_BORN_UNLOCK, 0, "birth: state = owned")
    STEP(O_BORN_UNLOCK, UNLOCK, O_BORN_WAKE, 0, "birth: unlocks the registry")
    STEP(O_BORN_WAKE, MAY_SLEEP, O_BORN_KEY, 0, "birth: wakes another thread")
    STEP(O_BORN_KEY, MAY_SLEEP, O_BORN_LOOK, 0, "birth: pthread_setspecific")
    ROW(O_BORN_LOOK, LOAD, OWN_SLOT, OWN, 0, O_POP, O_IDLE, BIRTH_LOOK, 0, "birth: slot again")

    ACCESS(S_LOOK, LOAD, STATE, R_OWNED, S_THREAD, S_UNLINK, "looks at the state")
    STEP(S_THREAD, REMEMBER, S_ASK, 0, "reads the thread id")
    STEP(S_ASK, ASK, S_SLOT_EARLY, S_ADOPT, "looks at the thread")
    ROW(S_SLOT_EARLY, STORE, RECORDS_SLOT, EMPTY, 0, S_TAKE, 0, ALWAYS, STATE_FIRST,
        "slot = empty (too early)")
    ROW(S_TAKE, SWAP, STATE, R_OWNED, R_TAKEN, S_SAME, S_LOOK, ALWAYS, 0, "owned -> taken")
    ROW(S_SAME, IS_SAME, 0, 0, 0, S_SLOT, S_RELEASE, SAME_OWNER, 0, "is it the same thread?")
    ROW(S_SLOT, STORE, RECORDS_SLOT, EMPTY, 0, S_BARRIER, 0, STATE_FIRST, 0, "slot = empty")
    ROW(S_BARRIER, ALL_BARRIER, 0, 0, 0, S_ASK_AGAIN, 0, BARRIER, 0, "membarrier")
    ROW(S_ASK_AGAIN, ASK_ASLEEP, 0, 0, 0, S_BUSY, S_RELEASE, ASK_AGAIN, 0, "looks at it again")
    ROW(S_BUSY, LOAD, BUSY, 0, 0, S_SLOT_AGAIN, S_RELEASE, BUSY_LOOK, 0, "is busy 0?")
    ROW(S_SLOT_AGAIN, LOAD, RECORDS_SLOT, EMPTY, 0, S_EMPTY, S_RELEASE, SLOT_LOOK, 0,
        "is the slot still empty?")
    STEP(S_EMPTY, USE, S_EMPTIED, 0, "begins to empty the cache")
    STEP(S_EMPTIED, USED, S_RELEASE, 0, "has emptied it")
    ACCESS(S_RELEASE, RELEASE, STATE, R_OWNED, S_WAKE, 0, "taken -> owned")
    ROW(S_WAKE, FUTEX_WAKE, 0, 0, 0, S_LOOK, 0, WAKE, 0, "wakes who waits")

    ROW(S_ADOPT, SWAP, STATE, R_OWNED, R_TAKEN, S_ADOPT_SAME, S_LOOK, ALWAYS, 0,
        "the thread is gone: owned -> taken")
    ROW(S_ADOPT_SAME, IS_SAME, 0, 0, 0, S_ADOPT_BUSY, S_RELEASE, SAME_OWNER, 0,
        "adopt: is it the same thread?")
    ACCESS(S_ADOPT_BUSY, LOAD, BUSY, 0, S_ADOPT_EMPTY, S_LOOK, "adopt: is busy 0?")
    STEP(S_ADOPT_EMPTY, USE, S_ADOPT_EMPTIED, 0, "adopt: begins to empty the cache")
    STEP(S_ADOPT_EMPTIED, USED, S_ADOPT_FREE, 0, "adopt: has emptied it")
    STEP(S_ADOPT_FREE, FREE_RECORD, S_LOOK, 0, "adopt: taken -> free")

    STEP(S_UNLINK, UNLINK, S_FLUSH, S_LOOK, "unlinks a free record")
    STEP(S_FLUSH, USE, S_FLUSHED, 0, "frees its stacks")
    STEP(S_FLUSHED, USED, S_RECYCLE, 0, "has freed them")
    STEP(S_RECYCLE, RECYCLE, S_STOP, 0, "frees the record")
    STEP(S_STOP, STOP, S_STOP, 0, "is done")
#undef ROW
#undef STEP
#undef ACCESS
};
// clang-format on

#endif
