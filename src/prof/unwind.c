// SPDX-License-Identifier: Apache-2.0
#include "prof/unwind.h"

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "os/os.h"
#include "prof/cfi.h"
#include "prof/module.h"

enum { WINDOW_BYTES = 1024 }; // a power of two, less than a page

// A frame longer than this ends the walk where only the frame pointer speaks of it.
#define FRAME_MOST ((size_t)1 << 20)

struct cursor {
    size_t pc;
    size_t stack_pointer;
    size_t frame_pointer;
    size_t readable; // stack from stack_pointer up to here may be read
    size_t window;   // address of what `words` is a copy of, for the stack beyond; 0: of nothing
    bool refreshed;
    size_t words[WINDOW_BYTES / sizeof(size_t)]; // not set at first
};

static void begin(struct cursor *c, size_t pc, size_t stack_pointer, size_t frame_pointer) {
    c->pc = pc;
    c->stack_pointer = stack_pointer;
    c->frame_pointer = frame_pointer;
    c->readable = 0; // nothing is known of that stack
    c->window = 0;
    c->refreshed = false;
}

// On aarch64 return addresses may be signed, in bits above those of addresses.
static size_t without_signature(size_t pc) {
#if defined(__aarch64__)
    register size_t link __asm__("x30") = pc;
    __asm__("hint #7" : "+r"(link)); // xpaclri; nothing on processors before ARMv8.3
    return link;
#else
    return pc;
#endif
}

// A word far from the stack that was seen: the pages in between, and another thread that unmaps
// this one, have to be reckoned with. Callers' frames lie close to each other, so that one copy
// serves several of them.
static bool read_far(struct cursor *c, size_t address, size_t *value) {
    const size_t window = address & ~((size_t)WINDOW_BYTES - 1); // inside of one page
    if (c->window != window) {
        c->window = 0;
        if (lr_os_peek(c->words, (void *)window, WINDOW_BYTES) != WINDOW_BYTES) {
            return false;
        }
        c->window = window;
    }
    *value = c->words[(address - window) / sizeof *value];
    return true;
}

// The word at `address`, which lies above the stack pointer. Pages of the stack are asked for once
// each: one that can be read now stays, because the thread that it belongs to is in this call.
static bool read_stack(struct cursor *c, size_t address, size_t *value) {
    if (address % sizeof *value != 0 || address < c->stack_pointer) {
        return false;
    }
    if (address >= c->readable) {
        size_t page = lr_os_page_bytes();
        if (address - c->readable >= page) {
            return read_far(c, address, value);
        }
        if (!lr_os_is_readable((void *)address)) {
            return false;
        }
        c->readable = (address | (page - 1)) + 1;
    }
    *value = *(const size_t *)address;
    return true;
}

static bool is_code(struct cursor *c, size_t address) {
    if (lr_module_find(address) != NULL) {
        return true;
    }
    // Once a walk: a library that was just loaded, code that was just made.
    if (c->refreshed || !lr_module_refresh()) {
        return false;
    }
    c->refreshed = true;
    return lr_module_find(address) != NULL;
}

static bool step_by_rule(struct cursor *c, const struct lr_frame_rule *rule) {
    size_t base = rule->by_frame_pointer ? c->frame_pointer : c->stack_pointer;
    size_t caller = base + (size_t)(ptrdiff_t)rule->offset;
    size_t pc;
    size_t frame_pointer = c->frame_pointer;
    if (rule->outermost || caller <= c->stack_pointer || !read_stack(c, caller - sizeof pc, &pc) ||
        (rule->saved &&
         !read_stack(c, caller + (size_t)(ptrdiff_t)rule->frame_pointer, &frame_pointer))) {
        return false;
    }
    c->pc = without_signature(pc);
    c->stack_pointer = caller;
    c->frame_pointer = frame_pointer;
    return true;
}

// The frame pointer leads to the caller's, and behind it lies the return address.
static bool step_by_frame_pointer(struct cursor *c) {
    size_t at = c->frame_pointer;
    size_t caller_frame;
    size_t pc;
    if (at < c->stack_pointer || at - c->stack_pointer > FRAME_MOST ||
        !read_stack(c, at, &caller_frame) || !read_stack(c, at + sizeof at, &pc)) {
        return false;
    }
    c->pc = without_signature(pc);
    c->stack_pointer = at + 2 * sizeof at;
    c->frame_pointer = caller_frame;
    return true;
}

static unsigned walk(struct cursor *c, size_t *pcs, unsigned most) {
    unsigned count = 0;
    while (count < most) {
        struct lr_frame_rule rule;
        // A return address may be the first one behind its function: one less is inside.
        bool known = lr_cfi_find(c->pc - 1, &rule);
        if (!known) {
            if (!is_code(c, c->pc)) {
                break;
            }
            known = lr_cfi_find(c->pc - 1, &rule); // is_code() may have learnt of its module
        }
        pcs[count++] = c->pc;
        if (!(known ? step_by_rule(c, &rule) : step_by_frame_pointer(c))) {
            break;
        }
    }
    return count;
}

LR_NOINLINE unsigned lr_unwind(size_t *pcs, unsigned most) {
    const size_t *frame = __builtin_frame_address(0);
    struct cursor c;
    begin(&c, without_signature(frame[1]), (size_t)(frame + 2), frame[0]);
    c.readable = (c.stack_pointer | (lr_os_page_bytes() - 1)) + 1;
    return walk(&c, pcs, most);
}

unsigned lr_unwind_from(const struct lr_os_registers *from, size_t *pcs, unsigned most) {
    struct cursor c;
    // As a return address, which lies behind its instruction.
    begin(&c, from->pc + 1, from->stack_pointer, from->frame_pointer);
    return walk(&c, pcs, most);
}
