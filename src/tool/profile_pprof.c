// SPDX-License-Identifier: Apache-2.0
// A profile as google/pprof's profile.proto, written by hand: the format is small.
#include <stdlib.h>
#include <string.h>

#if LARDER_TOOL_ZLIB
#include <zlib.h>
#endif

#include "tool/profile_data.h"

struct buffer {
    unsigned char *data;
    size_t size;
};

static void put_byte(struct buffer *b, unsigned char byte) {
    b->data = lr_profile_grow(b->data, b->size, 1);
    b->data[b->size++] = byte;
}

static void put_varint(struct buffer *b, uint64_t value) {
    while (value >= 0x80) {
        put_byte(b, (unsigned char)(value | 0x80));
        value >>= 7;
    }
    put_byte(b, (unsigned char)value);
}

static void put_number(struct buffer *b, unsigned field, uint64_t value) {
    put_varint(b, (uint64_t)field << 3);
    put_varint(b, value);
}

static void put_bytes(struct buffer *b, unsigned field, const void *data, size_t size) {
    put_varint(b, (uint64_t)field << 3 | 2);
    put_varint(b, size);
    for (size_t i = 0; i < size; i++) {
        put_byte(b, ((const unsigned char *)data)[i]);
    }
}

static void put_message(struct buffer *b, unsigned field, struct buffer *message) {
    put_bytes(b, field, message->data, message->size);
    free(message->data);
    *message = (struct buffer){0};
}

// Field numbers of profile.proto.
enum {
    PROFILE_SAMPLE_TYPE = 1,
    PROFILE_SAMPLE = 2,
    PROFILE_MAPPING = 3,
    PROFILE_LOCATION = 4,
    PROFILE_FUNCTION = 5,
    PROFILE_STRING = 6,
    PROFILE_TIME_NANOS = 9,
    PROFILE_PERIOD_TYPE = 11,
    PROFILE_PERIOD = 12,
    PROFILE_DEFAULT_TYPE = 14,
};

static const struct {
    const char *type;
    const char *unit;
    enum profile_column column;
} types[] = {
    {"alloc_objects", "count", PROFILE_objects},
    {"alloc_space", "bytes", PROFILE_bytes},
    {"inuse_objects", "count", PROFILE_live_objects},
    {"inuse_space", "bytes", PROFILE_live_bytes},
    {"peak_objects", "count", PROFILE_peak_objects},
    {"peak_space", "bytes", PROFILE_peak_bytes},
    {"freed_objects", "count", PROFILE_freed_objects},
    {"freed_space", "bytes", PROFILE_freed_bytes},
    {"lifetime", "nanoseconds", PROFILE_lifetime_ns},
    {"pinned_span_space", "bytes", PROFILE_pinned_span_bytes},
    {"pinned_huge_space", "bytes", PROFILE_pinned_huge_bytes},
};
enum { TYPES = sizeof types / sizeof *types };

// Strings in order of their first use; equal ones of functions are found by sorting before.
struct strings {
    const char **text;
    size_t count;
};

static uint64_t add_string(struct strings *strings, const char *text) {
    strings->text = lr_profile_grow(strings->text, strings->count, sizeof(void *));
    strings->text[strings->count] = text;
    return strings->count++;
}

static void put_type(struct buffer *b, unsigned field, uint64_t type, uint64_t unit) {
    struct buffer message = {0};
    put_number(&message, 1, type);
    put_number(&message, 2, unit);
    put_message(b, field, &message);
}

static void put_types(struct buffer *b, struct strings *strings, const struct profile_kind *kind) {
    uint64_t chosen = 0;
    for (unsigned i = 0; i < TYPES; i++) {
        const uint64_t type = add_string(strings, types[i].type);
        put_type(b, PROFILE_SAMPLE_TYPE, type, add_string(strings, types[i].unit));
        if (types[i].column == kind->column) {
            chosen = type;
        }
    }
    put_number(b, PROFILE_DEFAULT_TYPE, chosen);
}

static void put_samples(struct buffer *b, const struct profile *profile) {
    for (size_t i = 0; i < profile->stack_count; i++) {
        const struct profile_stack *stack = &profile->stacks[i];
        struct buffer ids = {0};
        struct buffer values = {0};
        struct buffer message = {0};
        for (unsigned k = 0; k < stack->depth; k++) {
            const struct profile_location *location = lr_profile_location(profile, stack->pcs[k]);
            put_varint(&ids, (uint64_t)(location - profile->locations) + 1);
        }
        for (unsigned t = 0; t < TYPES; t++) {
            put_varint(&values, (uint64_t)stack->values[types[t].column]);
        }
        put_message(&message, 1, &ids);
        put_message(&message, 2, &values);
        put_message(b, PROFILE_SAMPLE, &message);
    }
}

