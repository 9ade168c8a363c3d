// SPDX-License-Identifier: Apache-2.0
#include "tool/profile_data.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tool/symbols.h"
#include "tool/tool.h"

#define VALUE_MOST (INT64_MAX >> 20) // STACKS_MOST of them can be added

enum { DEPTH_MOST = 1000, COLUMNS_MOST = 64, STACKS_MOST = 1 << 20 };

void *lr_profile_grow(void *array, size_t count, size_t item_bytes) {
    // To the next power of two, whenever the count has become one.
    if (count == 0 || (count & (count - 1)) == 0) {
        array = realloc(array, (count == 0 ? 1 : 2 * count) * item_bytes);
        if (array == NULL) {
            lr_tool_error("out of memory");
            exit(TOOL_FAILED);
        }
    }
    return array;
}

static const char *const column_names[PROFILE_COLUMN_COUNT] = {
#define PROFILE_NAME(name) [PROFILE_##name] = #name,
    PROFILE_COLUMNS(PROFILE_NAME)
#undef PROFILE_NAME
};

// Which of our columns each column of the file is; PROFILE_COLUMN_COUNT: none.
struct layout {
    enum profile_column column[COLUMNS_MOST];
    unsigned count;
};

static void read_columns(char *text, struct layout *out) {
    char *save = NULL;
    for (char *name = strtok_r(text, " \n", &save); name != NULL && out->count < COLUMNS_MOST;
         name = strtok_r(NULL, " \n", &save)) {
        enum profile_column c = 0;
        while (c < PROFILE_COLUMN_COUNT && strcmp(column_names[c], name) != 0) {
            c++;
        }
        out->column[out->count++] = c;
    }
}

static bool read_stack(char *text, const struct layout *layout, struct profile *out) {
    struct profile_stack stack = {0};
    char *end = text;
    for (unsigned i = 0; i < layout->count; i++) {
        char *begin = end;
        const uint64_t value = strtoull(begin, &end, 10);
        if (end == begin) {
            return false;
        }
        if (layout->column[i] < PROFILE_COLUMN_COUNT) {
            stack.values[layout->column[i]] = value > VALUE_MOST ? VALUE_MOST : (int64_t)value;
        }
    }
    if (strncmp(end, " :", 2) != 0 || out->stack_count == STACKS_MOST) {
        return false;
    }
    end += 2;
    for (;;) {
        char *begin = end;
        const uint64_t pc = strtoull(begin, &end, 16);
        if (end == begin || stack.depth == DEPTH_MOST) {
            break;
        }
        stack.pcs = lr_profile_grow(stack.pcs, stack.depth, sizeof *stack.pcs);
        stack.pcs[stack.depth++] = pc;
    }
    out->stacks = lr_profile_grow(out->stacks, out->stack_count, sizeof *out->stacks);
    out->stacks[out->stack_count++] = stack;
    return *end == '\n' || *end == '\0';
}

static bool read_mapping(char *text, struct profile *out) {
    struct profile_mapping mapping;
    int length = 0;
    text[strcspn(text, "\n")] = '\0';
    if (sscanf(text, "%" SCNx64 "-%" SCNx64 " %" SCNx64 " %n", &mapping.start, &mapping.end,
               &mapping.offset, &length) < 3 ||
        length == 0) {
        return false;
    }
    mapping.path = strdup(text + length);
    out->mappings = lr_profile_grow(out->mappings, out->mapping_count, sizeof *out->mappings);
    out->mappings[out->mapping_count++] = mapping;
    return mapping.path != NULL;
}

static void read_number(const char *line, struct profile *out) {
    char name[32];
    uint64_t value;
    if (sscanf(line, "%31s %" SCNu64, name, &value) != 2) {
        return;
    }
    const struct {
        const char *name;
        uint64_t *to;
    } numbers[] = {
        {"process", &out->process},           {"time_ns", &out->time_ns},
        {"interval", &out->interval},         {"samples", &out->samples},
        {"samples_live", &out->samples_live}, {"samples_dropped", &out->samples_dropped},
    };
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(numbers[i].name, name) == 0) {
            *numbers[i].to = value;
        }
    }
}

