// SPDX-License-Identifier: Apache-2.0
#include "prof/frames.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "os/os.h"
#include "prof/module.h"
#include "prof/unwind.h"

enum { CALLERS = 8 }; // of a report

// NULL: not known yet. It is searched for once, because it is never unloaded.
static const struct lr_module *own_module(void) {
    static _Atomic(const struct lr_module *) kept;
    const struct lr_module *own = lr_load_acquire(&kept);
    if (own == NULL) {
        own = lr_module_find((size_t)lr_unwind);
        lr_store_release(&kept, own); // pairs with the load above: what it points to
    }
    return own;
}

// How many of the innermost frames are Larder's own. In a static executable they cannot be told
// from the program's by their mapping: there it is none, and `larder profile` knows them by their
// names.
unsigned lr_frames_own(const size_t *pcs, unsigned depth) {
    const struct lr_module *own = own_module();
    const size_t entry = lr_os_program_entry();
    unsigned count = 0;
    if (own == NULL || (entry >= own->start && entry < own->end)) {
        return 0;
    }
    while (count < depth && pcs[count] >= own->start && pcs[count] < own->end) {
        count++;
    }
    return count;
}

struct place_search {
    struct lr_print *print;
    size_t pc;
};

static void print_place(const struct lr_os_mapping *mapping, void *context) {
    struct place_search *search = context;
    if (search->pc >= mapping->start && search->pc < mapping->end) {
        lr_print_f(search->print, "      %s+0x%zx\n", mapping->path,
                   search->pc - 1 - mapping->start + mapping->offset);
    }
}

void lr_frames_print(struct lr_print *p, const size_t *pcs, unsigned depth) {
    for (unsigned i = 0; i < depth; i++) {
        struct place_search search = {.print = p, .pc = pcs[i]};
        (void)lr_os_each_mapping(print_place, &search);
    }
}

void lr_frames_print_callers(struct lr_print *p) {
    size_t pcs[2 * CALLERS];
    unsigned depth = lr_unwind(pcs, 2 * CALLERS);
    unsigned own = lr_frames_own(pcs, depth);
    if (depth > own) {
        lr_print_str(p, "  called at\n");
        lr_frames_print(p, pcs + own, (unsigned)lr_min(depth - own, CALLERS));
    }
}
