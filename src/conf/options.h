// SPDX-License-Identifier: Apache-2.0
// Which values of the options of options.def are in effect.
//
// All values are one snapshot, which is never changed while anybody may look at it: a change
// publishes another one. The snapshots are static and each of their fields holds a valid value at
// any time. So who needs one value takes lr_opt_<name>() at any moment, without a read-side
// section: at worst the value is the one before. Who needs several values that belong together
// reads them from one snapshot inside lr_rcu_read_lock().
#ifndef LARDER_CONF_OPTIONS_H
#define LARDER_CONF_OPTIONS_H

#include "base/atomic.h"
#include "base/print.h"
#include "conf/option_table.h"
#include "sync/lock.h"

enum { LR_OPTIONS_PAGE_BYTES = 4096 };

struct lr_options {
    atomic_u64 value[LR_OPTION_COUNT]; // relaxed: publication orders them, reuse is harmless
};

// What options.c alone changes: the current snapshot, and the spare one. A page of its own, which
// hardened mode makes read-only.
struct lr_options_page {
    _Atomic(struct lr_options *) current;
    struct lr_options snapshots[2];
} __attribute__((aligned(LR_OPTIONS_PAGE_BYTES)));
extern struct lr_options_page lr_options_page;
extern struct lr_lock lr_options_lock; // rank LR_RANK_OPTIONS; for fork and lock statistics

// Pairs with lr_rcu_publish() in options.c: the values of the snapshot are seen.
static inline struct lr_options *lr_options_deref(void) {
    return lr_load_acquire(&lr_options_page.current);
}

static inline uint64_t lr_options_value(struct lr_options *options, enum lr_option_id id) {
    return lr_load_relaxed(&options->value[id]);
}

// lr_opt_thread_cache_max() and so on; the defaults before lr_options_init().
#define OPTION(name, type, unit, fallback, min, max, when, help)                                   \
    static inline uint64_t lr_opt_##name(void) {                                                   \
        return lr_options_value(lr_options_deref(), LR_OPTION_##name);                             \
    }
#include "conf/options.def"

// Reads the environment, once: the call that does it also prints one line to standard error for
// each variable that is wrong. False as long as libc has no environment yet, so that it must be
// called again; true from then on. Takes lr_options_lock; does not print, allocate or enter
// liburcu while it holds it. A setuid process keeps the defaults.
bool lr_options_init(void);

// No option can be changed from now on, by larder_option_set() or by a stray write. (The latter is
// possible still where pages of the system are larger than the options' own.)
void lr_options_seal(void);

// By the option's name in lower case. 0 or a negative errno:
//   -ENOENT no such option; -EPERM it may change at startup only, as all may when sealed; -ERANGE
//   the value is out of its range; -EAGAIN libc has no environment yet, which would override the
//   value later.
// Setting waits for a grace period of RCU: no lock of Larder and no read-side section may be held.
int lr_option_get(const char *name, uint64_t *value);
int lr_option_set(const char *name, uint64_t value);

// Called after each change of values, also the reading of the environment, with no lock held and on
// the thread that made it. It stores what follows from the values. Calls may overlap; a thread
// whose stores may be old already calls it again. Set once, at start.
void lr_options_set_watcher(void (*function)(void));
// What the watcher goes by besides options has changed: it is called. No lock may be held.
void lr_options_changed(void);

// Every option with value, origin, range and help. 0, or the negative errno of the write.
int lr_options_print(int fd);

// The value of an option of type PATH; "" if there is none.
const char *lr_options_text(enum lr_option_id id);

enum lr_option_origin { LR_FROM_DEFAULT, LR_FROM_ENVIRONMENT, LR_FROM_PROGRAM };
enum lr_option_origin lr_option_origin(enum lr_option_id id); // of the value in effect

// Never 0; another number after each change of a value. What is read after it is as new at least.
uint64_t lr_options_age(void);

struct lr_option_values {
    uint64_t value[LR_OPTION_COUNT];
    uint8_t origin[LR_OPTION_COUNT];   // enum lr_option_origin
    const char *text[LR_OPTION_COUNT]; // of type PATH with a value: in the environment; else NULL
};

// What an environment makes of the defaults, and with `warnings` a line for each variable that is
// wrong, flushed line by line. A variable that occurs twice counts once, as for getenv(). Names
// that begin with LARDER_TEST_ belong to test programs and are left alone. NULL for an
// environment: it is empty.
void lr_options_from_environment(char *const *environment, struct lr_option_values *out,
                                 struct lr_print *warnings);

#endif
