// SPDX-License-Identifier: Apache-2.0
#include "conf/options.h"

#include <errno.h>
#include <string.h>

#include "conf/hindrance.h"
#include "os/os.h"
#include "sync/rcu.h"

static const char own_prefix[] = "LARDER_";
static const char test_prefix[] = "TEST_";

enum {
    STDERR = 2,
    OWN_PREFIX_LENGTH = sizeof own_prefix - 1,
    TEST_PREFIX_LENGTH = sizeof test_prefix - 1,
    SHOWN_LENGTH = 48, // of a name or value in a warning, so that its line is one write
    PRINT_BYTES = 512,
};

// The spare snapshot was current before the last publication; it may be written again once a grace
// period has passed since.
struct lr_options_page lr_options_page = {
    .current = &lr_options_page.snapshots[0],
    .snapshots = {{
        .value =
            {
#define OPTION(name, type, unit, fallback, min, max, when, help) [LR_OPTION_##name] = (fallback),
#include "conf/options.def"
            },
    }},
};
struct lr_lock lr_options_lock = LR_LOCK_INIT(LR_RANK_OPTIONS);

static struct {
    atomic_u8 environment_read; // release: the snapshot made from it is published
    atomic_u8 sealed;
    uint64_t publications;             // guarded by: lr_options_lock
    atomic_u8 origin[LR_OPTION_COUNT]; // enum lr_option_origin; written under lr_options_lock
} state;

// Copies, because programs write over their environment to change their title. A row for each
// option of type PATH, immutable once the environment has been read.
enum {
    PATHS = 0
#define OPTION(name, type, unit, fallback, min, max, when, help) +(LR_TYPE_##type == LR_TYPE_PATH)
#include "conf/options.def"
};
static char paths[PATHS][LR_OPTION_TEXT_BYTES];

static char *path_of(enum lr_option_id id) {
    unsigned index = 0;
    for (enum lr_option_id i = 0; i < id; i++) {
        index += lr_option_row(i)->type == LR_TYPE_PATH;
    }
    return paths[index];
}

const char *lr_options_text(enum lr_option_id id) {
    return lr_option_row(id)->type == LR_TYPE_PATH ? path_of(id) : "";
}

static _Atomic(void (*)(void)) watcher;

void lr_options_set_watcher(void (*function)(void)) { lr_store_relaxed(&watcher, function); }

static atomic_u32 changes; // for the watcher, counted

void lr_options_changed(void) {
    void (*function)(void) = lr_load_relaxed(&watcher);
    if (function == NULL) {
        return;
    }
    uint32_t seen = lr_fetch_add_acq_rel(&changes, 1) + 1;
    for (;;) {
        function();
        // What it stored came from old values if another thread made a change in between. Both
        // modify `changes`: either that thread's stores follow ours, or we see its change here.
        const uint32_t now = lr_fetch_add_acq_rel(&changes, 0);
        if (now == seen) {
            return;
        }
        seen = now;
    }
}

static struct lr_options *spare_locked(void) {
    return &lr_options_page.snapshots[(state.publications + 1) % 2];
}

// Pairs with lr_options_deref().
static void publish_locked(struct lr_options *snapshot) {
    void *slot = &lr_options_page.current; // an atomic pointer is represented as a plain one
    lr_rcu_publish(slot, snapshot);
    state.publications++;
}

static void defaults(struct lr_option_values *out) {
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        out->value[id] = lr_option_row(id)->fallback;
        out->origin[id] = LR_FROM_DEFAULT;
        out->text[id] = NULL;
    }
}

// A text from the environment is not trusted to be short or printable.
static void print_foreign(struct lr_print *p, const char *s, size_t length) {
    for (size_t i = 0; i < length && i < SHOWN_LENGTH; i++) {
        const bool printable = s[i] >= ' ' && s[i] <= '~';
        lr_print_f(p, "%c", printable ? s[i] : '?');
    }
    if (length > SHOWN_LENGTH) {
        lr_print_str(p, "...");
    }
}

// One variable of the environment, cut at its '='.
struct variable {
    const char *name; // with the prefix
    size_t length;
    const char *value;
};