const char *lr_profile_read(FILE *in, struct profile *out) {
    char *line = NULL;
    size_t room = 0;
    struct layout layout = {.count = 0};
    bool in_maps = false;
    const char *wrong = NULL;
    *out = (struct profile){0};
    if (getline(&line, &room, in) < 0 || strcmp(line, "larder-profile 1\n") != 0) {
        wrong = "it is no profile of Larder's, or of another version";
    }
    while (wrong == NULL && getline(&line, &room, in) >= 0) {
        if (in_maps) {
            wrong = read_mapping(line, out) ? NULL : "a mapping is not understood";
        } else if (strncmp(line, "stack", 5) == 0) {
            wrong = read_stack(line + 5, &layout, out) ? NULL : "a stack is not understood";
        } else if (strncmp(line, "columns ", 8) == 0) {
            read_columns(line + 8, &layout);
        } else if (strcmp(line, "maps\n") == 0) {
            in_maps = true;
        } else {
            read_number(line, out);
        }
    }
    free(line);
    if (wrong == NULL && !in_maps) {
        wrong = "its end is missing";
    }
    if (wrong != NULL) {
        lr_profile_free(out);
    }
    return wrong;
}

void lr_profile_free(struct profile *profile) {
    for (size_t i = 0; i < profile->stack_count; i++) {
        free(profile->stacks[i].pcs);
    }
    for (size_t i = 0; i < profile->mapping_count; i++) {
        free(profile->mappings[i].path);
    }
    free(profile->stacks);
    free(profile->mappings);
    free(profile->locations);
    *profile = (struct profile){0};
}

// ---- The difference of two ----

static int compare_stacks(const void *a, const void *b) {
    const struct profile_stack *x = a;
    const struct profile_stack *y = b;
    if (x->depth != y->depth) {
        return x->depth < y->depth ? -1 : 1;
    }
    return x->depth == 0 ? 0 : memcmp(x->pcs, y->pcs, x->depth * sizeof *x->pcs);
}

static bool is_total(enum profile_column column) {
    return column == PROFILE_objects || column == PROFILE_bytes ||
           column == PROFILE_freed_objects || column == PROFILE_freed_bytes ||
           column == PROFILE_lifetime_ns;
}

static bool is_live(enum profile_column column) {
    return column == PROFILE_live_objects || column == PROFILE_live_bytes;
}

void lr_profile_subtract(struct profile *profile, const struct profile *base, bool growth) {
    if (profile->stack_count == 0) {
        return;
    }
    // A stack of the base is in the later profile too: none is ever forgotten.
    qsort(profile->stacks, profile->stack_count, sizeof *profile->stacks, compare_stacks);
    for (size_t i = 0; i < base->stack_count; i++) {
        struct profile_stack *found =
            bsearch(&base->stacks[i], profile->stacks, profile->stack_count,
                    sizeof *profile->stacks, compare_stacks);
        for (enum profile_column c = 0; found != NULL && c < PROFILE_COLUMN_COUNT; c++) {
            if (is_total(c) || (growth && is_live(c))) {
                found->values[c] -= base->stacks[i].values[c];
            }
        }
    }
}

// ---- Names ----

static int compare_locations(const void *a, const void *b) {
    const struct profile_location *x = a;
    const struct profile_location *y = b;
    return (x->pc > y->pc) - (x->pc < y->pc);
}

const struct profile_location *lr_profile_location(const struct profile *profile, uint64_t pc) {
    const struct profile_location key = {.pc = pc};
    return bsearch(&key, profile->locations, profile->location_count, sizeof key,
                   compare_locations);
}

