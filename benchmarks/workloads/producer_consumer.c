// SPDX-License-Identifier: Apache-2.0
// Messages allocated by producers and freed by consumers. Half of the threads produce, half
// consume; every producer sends to every consumer in turn. Messages travel in batches through
// bounded channels, so that the allocator and not the channel is measured and memory stays bounded.
// One thread alone plays both parts. An odd number of threads has one producer more.

#include "workload.h"

#include <pthread.h>
#include <string.h>

enum {
    BATCH = 256,          // messages
    CHANNEL_BATCHES = 32, // a channel holds at most this many
    MIN_BYTES = 16,
    MAX_BYTES = 1024,
};

struct batch {
    unsigned count;
    void *message[BATCH];
};

struct channel {
    pthread_mutex_t lock;
    pthread_cond_t not_full, not_empty;
    unsigned first, count; // the batches waiting; guarded by: lock
    unsigned senders;      // producers that may still send; guarded by: lock
    struct batch batch[CHANNEL_BATCHES];
};

struct exchange {
    const struct wl_run *run;
    unsigned producers, consumers;
    struct channel *channel; // one a consumer
};

static struct wl_sizes sizes;

static void send_batch(struct channel *channel, const struct batch *batch) {
    pthread_mutex_lock(&channel->lock);
    while (channel->count == CHANNEL_BATCHES)
        pthread_cond_wait(&channel->not_full, &channel->lock);
    channel->batch[(channel->first + channel->count) % CHANNEL_BATCHES] = *batch;
    channel->count++;
    pthread_cond_signal(&channel->not_empty);
    pthread_mutex_unlock(&channel->lock);
}

// False when the channel is empty and nobody will send any more.
static bool receive_batch(struct channel *channel, struct batch *batch) {
    pthread_mutex_lock(&channel->lock);
    while (channel->count == 0 && channel->senders > 0)
        pthread_cond_wait(&channel->not_empty, &channel->lock);
    const bool received = channel->count > 0;
    if (received) {
        *batch = channel->batch[channel->first];
        channel->first = (channel->first + 1) % CHANNEL_BATCHES;
        channel->count--;
        pthread_cond_signal(&channel->not_full);
    }
    pthread_mutex_unlock(&channel->lock);
    return received;
}

static void close_channel(struct channel *channel) {
    pthread_mutex_lock(&channel->lock);
    channel->senders--;
    pthread_cond_broadcast(&channel->not_empty);
    pthread_mutex_unlock(&channel->lock);
}

// At most `left` messages.
static void make_batch(struct batch *batch, uint64_t left, struct wl_rng *rng) {
    batch->count = left < BATCH ? (unsigned)left : BATCH;
    for (unsigned i = 0; i < batch->count; i++)
        batch->message[i] = wl_new(wl_size(&sizes, rng));
}

static void consume_batch(const struct batch *batch) {
    for (unsigned i = 0; i < batch->count; i++)
        wl_delete(batch->message[i]);
}

static void produce(struct exchange *exchange, unsigned index) {
    struct wl_rng rng = wl_rng_seeded(index);
    const struct wl_run share = {.threads = exchange->producers, .ops = exchange->run->ops};
    struct batch batch;
    unsigned to = index;
    for (uint64_t left = wl_share(&share, index); left > 0; left -= batch.count) {
        make_batch(&batch, left, &rng);
        send_batch(&exchange->channel[to++ % exchange->consumers], &batch);
    }
    for (unsigned i = 0; i < exchange->consumers; i++)
        close_channel(&exchange->channel[i]);
}

static void participate(unsigned index, void *arg) {
    struct exchange *exchange = arg;
    // Parts alternate, so that neighbours in the order of starting talk to each other.
    if (index % 2 == 0) {
        produce(exchange, index / 2);
        return;
    }
    struct batch batch;
    while (receive_batch(&exchange->channel[index / 2], &batch))
        consume_batch(&batch);
}

// One thread: fill the channel's worth of batches, then free the oldest for each new one.
static void run_alone(const struct wl_run *run) {
    static struct batch ring[CHANNEL_BATCHES];
    memset(ring, 0, sizeof ring);
    struct wl_rng rng = wl_rng_seeded(0);
    unsigned at = 0;
    for (uint64_t left = run->ops; left > 0; left -= ring[at].count) {
        at = (at + 1) % CHANNEL_BATCHES;
        consume_batch(&ring[at]);
        make_batch(&ring[at], left, &rng);
    }
    for (unsigned i = 0; i < CHANNEL_BATCHES; i++)
        consume_batch(&ring[i]);
}

static void run(const struct wl_run *run) {
    if (run->threads == 1) {
        run_alone(run);
        return;
    }
    struct exchange exchange = {
        .run = run,
        .producers = run->threads - run->threads / 2,
        .consumers = run->threads / 2,
    };
    exchange.channel = calloc(exchange.consumers, sizeof *exchange.channel);
    if (exchange.channel == NULL)
        wl_fail("out of memory for channels, number", exchange.consumers);
    for (unsigned i = 0; i < exchange.consumers; i++) {
        struct channel *channel = &exchange.channel[i];
        pthread_mutex_init(&channel->lock, NULL);
        pthread_cond_init(&channel->not_full, NULL);
        pthread_cond_init(&channel->not_empty, NULL);
        channel->senders = exchange.producers;
    }
    wl_parallel(run->threads, participate, &exchange);
    for (unsigned i = 0; i < exchange.consumers; i++) {
        pthread_mutex_destroy(&exchange.channel[i].lock);
        pthread_cond_destroy(&exchange.channel[i].not_full);
        pthread_cond_destroy(&exchange.channel[i].not_empty);
    }
    free(exchange.channel);
}

int main(int argc, char **argv) {
    static const struct wl_spec spec = {
        .name = "producer_consumer",
        .about = "Messages are allocated by half of the threads and freed by the other half.",
        .op = "messages",
        .default_ops = 24000000,
        .run = run,
    };
    wl_sizes_log(&sizes, MIN_BYTES, MAX_BYTES);
    return wl_main(argc, argv, &spec);
}
