// SPDX-License-Identifier: Apache-2.0
#include "prof/module.h"

#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "heap/meta.h"
#include "os/os.h"

enum {
    MODULES_MOST = 4096,   // executable mappings of a process, unloaded ones included
    HEADERS_MOST = 32,     // program headers looked at
    PATH_KEPT = 128,       // bytes of a path that tell two files apart
    TABLE_ENCODING = 0x3b, // datarel, sdata4: what all linkers write
    COUNT_ENCODING = 0x03, // udata4
    PT_GNU_EH_FRAME_TYPE = 0x6474e550,
    PT_LOAD_TYPE = 1,
};

#define REFRESH_NS ((uint64_t)1000000000)

static struct lr_module *modules; // made by the first refresh; entries only appended
static atomic_u32 module_count;   // release: the entries below it are there
static atomic_u32 refreshing;     // process id of who does, 0: nobody; a forked child has another
static atomic_u64 next_refresh_ns;

const struct lr_module *lr_module_find(size_t address) {
    // Acquire pairs with the release of add(). The newest first: it may have an older one's place.
    for (uint32_t i = lr_load_acquire(&module_count); i > 0; i--) {
        const struct lr_module *module = &modules[i - 1];
        if (address >= module->start && address < module->end) {
            return module;
        }
    }
    return NULL;
}

// Of ELF, what is needed here; the library includes no <elf.h>, which belongs to the system.
struct elf_header {
    unsigned char ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct program_header {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

struct eh_frame_header {
    uint8_t version, frame_encoding, count_encoding, table_encoding;
    int32_t frame;
    uint32_t count;
};

// Finds the unwind table of the ELF file whose first page is mapped at `image`.
static void find_table(struct lr_module *module, size_t image) {
    struct elf_header elf;
    struct program_header headers[HEADERS_MOST];
    if (lr_os_peek(&elf, (void *)image, sizeof elf) != sizeof elf ||
        memcmp(elf.ident, "\177ELF\2\1", 6) != 0 || elf.phentsize != sizeof headers[0]) {
        return;
    }
    size_t count = lr_min(elf.phnum, HEADERS_MOST);
    size_t bytes = count * sizeof headers[0];
    if (lr_os_peek(headers, (void *)(image + elf.phoff), bytes) != bytes) {
        return;
    }
    size_t bias = image;
    size_t table = 0;
    for (size_t i = count; i-- > 0;) {
        if (headers[i].type == PT_LOAD_TYPE && headers[i].offset == 0) {
            bias = image - headers[i].vaddr;
        } else if (headers[i].type == PT_GNU_EH_FRAME_TYPE) {
            table = headers[i].vaddr;
        }
    }
    struct eh_frame_header frame;
    size_t at = bias + table;
    if (table != 0 && lr_os_peek(&frame, (void *)at, sizeof frame) == sizeof frame &&
        frame.version == 1 && frame.count_encoding == COUNT_ENCODING &&
        frame.table_encoding == TABLE_ENCODING && (frame.frame_encoding & 0x0f) == 0x0b) {
        module->header = at;
        module->table = at + sizeof frame;
        module->count = frame.count;
    }
}

struct walk {
    size_t image; // of the file at hand: where its first page is
    char path[PATH_KEPT];
};

static void add(const struct lr_os_mapping *mapping, void *context) {
    struct walk *walk = context;
    // The tail of a path tells more than its beginning.
    size_t length = strlen(mapping->path);
    const char *path = mapping->path + (length < PATH_KEPT ? 0 : length - PATH_KEPT + 1);
    bool same = *path != '\0' && strcmp(path, walk->path) == 0;
    if (!same || mapping->offset == 0) {
        memcpy(walk->path, path, strlen(path) + 1);
        walk->image = *path != '\0' && mapping->offset == 0 ? mapping->start : 0;
    }
    uint32_t count = lr_load_relaxed(&module_count); // one writer: `refreshing`
    if (!mapping->executable || count >= MODULES_MOST) {
        return;
    }
    struct lr_module module = {.start = mapping->start, .end = mapping->end};
    if (walk->image != 0) {
        find_table(&module, walk->image);
    }
    const struct lr_module *known = lr_module_find(module.start);
    if (known != NULL && memcmp(known, &module, sizeof module) == 0) {
        return;
    }
    modules[count] = module;
    lr_store_release(&module_count, count + 1); // pairs with lr_module_find()
}

bool lr_module_refresh(void) {
    uint64_t now = lr_os_now_ns();
    if (now < lr_load_relaxed(&next_refresh_ns)) {
        return false;
    }
    uint32_t own = lr_os_process_id();
    uint32_t other = lr_load_relaxed(&refreshing);
    if (other == own || !lr_cas_acquire(&refreshing, &other, own)) {
        return false;
    }
    if (modules == NULL) {
        modules = lr_meta_alloc(MODULES_MOST * sizeof *modules);
    }
    bool done = false;
    if (modules != NULL) {
        struct walk walk = {0};
        done = lr_os_each_mapping(add, &walk);
    }
    lr_store_relaxed(&next_refresh_ns, lr_os_now_ns() + REFRESH_NS);
    lr_store_release(&refreshing, 0); // pairs with the exchange above: modules, the count
    return done;
}
