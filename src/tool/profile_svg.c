// SPDX-License-Identifier: Apache-2.0
// A profile as a flame graph: one file, no script; names and shares are tooltips.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/print.h"
#include "tool/profile_data.h"

enum { WIDTH = 1200, ROW = 17, TOP = 40, MARGIN = 10, CHARACTER = 7 };

struct node {
    const char *function;
    int64_t value;
    struct node *children;
    struct node *next;
};

static struct node *child_of(struct node *parent, const char *function) {
    struct node **link = &parent->children;
    while (*link != NULL && strcmp((*link)->function, function) != 0) {
        link = &(*link)->next;
    }
    if (*link == NULL) {
        *link = lr_profile_grow(NULL, 0, sizeof **link);
        **link = (struct node){.function = function};
    }
    return *link;
}

static unsigned depth_of(const struct node *node) {
    unsigned deepest = 0;
    for (const struct node *child = node->children; child != NULL; child = child->next) {
        const unsigned depth = depth_of(child);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

static void free_children(struct node *node) {
    while (node->children != NULL) {
        struct node *child = node->children;
        node->children = child->next;
        free_children(child);
        free(child);
    }
}

static void print_escaped(FILE *out, const char *text, size_t most) {
    for (; *text != '\0' && most > 0; text++, most--) {
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(*text >= ' ' && *text <= '~' ? *text : '?', out);
        }
    }
}

// A warm colour that depends on the name, so that a function looks the same everywhere.
static unsigned colour_of(const char *name) {
    unsigned hash = 5381;
    for (; *name != '\0'; name++) {
        hash = hash * 33 + (unsigned char)*name;
    }
    return 0xd00000 + (hash % 48 << 16) + ((hash / 48 % 150 + 60) << 8) + hash / 7200 % 56;
}

struct drawing {
    FILE *out;
    const struct profile_kind *kind;
    int64_t total;
};

static void print_amount(const struct drawing *d, int64_t value) {
    char text[64];
    struct lr_print p;
    lr_print_init(&p, text, sizeof text, -1);
    if (strcmp(d->kind->unit, "bytes") == 0) {
        lr_print_bytes(&p, (uint64_t)value);
    } else {
        lr_print_f(&p, "%ju %s", (uintmax_t)value, d->kind->unit);
    }
    fputs(text, d->out);
}

static void draw(const struct drawing *d, const struct node *node, double x, double width,
                 unsigned y) {
    if (width < 0.3) {
        return;
    }
    fprintf(d->out, "<g><title>");
    print_escaped(d->out, node->function, 400);
    fputs(": ", d->out);
    print_amount(d, node->value);
    fprintf(d->out,
            ", %.2f %%</title><rect x=\"%.2f\" y=\"%u\" width=\"%.2f\" height=\"%d\" "
            "fill=\"#%06x\" rx=\"1\"/>",
            100.0 * (double)node->value / (double)d->total, x, y, width, ROW - 1,
            colour_of(node->function));
    if (width > 4 * CHARACTER) {
        fprintf(d->out, "<text x=\"%.2f\" y=\"%u\">", x + 3, y + 12);
        print_escaped(d->out, node->function, (size_t)(width / CHARACTER));
        fputs("</text>", d->out);
    }
    fputs("</g>\n", d->out);
    for (const struct node *child = node->children; child != NULL; child = child->next) {
        const double part = width * (double)child->value / (double)node->value;
        draw(d, child, x, part, y + ROW);
        x += part;
    }
}

static void build(const struct profile *profile, enum profile_column column, struct node *root) {
    for (size_t i = 0; i < profile->stack_count; i++) {
        const struct profile_stack *stack = &profile->stacks[i];
        const int64_t value = stack->values[column];
        if (value <= 0) {
            continue; // what shrank has no width
        }
        root->value += value;
        struct node *node = root;
        for (unsigned k = stack->depth; k-- > 0;) {
            node = child_of(node, lr_profile_location(profile, stack->pcs[k])->function);
            node->value += value;
        }
    }
}

bool lr_profile_svg(const struct profile *profile, const struct profile_kind *kind, FILE *out) {
    struct node root = {.function = "all"};
    build(profile, kind->column, &root);
    const struct drawing d = {.out = out, .kind = kind, .total = root.value};
    const unsigned height = TOP + depth_of(&root) * ROW + MARGIN;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %u\" width=\"%d\" "
            "height=\"%u\" font-family=\"monospace\" font-size=\"11\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fffdf5\"/>\n"
            "<text x=\"%d\" y=\"24\" font-size=\"15\">%s: ",
            WIDTH, height, WIDTH, height, MARGIN, kind->title);
    print_amount(&d, root.value);
    fputs("</text>\n", out);
    if (root.value > 0) {
        draw(&d, &root, MARGIN, WIDTH - 2 * MARGIN, TOP);
    }
    fputs("</svg>\n", out);
    free_children(&root);
    return ferror(out) == 0;
}
