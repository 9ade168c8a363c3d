// SPDX-License-Identifier: Apache-2.0
#include "tool/elf_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct file {
    char *bytes;
    size_t size;
};

// NULL, or what is wrong.
static const char *map(const char *path, struct file *out) {
    struct stat status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *wrong = NULL;
    if (fd < 0 || fstat(fd, &status) != 0) {
        wrong = strerror(errno);
    } else if (!S_ISREG(status.st_mode)) {
        wrong = "it is no file";
    } else if ((size_t)status.st_size < sizeof(Elf64_Ehdr)) {
        wrong = "it is no library (ELF)";
    } else {
        out->size = (size_t)status.st_size;
        void *bytes = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, fd, 0);
        wrong = bytes == MAP_FAILED ? strerror(errno) : NULL;
        out->bytes = bytes;
    }
    if (fd >= 0) {
        close(fd);
    }
    return wrong;
}

static void unmap(const struct file *file) { munmap(file->bytes, file->size); }

#if defined(__x86_64__)
enum { OWN_MACHINE = EM_X86_64 };
#else
enum { OWN_MACHINE = EM_AARCH64 };
#endif

static bool inside(const struct file *file, uint64_t offset, uint64_t bytes) {
    return offset <= file->size && bytes <= file->size - offset;
}

// Row `index` of a table in the file, all zero beyond its end.
static void row(const struct file *file, uint64_t offset, uint64_t index, size_t bytes, void *out) {
    const uint64_t at = offset + index * bytes;
    memset(out, 0, bytes);
    if (inside(file, at, bytes)) {
        memcpy(out, file->bytes + at, bytes);
    }
}

static const char *check_header(const struct file *file, Elf64_Ehdr *out) {
    row(file, 0, 0, sizeof *out, out);
    if (memcmp(out->e_ident, ELFMAG, SELFMAG) != 0) {
        return "it is no library (ELF)";
    }
    if (out->e_ident[EI_CLASS] != ELFCLASS64) {
        return "it has 32 bits";
    }
    return out->e_machine == OWN_MACHINE ? NULL : "it is for another kind of processor";
}

static bool defines(const struct file *file, const Elf64_Ehdr *header, const Elf64_Shdr *symbols,
                    const char *name) {
    Elf64_Shdr strings;
    Elf64_Sym symbol;
    row(file, header->e_shoff, symbols->sh_link, sizeof strings, &strings);
    for (uint64_t i = 0; i < symbols->sh_size / sizeof symbol; i++) {
        row(file, symbols->sh_offset, i, sizeof symbol, &symbol);
        if (symbol.st_shndx != SHN_UNDEF &&
            inside(file, strings.sh_offset + symbol.st_name, strlen(name) + 1) &&
            memcmp(file->bytes + strings.sh_offset + symbol.st_name, name, strlen(name) + 1) == 0) {
            return true;
        }
    }
    return false;
}

static const char *check_library(const struct file *file) {
    Elf64_Ehdr header;
    const char *wrong = check_header(file, &header);
    if (wrong != NULL) {
        return wrong;
    }
    for (unsigned i = 0; i < header.e_shnum; i++) {
        Elf64_Shdr section;
        row(file, header.e_shoff, i, sizeof section, &section);
        if (section.sh_type == SHT_DYNSYM && header.e_type == ET_DYN &&
            inside(file, section.sh_offset, section.sh_size) &&
            defines(file, &header, &section, "malloc")) {
            return NULL;
        }
    }
    return "it defines no malloc";
}

const char *lr_elf_no_malloc(const char *path) {
    struct file file = {.bytes = NULL};
    const char *wrong = map(path, &file);
    if (wrong == NULL) {
        wrong = check_library(&file);
        unmap(&file);
    }
    return wrong;
}

bool lr_elf_is_static(const char *path) {
    struct file file = {.bytes = NULL};
    Elf64_Ehdr header;
    if (map(path, &file) != NULL) {
        return false;
    }
    bool loads = check_header(&file, &header) != NULL; // the kernel has the last word on it
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        row(&file, header.e_phoff, i, sizeof segment, &segment);
        loads |= segment.p_type == PT_INTERP;
    }
    unmap(&file);
    return !loads;
}
