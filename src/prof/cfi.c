// SPDX-License-Identifier: Apache-2.0
// A reader of DWARF call frame information as compilers write it for x86-64.
#include "prof/cfi.h"

#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/config.h"
#include "heap/meta.h"
#include "os/os.h"
#include "prof/module.h"

#if defined(__x86_64__)

enum {
    ENTRY_MOST = 1024, // bytes of a CIE or FDE that are read; longer ones describe huge functions
    ROWS_MOST = 8,     // nesting of remember_state
    REG_FRAME = 6,     // DWARF's numbers: rbp, rsp, the return address
    REG_STACK = 7,
    REG_RETURN = 16,
};

enum opcode {
    OP_NOP = 0x00,
    OP_SET_LOC = 0x01,
    OP_ADVANCE1 = 0x02,
    OP_ADVANCE2 = 0x03,
    OP_ADVANCE4 = 0x04,
    OP_OFFSET_EXTENDED = 0x05,
    OP_RESTORE_EXTENDED = 0x06,
    OP_UNDEFINED = 0x07,
    OP_SAME_VALUE = 0x08,
    OP_REGISTER = 0x09,
    OP_REMEMBER = 0x0a,
    OP_RESTORE_STATE = 0x0b,
    OP_DEF_CFA = 0x0c,
    OP_DEF_CFA_REGISTER = 0x0d,
    OP_DEF_CFA_OFFSET = 0x0e,
    OP_DEF_CFA_EXPRESSION = 0x0f,
    OP_EXPRESSION = 0x10,
    OP_OFFSET_EXTENDED_SF = 0x11,
    OP_DEF_CFA_SF = 0x12,
    OP_DEF_CFA_OFFSET_SF = 0x13,
    OP_VAL_OFFSET = 0x14,
    OP_VAL_EXPRESSION = 0x16,
    OP_GNU_ARGS_SIZE = 0x2e,
    // In the two high bits, with an operand in the low six.
    OP_ADVANCE = 0x40,
    OP_OFFSET = 0x80,
    OP_RESTORE = 0xc0,
};

struct bytes {
    const uint8_t *at;
    const uint8_t *end;
    bool bad; // read beyond the end
};

static uint64_t read_fixed(struct bytes *b, unsigned width) {
    uint64_t value = 0;
    if ((size_t)(b->end - b->at) < width) {
        b->bad = true;
        b->at = b->end;
        return 0;
    }
    memcpy(&value, b->at, width); // little-endian, as the machine
    b->at += width;
    return value;
}

static uint64_t read_leb(struct bytes *b, bool is_signed) {
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte = 0;
    do {
        byte = (uint8_t)read_fixed(b, 1);
        if (shift < 64) {
            value |= (uint64_t)(byte & 0x7f) << shift;
        }
        shift += 7;
    } while ((byte & 0x80) != 0 && !b->bad);
    if (is_signed && shift < 64 && (byte & 0x40) != 0) {
        value |= ~(uint64_t)0 << shift;
    }
    return value;
}

static void skip(struct bytes *b, uint64_t count) {
    uint64_t left = (uint64_t)(b->end - b->at);
    b->bad |= count > left;
    b->at += lr_min(count, left);
}

struct row {
    uint64_t cfa_register;
    int64_t cfa_offset;
    int64_t frame_pointer;
    int64_t return_address;
    bool saved;
    bool no_return; // the return address is undefined: the outermost frame
    bool foreign;   // a rule that this reader does not do
};

struct program {
    uint64_t code_align;
    int64_t data_align;
    struct row row;
    struct row initial; // after the CIE's instructions
    struct row stack[ROWS_MOST];
    unsigned depth;
    size_t location;
    size_t wanted; // the address whose row is asked for
};

static void set_saved(struct program *p, uint64_t reg, int64_t offset) {
    if (reg == REG_FRAME) {
        p->row.saved = true;
        p->row.frame_pointer = offset;
    } else if (reg == REG_RETURN) {
        p->row.no_return = false;
        p->row.return_address = offset;
    }
}

static void set_restored(struct program *p, uint64_t reg) {
    if (reg == REG_FRAME) {
        p->row.saved = p->initial.saved;
        p->row.frame_pointer = p->initial.frame_pointer;
    } else if (reg == REG_RETURN) {
        p->row.no_return = p->initial.no_return;
        p->row.return_address = p->initial.return_address;
    }
}

