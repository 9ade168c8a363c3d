// SPDX-License-Identifier: Apache-2.0
//
// The seam to liburcu: grace periods, publication, lists. Its gate for fork is test_rcu_fork.c's.
#include "sync/rcu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../../support/crew.h"
#include "../../support/support.h"

struct reader {
    pthread_t thread;
    unsigned depth; // of nested sections
    atomic_uint left;
    atomic_bool inside, leave_one;
};

static void *read_until_told(void *arg) {
    struct reader *const reader = arg;
    for (unsigned i = 0; i < reader->depth; i++)
        lr_rcu_read_lock();
    atomic_store(&reader->inside, true);
    while (atomic_load(&reader->left) < reader->depth) {
        if (atomic_exchange(&reader->leave_one, false)) {
            lr_rcu_read_unlock();
            atomic_fetch_add(&reader->left, 1);
        }
        test_sleep_ms(1);
    }
    return NULL;
}

static bool is_inside(void *arg) { return atomic_load(&((struct reader *)arg)->inside); }

static void *synchronize(void *done) {
    lr_rcu_synchronize();
    atomic_store((atomic_bool *)done, true);
    return NULL;
}

static bool is_set(void *arg) { return atomic_load((atomic_bool *)arg); }

START_TEST(test_rcu__synchronize_waits_for_open_sections) {
    struct reader reader = {.depth = 3};
    pthread_t writer;
    atomic_bool done = false;
    EXPECT_INT(pthread_create(&reader.thread, NULL, read_until_told, &reader), ==, 0);
    EXPECT(test_wait_until(is_inside, &reader, 10000));
    EXPECT_INT(pthread_create(&writer, NULL, synchronize, &done), ==, 0);
    for (unsigned left = 0; left < reader.depth; left++) {
        test_sleep_ms(50);
        EXPECT(!done); // the outermost section counts
        EXPECT_UINT(reader.left, ==, left);
        atomic_store(&reader.leave_one, true);
        while (atomic_load(&reader.left) == left)
            test_sleep_ms(1);
    }
    EXPECT(test_wait_until(is_set, &done, 10000));
    pthread_join(writer, NULL);
    pthread_join(reader.thread, NULL);
}
END_TEST

// ---- Publication: an object is poisoned a grace period after another took its place ----

enum { READERS = 3, VERSIONS = 3000, WORDS = 16 };

struct object {
    uint64_t words[WORDS]; // all the same, or poisoned
};

struct publication {
    struct object *current;
    atomic_bool done;
};

static void follow_object(struct test_worker *worker) {
    struct publication *const shared = worker->shared;
    uint64_t newest = 0;
    do {
        lr_rcu_read_lock();
        const struct object *const object = lr_rcu_deref_raw((void **)&shared->current);
        const uint64_t version = object->words[0];
        EXPECT_UINT(version, >=, newest);
        EXPECT_UINT(version, <=, VERSIONS);
        for (unsigned i = 0; i < WORDS; i++)
            EXPECT_UINT(object->words[WORDS - 1 - i], ==, version);
        lr_rcu_read_unlock();
        newest = version;
    } while (!atomic_load(&shared->done));
    EXPECT_UINT(newest, >, 0);
}

static void set_words(struct object *object, uint64_t value) {
    for (unsigned i = 0; i < WORDS; i++)
        object->words[i] = value;
}

START_TEST(test_rcu__readers_see_whole_objects) {
    static struct object objects[2];
    static struct publication shared;
    static struct test_crew crew;
    const uint64_t end = test_now_ms() + 2000;
    set_words(&objects[0], 1);
    shared.current = &objects[0];
    test_crew_start(&crew, READERS, follow_object, &shared);
    for (uint64_t version = 2; version <= VERSIONS && test_now_ms() < end; version++) {
        struct object *const next = &objects[version % 2 == 0];
        struct object *const old = &objects[version % 2 != 0];
        set_words(next, version);
        lr_rcu_publish(&shared.current, next);
        lr_rcu_synchronize();
        set_words(old, UINT64_MAX);
    }
    atomic_store(&shared.done, true);
    test_crew_join(&crew);
}
END_TEST

// ---- Lists ----

enum { NODES = 8, STEPS = 3000 };

struct item {
    struct lr_rcu_node node;
    atomic_bool listed; // false from a grace period after its removal until it is added again
};

struct list {
    struct lr_rcu_node head;
    struct item items[NODES];
    atomic_bool done;
};

static struct item *item_of(struct lr_rcu_node *node) {
    return (struct item *)(void *)((char *)node - offsetof(struct item, node));
}

static unsigned count_nodes(struct list *list) {
    unsigned count = 0;
    for (struct lr_rcu_node *node = lr_rcu_list_next(&list->head); node != &list->head;
         node = lr_rcu_list_next(node))
        count++;
    return count;
}

static void walk(struct test_worker *worker) {
    struct list *const list = worker->shared;
    while (!atomic_load(&list->done)) {
        lr_rcu_read_lock();
        for (struct lr_rcu_node *node = lr_rcu_list_next(&list->head); node != &list->head;
             node = lr_rcu_list_next(node))
            EXPECT(atomic_load(&item_of(node)->listed));
        lr_rcu_read_unlock();
    }
}

START_TEST(test_rcu__list_in_one_thread) {
    static struct list list;
    lr_rcu_list_init(&list.head);
    EXPECT_UINT(count_nodes(&list), ==, 0);
    for (unsigned i = 0; i < 3; i++)
        lr_rcu_list_add(&list.head, &list.items[i].node);
    EXPECT_UINT(count_nodes(&list), ==, 3);
    lr_rcu_list_remove(&list.items[1].node);
    EXPECT_UINT(count_nodes(&list), ==, 2);
    EXPECT_PTR(lr_rcu_list_next(&list.head), ==, &list.items[2].node); // the newest comes first
    EXPECT_PTR(lr_rcu_list_next(&list.items[2].node), ==, &list.items[0].node);
    lr_rcu_list_remove(&list.items[0].node);
    lr_rcu_list_remove(&list.items[2].node);
    EXPECT_UINT(count_nodes(&list), ==, 0);
}
END_TEST

START_TEST(test_rcu__list_is_walked_while_it_changes) {
    static struct list list;
    static struct test_crew crew;
    struct test_rng rng = {test_seed()};
    bool in_list[NODES] = {false};
    const uint64_t end = test_now_ms() + 2000;
    lr_rcu_list_init(&list.head);
    test_crew_start(&crew, READERS, walk, &list);
    for (unsigned step = 0; step < STEPS && test_now_ms() < end; step++) {
        const unsigned i = (unsigned)test_rng_below(&rng, NODES);
        if (in_list[i]) {
            lr_rcu_list_remove(&list.items[i].node);
            lr_rcu_synchronize();
            atomic_store(&list.items[i].listed, false);
            memset(&list.items[i].node, 0, sizeof list.items[i].node);
        } else {
            atomic_store(&list.items[i].listed, true);
            lr_rcu_list_add(&list.head, &list.items[i].node);
        }
        in_list[i] = !in_list[i];
    }
    atomic_store(&list.done, true);
    test_crew_join(&crew);
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("rcu");
    test_add(suite, test_rcu__synchronize_waits_for_open_sections);
    test_add(suite, test_rcu__readers_see_whole_objects);
    test_add(suite, test_rcu__list_in_one_thread);
    test_add(suite, test_rcu__list_is_walked_while_it_changes);
    return suite;
}
