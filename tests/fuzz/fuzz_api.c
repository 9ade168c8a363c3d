// SPDX-License-Identifier: Apache-2.0
//
// Sequences of calls of larder.h against a model that knows each live block: alignment, usable
// size, contents, no overlap; and the walk of the whole heap at the end of each sequence.
#include "fuzz.h"

#include <larder/ctl.h>
#include <larder/larder.h>

#include <string.h>

#include "../support/heap_check.h"
#include "conf/options.h"

enum { SLOTS = 64, LARGEST = 3 << 20, EDGE = 256 };

static struct block {
    unsigned char *at;
    size_t size;
    size_t align; // 0: of malloc
    bool resized; // of realloc, which loses what sized frees need to know
} blocks[SLOTS];

static unsigned char pattern(const struct block *b, size_t i) {
    return (unsigned char)(i * 31 + b->size * 7 + 1);
}

// Both ends, and a few places in between.
static size_t step_from(const struct block *b, size_t i) {
    return i < EDGE || i + EDGE > b->size ? 1 : (b->size - 2 * EDGE) / 7 + 1;
}

static void fill(const struct block *b) {
    for (size_t i = 0; i < b->size; i += step_from(b, i))
        b->at[i] = pattern(b, i);
}

// The first `bytes` are those of a block as `b` was.
static void expect_contents(const struct block *b, const unsigned char *at, size_t bytes) {
    for (size_t i = 0; i < bytes; i += step_from(b, i))
        MUST(at[i] == pattern(b, i));
}

static void adopt(struct block *b, void *at, size_t size, size_t align) {
    MUST(at != NULL);
    const size_t usable = larder_malloc_usable_size(at);
    MUST(usable >= size);
    MUST((size_t)at % (align > 16 ? align : 16) == 0);
    for (unsigned i = 0; i < SLOTS; i++) {
        const unsigned char *const other = blocks[i].at;
        MUST(other == NULL || other + blocks[i].size <= (unsigned char *)at ||
             (unsigned char *)at + usable <= other);
    }
    MUST(larder_object_size(at) == usable || larder_object_size(at) >= size);
    MUST(larder_object_size((char *)at + size / 2) >= size - size / 2);
    *b = (struct block){.at = at, .size = size, .align = align};
}

static void allocate(struct fuzz_input *in, struct block *b) {
    const unsigned kind = (unsigned)fuzz_below(in, 6);
    const size_t size = fuzz_size(in, fuzz_below(in, 8) == 0 ? LARGEST : 5000);
    const size_t align = kind < 3 ? 0 : (size_t)1 << fuzz_below(in, 22);
    void *at;
    switch (kind) {
    case 0:
        adopt(b, larder_calloc(1, size), size, 0);
        for (size_t i = 0; i < size; i += step_from(b, i))
            MUST(b->at[i] == 0);
        break;
    case 3:
        adopt(b, larder_aligned_alloc(align, size), size, align);
        break;
    case 4:
        if (align >= sizeof(void *)) {
            MUST(larder_posix_memalign(&at, align, size) == 0);
            adopt(b, at, size, align);
            b->resized = true; // not for free_aligned_sized()
            break;
        }
        // fall through
    case 5:
        adopt(b, larder_memalign(align, size), size, align);
        b->resized = true;
        break;
    default:
        adopt(b, larder_malloc(size), size, 0);
    }
    fill(b);
}

static void resize(struct fuzz_input *in, struct block *b) {
    const size_t size = 1 + fuzz_size(in, fuzz_below(in, 8) == 0 ? LARGEST : 5000);
    const struct block old = *b;
    b->at = NULL;
    void *const at = larder_realloc(old.at, size);
    adopt(b, at, size, 0);
    expect_contents(&old, b->at, size < old.size ? size : old.size);
    b->resized = true;
    fill(b);
}

static void release(struct fuzz_input *in, struct block *b) {
    const struct block old = *b;
    expect_contents(&old, old.at, old.size);
    b->at = NULL;
    if (old.resized || fuzz_below(in, 2) == 0)
        larder_free(old.at);
    else if (old.align == 0)
        larder_free_sized(old.at, old.size);
    else
        larder_free_aligned_sized(old.at, old.align, old.size);
}

// What the program does not see.
static void keep_house(struct fuzz_input *in) {
    static const struct {
        const char *name;
        uint64_t values[4];
    } settings[] = {
        {"guard_sample", {0, 1, 4096, 0}},
        {"profile", {0, 1, 1, 0}},
        {"profile_interval", {1, 1000, 100000, 512 << 10}},
        {"bin_objects_max", {8, 64, 2048, 32768}},
        {"batch_max", {2, 16, 256, 512}},
        {"transfer_cache_max", {0, 1 << 16, 16 << 20, 1 << 30}},
        {"thread_cache_max", {64 << 10, 1 << 20, 4 << 20, 1 << 30}},
    };
    const unsigned kind = (unsigned)fuzz_below(in, 5);
    const unsigned s = (unsigned)fuzz_below(in, sizeof settings / sizeof *settings);
    switch (kind) {
    case 0:
        larder_thread_flush();
        break;
    case 1:
        larder_release(fuzz_size(in, LARGEST));
        break;
    case 2:
        larder_malloc_trim(fuzz_size(in, LARGEST));
        break;
    default:
        MUST(larder_option_set(settings[s].name, settings[s].values[fuzz_below(in, 4)]) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {data, size};
    static unsigned inputs;
    if (inputs++ == 0)
        MUST(larder_option_set("scavenger", LR_SCAVENGER_OFF) == 0);
    while (in.left > 0) {
        const unsigned choice = (unsigned)fuzz_take(&in, 1);
        struct block *const b = &blocks[choice % SLOTS];
        if (choice >= 250)
            keep_house(&in);
        else if (b->at == NULL)
            allocate(&in, b);
        else if (choice >= 2 * SLOTS)
            release(&in, b);
        else
            resize(&in, b);
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (blocks[i].at != NULL)
            release(&in, &blocks[i]);
    if (inputs % 64 == 0) {
        const char *const fault = test_heap_fault();
        if (fault != NULL) {
            fprintf(stderr, "%s\n", fault);
            abort();
        }
    }
    return 0;
}