static void define_cfa(struct program *p, uint64_t reg, int64_t offset) {
    p->row.cfa_register = reg;
    p->row.cfa_offset = offset;
    p->row.foreign = reg != REG_FRAME && reg != REG_STACK;
}

// The instructions that say where the caller's stack pointer is. False: none of them.
static bool run_define_cfa(struct program *p, struct bytes *b, uint8_t op) {
    uint64_t reg;
    switch (op) {
    case OP_DEF_CFA:
        reg = read_leb(b, false);
        define_cfa(p, reg, (int64_t)read_leb(b, false));
        return true;
    case OP_DEF_CFA_SF:
        reg = read_leb(b, false);
        define_cfa(p, reg, (int64_t)read_leb(b, true) * p->data_align);
        return true;
    case OP_DEF_CFA_REGISTER:
        define_cfa(p, read_leb(b, false), p->row.cfa_offset);
        return true;
    case OP_DEF_CFA_OFFSET:
        define_cfa(p, p->row.cfa_register, (int64_t)read_leb(b, false));
        return true;
    case OP_DEF_CFA_OFFSET_SF:
        define_cfa(p, p->row.cfa_register, (int64_t)read_leb(b, true) * p->data_align);
        return true;
    default:
        return false;
    }
}

// Rules that this reader does not do: they matter for the registers that it follows alone. False:
// none of them.
static bool run_foreign(struct program *p, struct bytes *b, uint8_t op) {
    uint64_t reg;
    switch (op) {
    case OP_REGISTER:
        reg = read_leb(b, false);
        (void)read_leb(b, false);
        p->row.foreign |= reg == REG_FRAME || reg == REG_RETURN;
        return true;
    case OP_EXPRESSION:
    case OP_VAL_EXPRESSION:
        reg = read_leb(b, false);
        skip(b, read_leb(b, false));
        p->row.foreign |= reg == REG_FRAME || reg == REG_RETURN;
        return true;
    case OP_VAL_OFFSET:
        reg = read_leb(b, false);
        (void)read_leb(b, false);
        p->row.foreign |= reg == REG_FRAME || reg == REG_RETURN;
        return true;
    case OP_DEF_CFA_EXPRESSION:
        skip(b, read_leb(b, false));
        p->row.foreign = true;
        return true;
    default:
        return false;
    }
}

// The other instructions with operands of their own. False: unknown.
static bool run_extended(struct program *p, struct bytes *b, uint8_t op) {
    uint64_t reg;
    switch (op) {
    case OP_NOP:
        return true;
    case OP_ADVANCE1:
    case OP_ADVANCE2:
    case OP_ADVANCE4:
        p->location += read_fixed(b, 1U << (op - OP_ADVANCE1)) * p->code_align;
        return true;
    case OP_OFFSET_EXTENDED:
        reg = read_leb(b, false);
        set_saved(p, reg, (int64_t)read_leb(b, false) * p->data_align);
        return true;
    case OP_OFFSET_EXTENDED_SF:
        reg = read_leb(b, false);
        set_saved(p, reg, (int64_t)read_leb(b, true) * p->data_align);
        return true;
    case OP_RESTORE_EXTENDED:
        set_restored(p, read_leb(b, false));
        return true;
    case OP_UNDEFINED:
        reg = read_leb(b, false);
        p->row.no_return |= reg == REG_RETURN;
        p->row.foreign |= reg == REG_FRAME;
        return true;
    case OP_SAME_VALUE:
        if (read_leb(b, false) == REG_FRAME) {
            p->row.saved = false;
        }
        return true;
    case OP_REMEMBER:
        if (p->depth == ROWS_MOST) {
            return false;
        }
        p->stack[p->depth++] = p->row;
        return true;
    case OP_RESTORE_STATE:
        if (p->depth == 0) {
            return false;
        }
        p->row = p->stack[--p->depth];
        return true;
    case OP_GNU_ARGS_SIZE:
        (void)read_leb(b, false);
        return true;
    default:
        return false;
    }
}