static void warn_value(struct lr_print *p, const struct variable *v, enum lr_option_verdict verdict,
                       enum lr_option_alias alias, enum lr_option_id id, uint64_t used) {
    lr_print_f(p, "larder: value %s ",
               verdict == LR_OPTION_OUT_OF_RANGE ? "out of range" : "not understood");
    print_foreign(p, v->name, v->length);
    lr_print_str(p, "=\"");
    print_foreign(p, v->value, strlen(v->value));
    lr_print_str(p, "\", accepted ");
    if (alias < LR_ALIAS_COUNT) {
        lr_alias_print_range(p, alias);
        lr_print_str(p, "; using ");
        lr_option_print_variable(p, id);
        lr_print_char(p, '=');
    } else {
        lr_option_print_range(p, id);
        lr_print_str(p, "; using ");
    }
    lr_option_print_value(p, id, used);
    lr_print_char(p, '\n');
    (void)lr_print_flush(p);
}

static void warn_unknown(struct lr_print *p, const struct variable *v) {
    lr_print_str(p, "larder: unknown option ");
    print_foreign(p, v->name, v->length);
    const enum lr_option_id nearest =
        lr_option_nearest(v->name + OWN_PREFIX_LENGTH, v->length - OWN_PREFIX_LENGTH);
    if (nearest != LR_OPTION_COUNT) {
        lr_print_str(p, ", the nearest is ");
        lr_option_print_variable(p, nearest);
    }
    lr_print_str(p, "; ignored\n");
    (void)lr_print_flush(p);
}

static bool has_prefix(const struct variable *v, const char *prefix, size_t length) {
    return v->length >= length && memcmp(v->name, prefix, length) == 0;
}

static void apply_alias(const struct variable *v, struct lr_option_values *out,
                        struct lr_print *warnings, uint64_t *seen) {
    const enum lr_option_alias alias = lr_alias_by_variable(v->name, v->length);
    if (alias == LR_ALIAS_COUNT || (*seen & (UINT64_C(1) << alias)) != 0) {
        return;
    }
    *seen |= UINT64_C(1) << alias;
    enum lr_option_id id = lr_alias_option(alias);
    uint64_t value = 0;
    const enum lr_option_verdict verdict = lr_alias_read(alias, v->value, &id, &value);
    if (verdict != LR_OPTION_NOT_UNDERSTOOD) {
        out->value[id] = value;
        out->origin[id] = LR_FROM_ENVIRONMENT;
    }
    if (verdict != LR_OPTION_GOOD && warnings != NULL) {
        warn_value(warnings, v, verdict, alias, id, out->value[id]);
    }
}

static void apply_own(const struct variable *v, struct lr_option_values *out,
                      struct lr_print *warnings, uint64_t *seen) {
    const char *name = v->name + OWN_PREFIX_LENGTH;
    const size_t length = v->length - OWN_PREFIX_LENGTH;
    if (length >= TEST_PREFIX_LENGTH && memcmp(name, test_prefix, TEST_PREFIX_LENGTH) == 0) {
        return;
    }
    const enum lr_option_id id = lr_option_by_variable(name, length);
    if (id == LR_OPTION_COUNT) {
        if (warnings != NULL) {
            warn_unknown(warnings, v);
        }
        return;
    }
    static_assert((int)LR_OPTION_COUNT <= 64, "a bit each");
    if ((*seen & (UINT64_C(1) << id)) != 0) {
        return;
    }
    *seen |= UINT64_C(1) << id;
    uint64_t value = 0;
    const enum lr_option_verdict verdict = lr_option_read(id, v->value, &value);
    if (verdict != LR_OPTION_NOT_UNDERSTOOD) {
        out->text[id] = lr_option_row(id)->type == LR_TYPE_PATH && value != 0 ? v->value : NULL;
        out->value[id] = value;
        out->origin[id] = LR_FROM_ENVIRONMENT;
    }
    if (verdict != LR_OPTION_GOOD && warnings != NULL) {
        warn_value(warnings, v, verdict, LR_ALIAS_COUNT, id, out->value[id]);
    }
}

static_assert(LR_OPTION_COUNT <= 64 && LR_ALIAS_COUNT <= 64, "one bit of `seen` each");

