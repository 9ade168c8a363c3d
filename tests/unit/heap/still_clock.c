// SPDX-License-Identifier: Apache-2.0
#include "still_clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "../../support/support.h"
#include "heap/scavenger.h"
#include "os/os.h"

#define MS_NS ((uint64_t)1000000)
#define START_NS (1000000 * MS_NS)

static atomic_bool still;
static _Atomic uint64_t clock_ns;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool sleeping;     // guarded by: mutex; the thread is in its wait and nothing ends it
static uint64_t until_ns; // guarded by: mutex; when the wait ends by itself

void still_clock_start(void) {
    atomic_store(&clock_ns, START_NS);
    atomic_store(&still, true);
}

uint64_t still_clock_ms(void) { return (atomic_load(&clock_ns) - START_NS) / MS_NS; }

void still_clock_advance(unsigned ms) {
    const uint64_t end_ns = atomic_load(&clock_ns) + ms * MS_NS;
    pthread_mutex_lock(&mutex);
    while (lr_scavenger_counts().running) {
        while (!sleeping)
            pthread_cond_wait(&changed, &mutex);
        if (until_ns > end_ns)
            break;
        atomic_store(&clock_ns, until_ns);
        sleeping = false;
        pthread_cond_broadcast(&changed);
    }
    atomic_store(&clock_ns, end_ns);
    pthread_mutex_unlock(&mutex);
}

uint64_t __real_lr_os_now_ns(void);
uint64_t __wrap_lr_os_now_ns(void);
uint64_t __wrap_lr_os_now_ns(void) {
    return atomic_load(&still) ? atomic_load(&clock_ns) : __real_lr_os_now_ns();
}

// What the thread does takes no time.
uint64_t __real_lr_os_thread_cpu_ns(void);
uint64_t __wrap_lr_os_thread_cpu_ns(void);
uint64_t __wrap_lr_os_thread_cpu_ns(void) {
    return atomic_load(&still) ? 0 : __real_lr_os_thread_cpu_ns();
}

void __real_lr_os_futex_wait_shared(void *word, uint32_t expected, uint64_t timeout_ns);
void __wrap_lr_os_futex_wait_shared(void *word, uint32_t expected, uint64_t timeout_ns);
void __wrap_lr_os_futex_wait_shared(void *word, uint32_t expected, uint64_t timeout_ns) {
    if (!atomic_load(&still)) {
        __real_lr_os_futex_wait_shared(word, expected, timeout_ns);
        return;
    }
    pthread_mutex_lock(&mutex);
    if (atomic_load((_Atomic uint32_t *)word) == expected) {
        const uint64_t now = atomic_load(&clock_ns);
        until_ns = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
        sleeping = true;
        pthread_cond_broadcast(&changed);
        while (sleeping)
            pthread_cond_wait(&changed, &mutex);
    }
    pthread_mutex_unlock(&mutex);
}

void __real_lr_os_futex_wake_shared(void *word, int count);
void __wrap_lr_os_futex_wake_shared(void *word, int count);
void __wrap_lr_os_futex_wake_shared(void *word, int count) {
    if (!atomic_load(&still)) {
        __real_lr_os_futex_wake_shared(word, count);
        return;
    }
    pthread_mutex_lock(&mutex);
    sleeping = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}