static void put_mappings(struct buffer *b, struct strings *strings, const struct profile *profile) {
    for (size_t i = 0; i < profile->mapping_count; i++) {
        const struct profile_mapping *mapping = &profile->mappings[i];
        struct buffer message = {0};
        put_number(&message, 1, i + 1);
        put_number(&message, 2, mapping->start);
        put_number(&message, 3, mapping->end);
        put_number(&message, 4, mapping->offset);
        put_number(&message, 5, add_string(strings, mapping->path));
        put_number(&message, 7, 1); // has functions: names were looked up already
        put_message(b, PROFILE_MAPPING, &message);
    }
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Functions are numbered in the order of their names.
static void put_locations(struct buffer *b, struct strings *strings,
                          const struct profile *profile) {
    const char **names = NULL;
    size_t count = 0;
    for (size_t i = 0; i < profile->location_count; i++) {
        names = lr_profile_grow(names, i, sizeof(void *));
        names[i] = profile->locations[i].function;
    }
    if (profile->location_count > 0) {
        qsort(names, profile->location_count, sizeof(void *), compare_names);
    }
    for (size_t i = 0; i < profile->location_count; i++) {
        if (count > 0 && strcmp(names[i], names[count - 1]) == 0) {
            continue;
        }
        names[count++] = names[i];
        struct buffer message = {0};
        const uint64_t name = add_string(strings, names[count - 1]);
        put_number(&message, 1, count);
        put_number(&message, 2, name);
        put_number(&message, 3, name);
        put_message(b, PROFILE_FUNCTION, &message);
    }
    for (size_t i = 0; i < profile->location_count; i++) {
        const struct profile_location *location = &profile->locations[i];
        const char **found =
            bsearch(&location->function, names, count, sizeof(void *), compare_names);
        struct buffer line = {0};
        struct buffer message = {0};
        put_number(&line, 1, (uint64_t)(found - names) + 1);
        put_number(&message, 1, i + 1);
        if (location->mapping != NULL) {
            put_number(&message, 2, (uint64_t)(location->mapping - profile->mappings) + 1);
        }
        put_number(&message, 3, location->pc - 1);
        put_message(&message, 4, &line);
        put_message(b, PROFILE_LOCATION, &message);
    }
    free(names);
}

static bool write_out(const struct buffer *b, FILE *out) {
#if LARDER_TOOL_ZLIB
    z_stream stream = {0};
    unsigned char chunk[16384];
    int result = deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                              Z_DEFAULT_STRATEGY); // + 16: gzip
    if (result != Z_OK) {
        return false;
    }
    stream.next_in = b->data;
    stream.avail_in = (uInt)b->size;
    do {
        stream.next_out = chunk;
        stream.avail_out = sizeof chunk;
        result = deflate(&stream, Z_FINISH);
        if (fwrite(chunk, 1, sizeof chunk - stream.avail_out, out) !=
            sizeof chunk - stream.avail_out) {
            result = Z_ERRNO;
        }
    } while (result == Z_OK);
    deflateEnd(&stream);
    return result == Z_STREAM_END;
#else
    return fwrite(b->data, 1, b->size, out) == b->size;
#endif
}

bool lr_profile_pprof(const struct profile *profile, const struct profile_kind *kind, FILE *out) {
    struct buffer b = {0};
    struct strings strings = {0};
    add_string(&strings, ""); // string 0
    put_types(&b, &strings, kind);
    put_samples(&b, profile);
    put_mappings(&b, &strings, profile);
    put_locations(&b, &strings, profile);
    const uint64_t space = add_string(&strings, "space");
    put_type(&b, PROFILE_PERIOD_TYPE, space, add_string(&strings, "bytes"));
    put_number(&b, PROFILE_PERIOD, profile->interval);
    for (size_t i = 0; i < strings.count; i++) {
        put_bytes(&b, PROFILE_STRING, strings.text[i], strlen(strings.text[i]));
    }
    const bool done = write_out(&b, out);
    free(strings.text);
    free(b.data);
    return done;
}
