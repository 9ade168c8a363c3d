// SPDX-License-Identifier: Apache-2.0
//
// misuse            lists its cases, one a line: kind, size, what is done
// misuse KIND SIZE  does one wrong thing with a block of SIZE bytes, works on for a while, and
//                   returns 0 if it is still alive
//
// It is linked with no allocator: the one to try is preloaded. `table` runs all cases.
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static size_t size;

// Keeps the compiler from seeing what the program does.
static void *opaque(void *p) {
    __asm__ volatile("" : "+r"(p)::"memory");
    return p;
}

static char *block(void) {
    char *const p = malloc(size);
    if (p == NULL)
        exit(2);
    memset(p, 'a', size);
    return opaque(p);
}

static void release(void *p) { free(opaque(p)); }

// What a program does that has not noticed: blocks of this size and of others come and go.
static void work_on(void) {
    enum { COUNT = 64 };
    static void *kept[COUNT];
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            const size_t bytes = i % 4 != 0 ? size : 16 + 40 * (size_t)i;
            kept[i] = malloc(bytes);
            if (kept[i] != NULL)
                memset(kept[i], 'b', bytes);
        }
        for (unsigned i = 0; i < COUNT; i++)
            release(kept[(i * 7) % COUNT]);
    }
}

// ---- Freed twice ----

static void twice(void) {
    char *const p = block();
    release(p);
    release(p);
}

static void twice_written_between(void) {
    char *const p = block(), *const pin = block();
    release(p);
    memset(opaque(p + 8), 'x', 8); // where some allocators keep a mark of free blocks
    release(p);
    release(pin);
}

static void twice_by_alias(void) {
    char *const p = block();
    release(p);
    char *const q = block(); // may be where p was
    release(p);
    release(q);
}

static void twice_one_between(void) {
    char *const p = block(), *const q = block();
    release(p);
    release(q);
    release(p);
}

static void twice_many_between(void) {
    enum { COUNT = 40 };
    char *const p = block();
    static char *others[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        others[i] = block();
    release(p);
    for (unsigned i = 0; i < COUNT; i++)
        release(others[i]);
    release(p);
}

static void *release_there(void *p) {
    release(p);
    return NULL;
}

static void in_thread(void *(*run)(void *), void *p) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, p) != 0 || pthread_join(thread, NULL) != 0)
        exit(2);
}

static void twice_by_two_threads(void) {
    char *const p = block();
    in_thread(release_there, p);
    release(p);
}

static void twice_by_threads_that_end(void) {
    char *const p = block();
    in_thread(release_there, p);
    in_thread(release_there, p);
}

static void freed_after_realloc(void) {
    char *const p = block();
    char *const pin = block(); // so that p cannot grow where it is
    char *const q = realloc(p, 4 * size);
    if (q != p)
        release(p);
    else
        release(q); // it could after all: the same mistake of a program that kept both
    release(q);
    release(pin);
}

static void twice_with_work_between(void) {
    char *const p = block(), *const pin = block();
    release(p);
    for (unsigned i = 0; i < 100; i++)
        release(malloc(64 * (size_t)i + 2 * size));
    release(p);
    release(pin);
}

// ---- Freed, but no block ----

static void inside(void) { release(block() + 16); }
static void inside_unaligned(void) { release(block() + 1); }
static void half_way(void) { release(block() + (size / 2 | 15) + 1); }
// The bytes before it look like those that allocators with headers write.
static void inside_forged(void) {
    char *const p = block();
    const size_t header[2] = {0, 0x20 | 1};
    for (size_t at = 0; at + sizeof header <= (size < 200 ? size : 200); at += 16)
        memcpy(p + at, header, sizeof header);
    release(p + 16);
}
static void before(void) { release(block() - 16); }
static void on_the_stack(void) {
    char bytes[64] __attribute__((aligned(16)));
    release(bytes);
}
static void on_the_stack_forged(void) {
    size_t words[64] __attribute__((aligned(16))) = {0};
    for (unsigned i = 1; i < 64; i += 4)
        words[i] = 0x20 | 1; // a chain of headers
    release(&words[2]);
}
static void of_the_program(void) {
    static char bytes[64] __attribute__((aligned(16)));
    release(bytes);
}
static void of_a_mapping(void) {
    char *const p = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    release(p + 4096);
}
static void a_number(void) { release((void *)(uintptr_t)0x1230); }
static void no_address(void) { release((void *)(uintptr_t)0xdead00000000be50); }

// ---- Resized, but no block ----

static void realloc_freed(void) {
    char *const p = block(), *const pin = block();
    release(p);
    release(realloc(opaque(p), 2 * size));
    release(pin);
}
static void realloc_freed_same_size(void) {
    char *const p = block(), *const pin = block();
    release(p);
    release(realloc(opaque(p), size));
    release(pin);
}
static void realloc_inside(void) { release(realloc(opaque(block() + 16), 2 * size)); }
static void realloc_on_the_stack(void) {
    char bytes[64] __attribute__((aligned(16)));
    release(realloc(opaque(bytes), size));
}