void lr_options_from_environment(char *const *environment, struct lr_option_values *out,
                                 struct lr_print *warnings) {
    defaults(out);
    if (environment == NULL) {
        return;
    }
    // The aliases first, so that Larder's own name wins.
    for (int own = 0; own <= 1; own++) {
        uint64_t seen = 0;
        for (char *const *at = environment; *at != NULL; at++) {
            const char *equals = strchr(*at, '=');
            if (equals == NULL) {
                continue;
            }
            const struct variable v = {
                .name = *at, .length = (size_t)(equals - *at), .value = equals + 1};
            if (own != has_prefix(&v, own_prefix, OWN_PREFIX_LENGTH)) {
                continue;
            }
            (own ? apply_own : apply_alias)(&v, out, warnings, &seen);
        }
    }
}

static void print_row(struct lr_print *p, enum lr_option_id id,
                      const struct lr_option_values *values) {
    static const char origins[][12] = {
        [LR_FROM_DEFAULT] = "default",
        [LR_FROM_ENVIRONMENT] = "environment",
        [LR_FROM_PROGRAM] = "program",
    };
    char text[64];
    struct lr_print field;
    lr_print_init(&field, text, sizeof text, -1);
    lr_option_print_variable(&field, id);
    lr_print_f(p, "  %-27s", text);
    lr_print_init(&field, text, sizeof text, -1);
    lr_option_print_value(&field, id, values->value[id]);
    if (values->text[id] != NULL) {
        lr_print_init(&field, text, sizeof text, -1);
        print_foreign(&field, values->text[id], strlen(values->text[id]));
    }
    lr_print_f(p, " %-13s %-12s", text, origins[values->origin[id]]);
    lr_option_print_range(p, id);
    lr_print_str(p, lr_option_row(id)->when == LR_WHEN_RUNTIME ? "; any time\n" : "; at start\n");
}

// A line for each reason why options that somebody counts on do nothing.
static void print_hindered(struct lr_print *p, const struct lr_option_values *values) {
    uint64_t said = 0;
    for (enum lr_option_id first = 0; first < LR_OPTION_COUNT; first++) {
        const char *why = lr_option_hindrance(first, values->value);
        const char *separator = "larder: without effect, because ";
        for (enum lr_option_id id = first; why != NULL && id < LR_OPTION_COUNT; id++) {
            const uint64_t bit = UINT64_C(1) << id;
            if (values->origin[id] == LR_FROM_DEFAULT || (said & bit) != 0 ||
                values->value[id] == lr_option_row(id)->fallback ||
                lr_option_hindrance(id, values->value) != why) {
                continue;
            }
            said |= bit;
            lr_print_f(p, "%s%s", separator, *separator == ',' ? "" : why);
            lr_print_str(p, *separator == ',' ? "" : ": ");
            lr_option_print_variable(p, id);
            separator = ", ";
        }
        lr_print_str(p, *separator == ',' ? "\n" : "");
    }
}

static int print_all(int fd, const struct lr_option_values *values, bool with_help) {
    char buffer[PRINT_BYTES];
    struct lr_print p;
    lr_print_init(&p, buffer, sizeof buffer, fd);
    lr_print_str(&p, "larder: options in effect\n");
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        if (lr_option_hindrance(id, values->value) != NULL) {
            continue;
        }
        print_row(&p, id, values);
        if (with_help) {
            lr_print_f(&p, "      %s\n", lr_option_help(id));
        }
    }
    print_hindered(&p, values);
    return lr_print_flush(&p);
}

// Zero aside, which means none.
static void warn_tiny_limit(struct lr_print *p, const struct lr_option_values *values) {
    const uint64_t limit = values->value[LR_OPTION_heap_limit];
    if (limit == 0 || limit >= LR_MIB) {
        return;
    }
    lr_print_str(p, "larder: ");
    lr_option_print_variable(p, LR_OPTION_heap_limit);
    lr_print_str(p, " is ");
    lr_option_print_value(p, LR_OPTION_heap_limit, limit);
    lr_print_str(p, ": requests fail as soon as blocks hold that; hardly a program runs with less "
                    "than 1 MiB\n");
    (void)lr_print_flush(p);
}

// What some options decide about others.
static void imply(struct lr_option_values *values) {
    if (values->value[LR_OPTION_hardened] != 0) {
        values->value[LR_OPTION_scavenger] = LR_SCAVENGER_OFF; // pages go back when they are freed
    }
}