// Up to the row of the wanted address. False: not understood.
static bool run(struct program *p, struct bytes *b) {
    while (b->at < b->end && !b->bad) {
        uint8_t byte = (uint8_t)read_fixed(b, 1);
        uint8_t operand = byte & 0x3f;
        struct row before = p->row;
        size_t location = p->location;
        bool known = true;
        switch (byte & 0xc0) {
        case OP_ADVANCE:
            p->location += operand * p->code_align;
            break;
        case OP_OFFSET:
            set_saved(p, operand, (int64_t)read_leb(b, false) * p->data_align);
            break;
        case OP_RESTORE:
            set_restored(p, operand);
            break;
        default:
            known =
                run_define_cfa(p, b, byte) || run_foreign(p, b, byte) || run_extended(p, b, byte);
        }
        if (!known) {
            return false;
        }
        if (p->location != location && p->location > p->wanted) {
            p->row = before;
            return true;
        }
    }
    return !b->bad;
}

struct entry {
    uint8_t data[ENTRY_MOST];
    struct bytes body; // behind length and id
    size_t id_address;
    uint32_t id;
};

static bool load(struct entry *e, size_t address) {
    size_t got = lr_os_peek(e->data, (void *)address, sizeof e->data);
    uint32_t length;
    if (got < 8) {
        return false;
    }
    memcpy(&length, e->data, sizeof length);
    memcpy(&e->id, e->data + 4, sizeof e->id);
    if (length < 4 || length > got - 4) { // also the 64-bit form and the terminator
        return false;
    }
    e->id_address = address + 4;
    e->body = (struct bytes){.at = e->data + 8, .end = e->data + 4 + length};
    return true;
}

// Reads the CIE up to its instructions. Of the augmentation "z", "R" alone matters: how the FDE's
// addresses are written. False: not understood.
static bool read_cie(struct entry *cie, struct program *p, uint8_t *encoding) {
    struct bytes *b = &cie->body;
    uint64_t version = read_fixed(b, 1);
    const char *augmentation = (const char *)b->at;
    size_t length = strnlen(augmentation, (size_t)(b->end - b->at));
    skip(b, length + 1);
    p->code_align = read_leb(b, false);
    p->data_align = (int64_t)read_leb(b, true);
    uint64_t return_register = version == 1 ? read_fixed(b, 1) : read_leb(b, false);
    if (b->bad || cie->id != 0 || return_register != REG_RETURN || augmentation[0] != 'z') {
        return false;
    }
    uint64_t bytes = read_leb(b, false);
    const uint8_t *instructions = b->at + lr_min(bytes, (uint64_t)(b->end - b->at));
    for (const char *a = augmentation + 1; *a != '\0'; a++) {
        uint8_t personality;
        switch (*a) {
        case 'R':
            *encoding = (uint8_t)read_fixed(b, 1);
            break;
        case 'L':
            (void)read_fixed(b, 1);
            break;
        case 'P':
            personality = (uint8_t)read_fixed(b, 1);
            skip(b, (personality & 0x0f) == 0x0b || (personality & 0x0f) == 0x03 ? 4 : 8);
            break;
        default: // 'S': a signal frame, whose registers are elsewhere
            return false;
        }
    }
    b->at = instructions;
    return !b->bad;
}

bool lr_cfi_read(size_t fde_address, size_t address, struct lr_frame_rule *out) {
    struct entry cie;
    struct entry fde;
    struct program p = {.wanted = SIZE_MAX};
    uint8_t encoding = 0;
    if (!load(&fde, fde_address) || fde.id == 0 || !load(&cie, fde.id_address - fde.id) ||
        !read_cie(&cie, &p, &encoding) || encoding != 0x1b || !run(&p, &cie.body)) {
        return false;
    }
    p.initial = p.row;
    p.wanted = address;
    // pcrel, sdata4
    p.location = fde.id_address + 4 + (size_t)(int32_t)read_fixed(&fde.body, 4);
    size_t size = read_fixed(&fde.body, 4);
    if (fde.body.bad || address - p.location >= size) {
        return false;
    }
    skip(&fde.body, read_leb(&fde.body, false));
    if (!run(&p, &fde.body)) {
        return false;
    }
    *out = (struct lr_frame_rule){.by_frame_pointer = p.row.cfa_register == REG_FRAME,
                                  .saved = p.row.saved,
                                  .outermost = p.row.no_return,
                                  .offset = (int32_t)p.row.cfa_offset,
                                  .frame_pointer = (int32_t)p.row.frame_pointer};
    return p.row.no_return || (!p.row.foreign && p.row.return_address == -8);
}

