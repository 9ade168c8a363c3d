// SPDX-License-Identifier: Apache-2.0
// Programs that build something and tear it down: arrays of blocks freed in order, in reverse and
// at random, and binary trees. Each thread works for itself; every pass empties all it has filled,
// so that the caches of an allocator overflow and run dry over and over.

#include "workload.h"

enum {
    ARRAY_BLOCKS = 20000, // blocks of one array pass
    TREE_DEPTH = 14,      // a tree pass builds 2^depth - 1 nodes
    NODE_BYTES = 48,
    MIN_BYTES = 16,
    MAX_BYTES = 256,
};

struct node {
    uint64_t stamp; // what wl_fill() puts in the first word
    struct node *left, *right;
    char payload[NODE_BYTES - 3 * 8];
};

struct arrays {
    void *block[ARRAY_BLOCKS];
    uint32_t shuffled[ARRAY_BLOCKS]; // a permutation of the indices
};

static struct wl_sizes sizes;

static void shuffle(struct arrays *arrays, struct wl_rng *rng) {
    for (uint32_t i = 0; i < ARRAY_BLOCKS; i++) {
        const uint32_t j = wl_below(rng, i + 1);
        arrays->shuffled[i] = arrays->shuffled[j];
        arrays->shuffled[j] = i;
    }
}

static void fill(struct arrays *arrays, uint32_t count, struct wl_rng *rng) {
    for (uint32_t i = 0; i < count; i++)
        arrays->block[i] = wl_new(wl_size(&sizes, rng));
}

static void drain_in_order(struct arrays *arrays, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        wl_delete(arrays->block[i]);
}

static void drain_in_reverse(struct arrays *arrays, uint32_t count) {
    for (uint32_t i = count; i-- > 0;)
        wl_delete(arrays->block[i]);
}

static void drain_at_random(struct arrays *arrays, uint32_t count) {
    for (uint32_t i = 0; i < ARRAY_BLOCKS; i++) {
        if (arrays->shuffled[i] < count)
            wl_delete(arrays->block[arrays->shuffled[i]]);
    }
}

// Builds a tree of at most *left nodes and counts *left down.
static struct node *build_tree(unsigned depth, uint64_t *left) {
    if (depth == 0 || *left == 0)
        return NULL;
    --*left;
    struct node *node = wl_new(sizeof *node);
    node->left = build_tree(depth - 1, left);
    node->right = build_tree(depth - 1, left);
    return node;
}

static void destroy_tree(struct node *node) {
    if (node == NULL)
        return;
    destroy_tree(node->left);
    destroy_tree(node->right);
    wl_delete(node);
}

static void pass_array(struct arrays *arrays, unsigned order, uint64_t *left, struct wl_rng *rng) {
    static void (*const drain[])(struct arrays *, uint32_t) = {drain_in_order, drain_in_reverse,
                                                               drain_at_random};
    const uint32_t count = *left < ARRAY_BLOCKS ? (uint32_t)*left : ARRAY_BLOCKS;
    fill(arrays, count, rng);
    drain[order](arrays, count);
    *left -= count;
}

static void fill_and_drain(unsigned index, void *arg) {
    const struct wl_run *run = arg;
    struct wl_rng rng = wl_rng_seeded(index);
    struct arrays *arrays = malloc(sizeof *arrays);
    if (arrays == NULL)
        wl_fail("out of memory for the arrays, bytes:", sizeof *arrays);
    shuffle(arrays, &rng);
    uint64_t left = wl_share(run, index);
    for (unsigned pass = 0; left > 0; pass++) {
        if (pass % 4 == 3)
            destroy_tree(build_tree(TREE_DEPTH, &left));
        else
            pass_array(arrays, pass % 4, &left, &rng);
    }
    free(arrays);
}

static void run(const struct wl_run *run) {
    struct wl_run copy = *run;
    wl_parallel(run->threads, fill_and_drain, &copy);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "fill_drain",
        .about = "Threads fill arrays and trees and free them in order, in reverse, at random.",
        .op = "blocks allocated and freed",
        .default_ops = 70000000,
        .run = run,
    };
    wl_sizes_log(&sizes, MIN_BYTES, MAX_BYTES);
    return wl_main(argc, argv, &spec);
}