// ---- Written where it must not ----

static void end_by_one(void) {
    char *const p = block();
    p[malloc_usable_size(p)] = 'x';
    release(p);
}

static void end_by_words(void) {
    char *const p = block(), *const q = block();
    memset(p + size, 'x', 32);
    release(p);
    release(q);
}

static void end_by_pages(void) {
    char *const p = block(), *const q = block();
    memset(p + size, 'x', 3 * 8192);
    release(p);
    release(q);
}

static void start_by_words(void) {
    char *const p = block(), *const q = block(), *const r = block();
    memset(q - 16, 'x', 16);
    release(q);
    release(p);
    release(r);
}

static void never_freed_end(void) {
    char *const p = block();
    memset(p + malloc_usable_size(p), 'x', 8);
}

static void freed_write(void) {
    char *const p = block(), *const pin = block();
    release(p);
    memset(opaque(p), 'x', 16);
    release(pin);
}

static void freed_write_further(void) {
    char *const p = block(), *const pin = block();
    release(p);
    p[size / 2] = 'x';
    release(pin);
}

// Ends by a fault, or by a signal of its own if what the program wrote is gone. Whether an
// allocator can make the difference is the question; a program could not know.
static void freed_read(void) {
    char *const p = block(), *const pin = block();
    release(p);
    if (*(volatile char *)opaque(p + size / 2) == 0)
        abort();
    release(pin);
}

static void nothing(void) {
    char *const p = block(), *const q = block();
    release(p);
    release(realloc(q, 2 * size));
}

static const struct kind {
    const char *name;
    void (*run)(void);
    const char *what;
    int all_sizes;
} kinds[] = {
#define SIZES(function, what)                                                                      \
    { #function, function, what, 1 }
#define ONCE(function, what)                                                                       \
    { #function, function, what, 0 }
    SIZES(twice, "free twice in a row"),
    SIZES(twice_one_between, "free twice, another block of the size in between"),
    SIZES(twice_written_between, "free twice, the block written to in between"),
    SIZES(twice_by_alias, "free twice, its size taken again in between, and freed"),
    SIZES(twice_many_between, "free twice, forty in between"),
    SIZES(twice_with_work_between, "free twice, blocks of other sizes in between"),
    SIZES(twice_by_two_threads, "free by another thread, then by this one"),
    SIZES(twice_by_threads_that_end, "free by a thread, then by another"),
    SIZES(freed_after_realloc, "free the old pointer after realloc"),
    SIZES(inside, "free 16 bytes into a block"),
    SIZES(inside_unaligned, "free 1 byte into a block"),
    SIZES(half_way, "free the middle of a block"),
    SIZES(inside_forged, "free 16 bytes into a block, behind a forged header"),
    SIZES(before, "free 16 bytes before a block"),
    ONCE(on_the_stack, "free an array on the stack"),
    ONCE(on_the_stack_forged, "free an array on the stack, behind a forged header"),
    ONCE(of_the_program, "free a static array"),
    ONCE(of_a_mapping, "free a mapping of the program"),
    ONCE(a_number, "free a small number"),
    ONCE(no_address, "free what cannot be an address"),
    SIZES(realloc_freed, "realloc a freed block to twice its size"),
    SIZES(realloc_freed_same_size, "realloc a freed block to its size"),
    SIZES(realloc_inside, "realloc 16 bytes into a block"),
    ONCE(realloc_on_the_stack, "realloc an array on the stack"),
    SIZES(end_by_one, "write the byte behind the usable size, free"),
    SIZES(end_by_words, "write 32 bytes behind the end, free it and the next"),
    SIZES(end_by_pages, "write 24 KiB behind the end, free it and the next"),
    SIZES(start_by_words, "write 16 bytes before the start, free"),
    SIZES(never_freed_end, "write behind the end, never free"),
    SIZES(freed_write, "write to the start of a freed block"),
    SIZES(freed_write_further, "write to the middle of a freed block"),
    SIZES(freed_read, "read a freed block, which is not as it was"),
    SIZES(nothing, "no misuse"),
};

static const size_t sizes[] = {24, 100, 1000, 10000, 100000, 1000000};

int main(int argc, char **argv) {
    enum { KINDS = sizeof kinds / sizeof kinds[0], SIZE_COUNT = sizeof sizes / sizeof sizes[0] };
    for (unsigned k = 0; k < KINDS; k++) {
        if (argc == 3 && strcmp(argv[1], kinds[k].name) == 0) {
            size = strtoul(argv[2], NULL, 10);
            kinds[k].run();
            work_on();
            return 0;
        }
        for (unsigned s = 0; argc == 1 && s < (kinds[k].all_sizes ? (unsigned)SIZE_COUNT : 1); s++)
            printf("%s\t%zu\t%s\n", kinds[k].name, sizes[s], kinds[k].what);
    }
    return argc == 1 ? 0 : 2;
}