// The FDE of the last function that begins at or before the address; 0: none.
static size_t find_fde(const struct lr_module *module, size_t address) {
    struct {
        int32_t function;
        int32_t fde;
    } entry;
    int64_t wanted = (int64_t)(address - module->header);
    size_t low = 0;
    size_t high = module->count;
    size_t found = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (lr_os_peek(&entry, (void *)(module->table + middle * sizeof entry), sizeof entry) !=
            sizeof entry) {
            return 0;
        }
        if (entry.function <= wanted) {
            found = module->header + (size_t)(ptrdiff_t)entry.fde;
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return found;
}

// ---- Rules by address: a direct-mapped table, two words an entry ----
//
// A reader that sees the words of two writers finds that they do not fit: the second is the address
// xor the rule.

enum { KEPT = 1 << 12 };

struct kept_rule {
    atomic_u64 rule;
    atomic_u64 check;
};

static _Atomic(struct kept_rule *) kept;

enum { BIT_UNKNOWN = 1, BIT_FRAME_POINTER = 2, BIT_SAVED = 4, BIT_OUTERMOST = 8 };

static uint64_t pack(bool known, const struct lr_frame_rule *rule) {
    if (!known) {
        return BIT_UNKNOWN;
    }
    return (uint64_t)(rule->by_frame_pointer ? BIT_FRAME_POINTER : 0) |
           (uint64_t)(rule->saved ? BIT_SAVED : 0) |
           (uint64_t)(rule->outermost ? BIT_OUTERMOST : 0) |
           (uint64_t)((uint32_t)rule->offset & 0x0fffffff) << 4 |
           (uint64_t)(uint32_t)rule->frame_pointer << 32;
}

static bool unpack(uint64_t word, struct lr_frame_rule *out) {
    *out = (struct lr_frame_rule){
        .by_frame_pointer = (word & BIT_FRAME_POINTER) != 0,
        .saved = (word & BIT_SAVED) != 0,
        .outermost = (word & BIT_OUTERMOST) != 0,
        .offset = (int32_t)((uint32_t)word) >> 4,
        .frame_pointer = (int32_t)(uint32_t)(word >> 32),
    };
    return (word & BIT_UNKNOWN) == 0;
}

static struct kept_rule *kept_place(size_t address) {
    struct kept_rule *table = lr_load_acquire(&kept);
    if (table == NULL) {
        struct kept_rule *made = lr_meta_alloc(KEPT * sizeof *made);
        if (made == NULL) {
            return NULL;
        }
        memset(made, 0, KEPT * sizeof *made);
        // Release, with the acquire above: the zeros. The loser of a race uses the winner's, which
        // is why a failed exchange acquires too.
        if (lr_cas_acq_rel(&kept, &table, made)) {
            table = made;
        } else {
            lr_meta_free(made, KEPT * sizeof *made);
        }
    }
    return &table[((uint64_t)address * 0x9E3779B97F4A7C15ULL) >> (64 - 12)];
}

static_assert(KEPT == 1 << 12, "the shift above");

bool lr_cfi_find(size_t address, struct lr_frame_rule *out) {
    struct kept_rule *place = kept_place(address);
    if (place != NULL) {
        uint64_t word = lr_load_relaxed(&place->rule);
        if ((lr_load_relaxed(&place->check) ^ word) == address) {
            return unpack(word, out);
        }
    }
    const struct lr_module *module = lr_module_find(address);
    size_t fde = module != NULL && module->count > 0 ? find_fde(module, address) : 0;
    bool known = fde != 0 && lr_cfi_read(fde, address, out);
    if (place != NULL && module != NULL) {
        uint64_t word = pack(known, out);
        lr_store_relaxed(&place->rule, word);
        lr_store_relaxed(&place->check, word ^ address);
    }
    return known;
}

#else

bool lr_cfi_read(size_t fde, size_t address, struct lr_frame_rule *out) {
    (void)fde;
    (void)address;
    (void)out;
    return false;
}

bool lr_cfi_find(size_t address, struct lr_frame_rule *out) { return lr_cfi_read(0, address, out); }

#endif