static void warn(char *const *environment) {
    char buffer[PRINT_BYTES];
    struct lr_print p;
    struct lr_option_values values;
    lr_print_init(&p, buffer, sizeof buffer, STDERR);
    lr_options_from_environment(environment, &values, &p);
    imply(&values);
    warn_tiny_limit(&p, &values);
    if (values.value[LR_OPTION_verbose] > 0) {
        (void)print_all(STDERR, &values, false);
    } else {
        print_hindered(&p, &values);
        (void)lr_print_flush(&p);
    }
}

LR_COLD bool lr_options_init(void) {
    // Acquire pairs with the release below: who sees true sees the values.
    if (lr_load_acquire(&state.environment_read)) {
        return true;
    }
    if (!lr_os_environ_ready()) {
        return false;
    }
    char *const *environment = lr_os_environ();
    struct lr_option_values values;
    lr_options_from_environment(environment, &values, NULL);
    imply(&values);

    lr_lock(&lr_options_lock);
    const bool first = !lr_load_relaxed(&state.environment_read);
    if (first) {
        // Nothing was published before (lr_option_set refuses), so nobody has seen the spare.
        struct lr_options *spare = spare_locked();
        for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
            lr_store_relaxed(&spare->value[id], values.value[id]);
            lr_store_relaxed(&state.origin[id], values.origin[id]);
            if (values.text[id] != NULL) {
                strcpy(path_of(id), values.text[id]); // NOLINT(*strcpy): lr_option_read() measured
            }
        }
        publish_locked(spare);
        lr_store_release(&state.environment_read, 1);
    }
    lr_unlock(&lr_options_lock);
    if (first) {
        warn(environment);
        lr_options_changed();
    }
    return true;
}

void lr_options_seal(void) {
    lr_store_relaxed(&state.sealed, 1);
    if (lr_os_page_bytes() <= LR_OPTIONS_PAGE_BYTES) {
        lr_os_seal(&lr_options_page, sizeof lr_options_page);
    }
}

int lr_option_get(const char *name, uint64_t *value) {
    const enum lr_option_id id = lr_option_by_name(name);
    if (id == LR_OPTION_COUNT) {
        return -ENOENT;
    }
    *value = lr_options_value(lr_options_deref(), id);
    return 0;
}

uint64_t lr_options_age(void) {
    lr_lock(&lr_options_lock);
    const uint64_t age = state.publications + 1;
    lr_unlock(&lr_options_lock);
    return age;
}

int lr_option_set(const char *name, uint64_t value) {
    const enum lr_option_id id = lr_option_by_name(name);
    if (id == LR_OPTION_COUNT) {
        return -ENOENT;
    }
    if (lr_option_row(id)->when != LR_WHEN_RUNTIME || lr_load_relaxed(&state.sealed) != 0) {
        return -EPERM;
    }
    if (!lr_option_in_range(id, value)) {
        return -ERANGE;
    }
    if (!lr_options_init()) {
        return -EAGAIN;
    }
    lr_lock(&lr_options_lock);
    for (;;) {
        // If nobody publishes while we wait, every reader that could hold the spare has gone, so it
        // may be written. If somebody does, the waiting starts over: he made progress, we will.
        const uint64_t before = state.publications;
        lr_unlock(&lr_options_lock);
        lr_rcu_synchronize();
        lr_lock(&lr_options_lock);
        if (state.publications == before) {
            break;
        }
    }
    struct lr_options *spare = spare_locked();
    struct lr_options *current = lr_options_deref();
    for (enum lr_option_id i = 0; i < LR_OPTION_COUNT; i++) {
        lr_store_relaxed(&spare->value[i], i == id ? value : lr_options_value(current, i));
    }
    lr_store_relaxed(&state.origin[id], LR_FROM_PROGRAM);
    publish_locked(spare);
    lr_unlock(&lr_options_lock);
    lr_options_changed();
    return 0;
}

enum lr_option_origin lr_option_origin(enum lr_option_id id) {
    return lr_load_relaxed(&state.origin[id]);
}

int lr_options_print(int fd) {
    struct lr_option_values values;
    lr_rcu_read_lock();
    struct lr_options *options = lr_options_deref();
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        values.value[id] = lr_options_value(options, id);
        values.origin[id] = lr_load_relaxed(&state.origin[id]);
        values.text[id] = *lr_options_text(id) != '\0' ? lr_options_text(id) : NULL;
    }
    lr_rcu_read_unlock();
    return print_all(fd, &values, true);
}
