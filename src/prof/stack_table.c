// SPDX-License-Identifier: Apache-2.0
#include "prof/stack_table.h"

#include <string.h>

#include "heap/meta.h"

enum {
    BUCKETS = 1 << 13,     // 64 KiB, made with the first stack
    STACKS_MOST = 1 << 15, // 16 MiB where they are 30 deep
};

static struct lr_stack **buckets; // guarded by: lr_sample_lock
static uint32_t count;            // guarded by: lr_sample_lock
static struct lr_stack *other;    // guarded by: lr_sample_lock; the one without addresses
static struct lr_stack *last;     // guarded by: lr_sample_lock
static _Atomic(struct lr_stack *) first;

struct lr_stack *lr_stack_first(void) {
    return lr_load_acquire(&first); // pairs with the release in make()
}

static uint64_t hash_of(const size_t *pcs, unsigned depth) {
    uint64_t hash = depth;
    for (unsigned i = 0; i < depth; i++) {
        hash = (hash ^ pcs[i]) * 0x9E3779B97F4A7C15ULL;
        hash ^= hash >> 32;
    }
    return hash;
}

static struct lr_stack *make(const size_t *pcs, unsigned depth, uint64_t hash) {
    struct lr_stack *stack = lr_meta_alloc(sizeof *stack + depth * sizeof *pcs);
    if (stack == NULL) {
        return NULL;
    }
    memset(stack, 0, sizeof *stack);
    stack->hash = hash;
    stack->depth = depth;
    if (depth > 0) {
        memcpy(stack->pcs, pcs, depth * sizeof *pcs);
    }
    // Release pairs with lr_stack_first() and lr_stack_after(): what was just filled in.
    if (last == NULL) {
        lr_store_release(&first, stack);
    } else {
        lr_store_release(&last->after, stack);
    }
    last = stack;
    count++;
    return stack;
}

static struct lr_stack *find_other(void) {
    if (other == NULL) {
        other = make(NULL, 0, 0);
    }
    return other;
}

struct lr_stack *lr_stack_find_locked(const size_t *pcs, unsigned depth) {
    lr_lock_assert_held(&lr_sample_lock);
    if (buckets == NULL) {
        buckets = lr_meta_alloc(BUCKETS * sizeof(void *));
        if (buckets == NULL) {
            return NULL;
        }
        memset(buckets, 0, BUCKETS * sizeof(void *));
    }
    if (depth == 0) {
        return find_other();
    }
    uint64_t hash = hash_of(pcs, depth);
    struct lr_stack **bucket = &buckets[hash % BUCKETS];
    for (struct lr_stack *stack = *bucket; stack != NULL; stack = stack->next) {
        if (stack->hash == hash && stack->depth == depth &&
            memcmp(stack->pcs, pcs, depth * sizeof *pcs) == 0) {
            return stack;
        }
    }
    struct lr_stack *stack = count < STACKS_MOST ? make(pcs, depth, hash) : NULL;
    if (stack == NULL) {
        return find_other();
    }
    stack->next = *bucket;
    *bucket = stack;
    return stack;
}