static void collect_locations(struct profile *profile) {
    for (size_t i = 0; i < profile->stack_count; i++) {
        for (unsigned k = 0; k < profile->stacks[i].depth; k++) {
            profile->locations = lr_profile_grow(profile->locations, profile->location_count,
                                                 sizeof *profile->locations);
            profile->locations[profile->location_count++] =
                (struct profile_location){.pc = profile->stacks[i].pcs[k]};
        }
    }
    if (profile->location_count == 0) {
        return;
    }
    qsort(profile->locations, profile->location_count, sizeof *profile->locations,
          compare_locations);
    size_t kept = 1;
    for (size_t i = 1; i < profile->location_count; i++) {
        if (profile->locations[i].pc != profile->locations[kept - 1].pc) {
            profile->locations[kept++] = profile->locations[i];
        }
    }
    profile->location_count = kept;
}

static const struct profile_mapping *find_mapping(const struct profile *profile, uint64_t pc) {
    for (size_t i = 0; i < profile->mapping_count; i++) {
        if (pc >= profile->mappings[i].start && pc < profile->mappings[i].end) {
            return &profile->mappings[i];
        }
    }
    return NULL;
}

static void name_location(const struct profile *profile, struct profile_location *location,
                          const char *root) {
    // One less than a return address is inside of the call.
    const uint64_t at = location->pc - 1;
    location->mapping = find_mapping(profile, at);
    const struct profile_mapping *mapping = location->mapping;
    if (mapping == NULL) {
        location->function = lr_symbol_unknown("", at);
        return;
    }
    const uint64_t offset = at - mapping->start + mapping->offset;
    location->function =
        mapping->path[0] == '/' ? lr_symbol_find(root, mapping->path, offset) : NULL;
    if (location->function == NULL) {
        location->function = lr_symbol_unknown(mapping->path, offset);
    }
}

static bool is_allocator(const struct profile_location *location) {
    static const char *const names[] = {
        "malloc",         "calloc",        "realloc",  "free",   "reallocarray",
        "posix_memalign", "aligned_alloc", "memalign", "valloc", "pvalloc"};
    const char *name = location->function;
    if (strncmp(name, "larder_", 7) == 0 || strncmp(name, "lr_", 3) == 0 ||
        strncmp(name, "_Znwm", 5) == 0 || strncmp(name, "_Znam", 5) == 0) {
        return true;
    }
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return location->mapping != NULL && strstr(location->mapping->path, "/liblarder.so") != NULL;
}

// In a static executable everything of Larder's that has no name of its own (static functions) lies
// between frames that have one: up to the last of these all is Larder's.
static void drop_allocator(struct profile *profile, struct profile_stack *stack) {
    unsigned drop = 0;
    for (unsigned i = 0; i < stack->depth && i < 12; i++) {
        if (is_allocator(lr_profile_location(profile, stack->pcs[i]))) {
            drop = i + 1;
        }
    }
    if (drop < stack->depth) {
        stack->depth -= drop;
        memmove(stack->pcs, stack->pcs + drop, stack->depth * sizeof *stack->pcs);
    }
}

void lr_profile_symbolize(struct profile *profile, const char *root) {
    collect_locations(profile);
    for (size_t i = 0; i < profile->location_count; i++) {
        name_location(profile, &profile->locations[i], root);
    }
    for (size_t i = 0; i < profile->stack_count; i++) {
        drop_allocator(profile, &profile->stacks[i]);
    }
}

static enum profile_column sort_column;

static int compare(const void *a, const void *b) {
    const int64_t x = (*(const struct profile_stack *const *)a)->values[sort_column];
    const int64_t y = (*(const struct profile_stack *const *)b)->values[sort_column];
    return (x < y) - (x > y);
}

const struct profile_stack **lr_profile_sorted(const struct profile *profile,
                                               const struct profile_kind *kind, int64_t *total) {
    const struct profile_stack **sorted = NULL;
    *total = 0;
    for (size_t i = 0; i < profile->stack_count; i++) {
        sorted = lr_profile_grow(sorted, i, sizeof(void *));
        sorted[i] = &profile->stacks[i];
        *total += profile->stacks[i].values[kind->column];
    }
    sort_column = kind->column;
    if (profile->stack_count > 0) {
        qsort(sorted, profile->stack_count, sizeof(void *), compare);
    }
    return sorted;
}
