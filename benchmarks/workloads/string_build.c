// SPDX-License-Identifier: Apache-2.0
// Strings that grow by realloc, several at a time in each thread, as in formatters, parsers and
// network buffers. Half of the strings ask for exactly what they need at every step, half grow by
// half again when they are full. Bytes are copied in and checked when the string is done.

#include "workload.h"

#include <string.h>

enum {
    OPEN_STRINGS = 64,     // growing at the same time in one thread
    CHUNK_BYTES = 64,      // longest piece appended at once
    MIN_TARGET_BYTES = 64, // lengths at which strings are finished
    MAX_TARGET_BYTES = 64 * 1024,
};

struct string {
    char *text;
    uint32_t length, capacity, target; // bytes
    char mark;                         // what it is made of
    bool exact;                        // asks for no spare room
};

static struct wl_sizes targets;

static void open_string(struct string *string, struct wl_rng *rng) {
    const uint64_t bits = wl_next(rng);
    *string = (struct string){
        .target = wl_size(&targets, rng),
        .mark = (char)('a' + (bits >> 32) % 26),
        .exact = (bits & 1) != 0,
    };
}

static void close_string(struct string *string) {
    for (uint32_t i = 0; i < string->length; i += CHUNK_BYTES) {
        if (string->text[i] != string->mark)
            wl_fail("string was damaged while in use, at byte", i);
    }
    free(string->text);
}

static void append(struct string *string, uint32_t bytes) {
    const uint32_t need = string->length + bytes;
    if (need > string->capacity) {
        const uint32_t room = string->exact ? need : need + need / 2;
        char *text = realloc(string->text, room);
        if (text == NULL)
            wl_fail("out of memory for a string of bytes:", room);
        string->text = text;
        string->capacity = room;
    }
    memset(string->text + string->length, string->mark, bytes);
    string->length = need;
    wl_escape(string->text);
}

static void build(unsigned index, void *arg) {
    const struct wl_run *run = arg;
    struct wl_rng rng = wl_rng_seeded(index);
    struct string string[OPEN_STRINGS];
    for (unsigned i = 0; i < OPEN_STRINGS; i++)
        open_string(&string[i], &rng);
    for (uint64_t left = wl_share(run, index); left > 0; left--) {
        struct string *at = &string[wl_below(&rng, OPEN_STRINGS)];
        append(at, 1 + wl_below(&rng, CHUNK_BYTES));
        if (at->length >= at->target) {
            close_string(at);
            open_string(at, &rng);
        }
    }
    for (unsigned i = 0; i < OPEN_STRINGS; i++)
        close_string(&string[i]);
}

static void run(const struct wl_run *run) {
    struct wl_run copy = *run;
    wl_parallel(run->threads, build, &copy);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "string_build",
        .about = "Strings of up to 64 KiB grow piece by piece through realloc.",
        .op = "pieces appended",
        .default_ops = 30000000,
        .run = run,
    };
    wl_sizes_log(&targets, MIN_TARGET_BYTES, MAX_TARGET_BYTES);
    return wl_main(argc, argv, &spec);
}
