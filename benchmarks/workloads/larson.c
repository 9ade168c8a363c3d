// SPDX-License-Identifier: Apache-2.0
// A server in the manner of Larson and Krishnan: threads replace random objects in arrays that are
// handed on from thread to thread, and threads end and are replaced by new ones. Most objects are
// freed by another thread than the one that made them, many by one that started after their maker
// had ended.

#include "workload.h"

#include <pthread.h>
#include <string.h>

enum {
    ARRAY_OBJECTS = 2000,  // live objects of one array
    STAY_OPS = 5000,       // replacements before an array is handed on
    LIFE_STAYS = 40,       // arrays a thread serves before it ends
    ARRAYS_PER_THREAD = 2, // so that an array is always waiting
    MIN_BYTES = 16,
    MAX_BYTES = 1024,
};

struct array {
    struct array *next; // in the queue; guarded by: server.lock
    void *object[ARRAY_OBJECTS];
};

struct server {
    pthread_mutex_t lock;
    pthread_cond_t ended;      // a thread's life is over
    struct array *first;       // arrays nobody serves, oldest first; guarded by: lock
    struct array *last;        // guarded by: lock
    uint64_t ops_left;         // not yet handed out; guarded by: lock
    uint64_t lives;            // threads started so far, seeds their generators; guarded by: lock
    bool over[WL_THREADS_MAX]; // thread may be joined; guarded by: lock
};

struct worker {
    struct server *server;
    unsigned index;
    pthread_t id;
};

static struct wl_sizes sizes;

static void queue_array(struct server *server, struct array *array) {
    array->next = NULL;
    if (server->first == NULL)
        server->first = array;
    else
        server->last->next = array;
    server->last = array;
}

static void serve(struct array *array, uint64_t ops, struct wl_rng *rng) {
    for (uint64_t i = 0; i < ops; i++) {
        void **slot = &array->object[wl_below(rng, ARRAY_OBJECTS)];
        wl_delete(*slot);
        *slot = wl_new(wl_size(&sizes, rng));
    }
}

static void *live(void *arg) {
    struct worker *self = arg;
    struct server *server = self->server;
    pthread_mutex_lock(&server->lock);
    struct wl_rng rng = wl_rng_seeded(++server->lives);
    for (unsigned stay = 0; stay < LIFE_STAYS && server->ops_left > 0; stay++) {
        const uint64_t ops = server->ops_left < STAY_OPS ? server->ops_left : STAY_OPS;
        struct array *array = server->first;
        server->first = array->next;
        server->ops_left -= ops;
        pthread_mutex_unlock(&server->lock);
        serve(array, ops, &rng);
        pthread_mutex_lock(&server->lock);
        queue_array(server, array);
    }
    server->over[self->index] = true;
    pthread_cond_signal(&server->ended);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static void start(struct worker *worker) {
    const int error = pthread_create(&worker->id, NULL, live, worker);
    if (error != 0)
        wl_fail("cannot start a thread, error", (uint64_t)error);
}

// Index of a thread that is over, waiting for one; the caller holds server->lock.
static unsigned wait_for_end(struct server *server, unsigned threads) {
    for (;;) {
        for (unsigned i = 0; i < threads; i++) {
            if (server->over[i])
                return i;
        }
        pthread_cond_wait(&server->ended, &server->lock);
    }
}

static void run(const struct wl_run *run) {
    struct server server = {.ops_left = run->ops};
    pthread_mutex_init(&server.lock, NULL);
    pthread_cond_init(&server.ended, NULL);
    for (unsigned i = 0; i < run->threads * ARRAYS_PER_THREAD; i++) {
        struct array *array = calloc(1, sizeof *array);
        if (array == NULL)
            wl_fail("out of memory for an array of bytes:", sizeof *array);
        queue_array(&server, array);
    }

    struct worker worker[WL_THREADS_MAX];
    for (unsigned i = 0; i < run->threads; i++) {
        worker[i] = (struct worker){.server = &server, .index = i};
        start(&worker[i]);
    }
    unsigned alive = run->threads;
    pthread_mutex_lock(&server.lock);
    while (alive > 0) {
        const unsigned i = wait_for_end(&server, run->threads);
        const bool replace = server.ops_left > 0;
        server.over[i] = false;
        pthread_mutex_unlock(&server.lock);
        pthread_join(worker[i].id, NULL);
        if (replace)
            start(&worker[i]);
        else
            alive--;
        pthread_mutex_lock(&server.lock);
    }
    pthread_mutex_unlock(&server.lock);

    for (struct array *array = server.first, *next; array != NULL; array = next) {
        next = array->next;
        for (unsigned i = 0; i < ARRAY_OBJECTS; i++)
            wl_delete(array->object[i]);
        free(array);
    }
    pthread_cond_destroy(&server.ended);
    pthread_mutex_destroy(&server.lock);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "larson",
        .about = "Threads replace random objects in arrays handed on between them; threads come "
                 "and go.",
        .op = "objects replaced",
        .default_ops = 60000000,
        .run = run,
    };
    wl_sizes_log(&sizes, MIN_BYTES, MAX_BYTES);
    return wl_main(argc, argv, &spec);
}
