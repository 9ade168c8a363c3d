// SPDX-License-Identifier: Apache-2.0
#include "tool/symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool/profile_data.h"

struct symbol {
    uint64_t start, end;
    const char *name;
};

struct image {
    char *path;
    unsigned char *bytes; // the whole file, kept for the names; NULL: not usable
    size_t size;
    struct symbol *symbols; // by address
    size_t count;
    struct image *next;
};

static struct image *images;

static bool inside(const struct image *image, uint64_t offset, uint64_t bytes) {
    return offset <= image->size && bytes <= image->size - offset;
}

static int compare(const void *a, const void *b) {
    const struct symbol *x = a;
    const struct symbol *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

// Terminals would obey other characters, and the file may be anybody's.
static void make_printable(unsigned char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        text[i] = text[i] == '\0' || (text[i] >= ' ' && text[i] <= '~') ? text[i] : '?';
    }
}

static void add_table(struct image *image, const Elf64_Shdr *table, const Elf64_Shdr *strings) {
    if (!inside(image, table->sh_offset, table->sh_size) ||
        !inside(image, strings->sh_offset, strings->sh_size) || strings->sh_size == 0 ||
        image->bytes[strings->sh_offset + strings->sh_size - 1] != '\0') {
        return;
    }
    make_printable(image->bytes + strings->sh_offset, strings->sh_size);
    for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= table->sh_size; at += sizeof(Elf64_Sym)) {
        Elf64_Sym entry;
        memcpy(&entry, image->bytes + table->sh_offset + at, sizeof entry);
        const unsigned type = ELF64_ST_TYPE(entry.st_info);
        if ((type == STT_FUNC || type == STT_GNU_IFUNC) && entry.st_value != 0 &&
            entry.st_name < strings->sh_size) {
            image->symbols = lr_profile_grow(image->symbols, image->count, sizeof *image->symbols);
            image->symbols[image->count++] = (struct symbol){
                .start = entry.st_value,
                .end = entry.st_value + (entry.st_size != 0 ? entry.st_size : 1),
                .name = (const char *)image->bytes + strings->sh_offset + entry.st_name};
        }
    }
}

static void read_tables(struct image *image) {
    Elf64_Ehdr header;
    if (!inside(image, 0, sizeof header)) {
        return;
    }
    memcpy(&header, image->bytes, sizeof header);
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_shentsize != sizeof(Elf64_Shdr) ||
        !inside(image, header.e_shoff, (uint64_t)header.e_shnum * sizeof(Elf64_Shdr))) {
        return;
    }
    for (unsigned i = 0; i < header.e_shnum; i++) {
        Elf64_Shdr table;
        Elf64_Shdr strings;
        memcpy(&table, image->bytes + header.e_shoff + i * sizeof table, sizeof table);
        if ((table.sh_type == SHT_SYMTAB || table.sh_type == SHT_DYNSYM) &&
            table.sh_link < header.e_shnum) {
            memcpy(&strings, image->bytes + header.e_shoff + table.sh_link * sizeof strings,
                   sizeof strings);
            add_table(image, &table, &strings);
        }
    }
    if (image->count > 0) {
        qsort(image->symbols, image->count, sizeof *image->symbols, compare);
    }
}

static void load(struct image *image, const char *path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    if (fd < 0) {
        return;
    }
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
        image->bytes = malloc((size_t)status.st_size);
        while (image->bytes != NULL && image->size < (size_t)status.st_size) {
            const ssize_t got =
                read(fd, image->bytes + image->size, (size_t)status.st_size - image->size);
            if (got <= 0) {
                break;
            }
            image->size += (size_t)got;
        }
    }
    close(fd);
    if (image->bytes != NULL) {
        read_tables(image);
    }
}

static struct image *image_of(const char *root, const char *path) {
    for (struct image *image = images; image != NULL; image = image->next) {
        if (strcmp(image->path, path) == 0) {
            return image;
        }
    }
    struct image *image = lr_profile_grow(NULL, 0, sizeof *image);
    *image = (struct image){.path = strdup(path), .next = images};
    char *full = NULL;
    if (image->path == NULL || asprintf(&full, "%s%s", root, path) < 0) {
        free(image);
        return NULL;
    }
    images = image;
    load(image, full);
    free(full);
    return image;
}

// Where the file's offset lies once it is loaded; 0: nowhere.
static uint64_t address_of(const struct image *image, uint64_t offset) {
    Elf64_Ehdr header;
    if (!inside(image, 0, sizeof header)) {
        return 0;
    }
    memcpy(&header, image->bytes, sizeof header);
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        const uint64_t at = header.e_phoff + (uint64_t)i * sizeof segment;
        if (!inside(image, at, sizeof segment)) {
            break;
        }
        memcpy(&segment, image->bytes + at, sizeof segment);
        if (segment.p_type == PT_LOAD && offset >= segment.p_offset &&
            offset - segment.p_offset < segment.p_filesz) {
            return segment.p_vaddr + (offset - segment.p_offset);
        }
    }
    return 0;
}

const char *lr_symbol_find(const char *root, const char *path, uint64_t offset) {
    const struct image *image = image_of(root, path);
    if (image == NULL || image->count == 0) {
        return NULL;
    }
    const uint64_t address = address_of(image, offset);
    size_t low = 0;
    size_t high = image->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (image->symbols[middle].start <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    // Of several names for one place the last that reaches as far.
    for (size_t i = low; i-- > 0 && low - i < 8;) {
        if (address < image->symbols[i].end) {
            return image->symbols[i].name;
        }
    }
    return NULL;
}

const char *lr_symbol_unknown(const char *path, uint64_t offset) {
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    static char **texts; // reachable, so that leak checkers see what they are
    static size_t count;
    char *text = NULL;
    const int length = *name != '\0' ? asprintf(&text, "[%s+0x%" PRIx64 "]", name, offset)
                                     : asprintf(&text, "[0x%" PRIx64 "]", offset);
    if (length <= 0) {
        return "[?]";
    }
    make_printable((unsigned char *)text, (size_t)length);
    texts = lr_profile_grow(texts, count, sizeof(void *));
    texts[count++] = text;
    return text;
}
