// SPDX-License-Identifier: Apache-2.0
// The process that runs a plan, under whatever malloc it was started with. It allocates nothing for
// itself, so that the figures are those of the plan alone.
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tool/replay_plan.h"
#include "tool/tool.h"

enum {
    PUBLISH = 64, // operations between two words of how far a thread is
    SPINS = 100,  // before a waiting thread lets others run
    YIELDS = 200,
    NAP_NS = 20000,
    LOOK_NS = 100000, // between looks at how far the threads are
    FAILED_BLOCK = 1, // in the slot of an allocation that failed
};

struct runner {
    pthread_t thread;
    atomic_u64 position; // order of its next operation, or of one shortly before; UINT64_MAX: done
    uint32_t index;
    bool started;
} __attribute__((aligned(64)));

static struct plan *plan;
static struct runner *runners;
static atomic_u64 limit; // of the order that threads may go to
static atomic_u64 failed;

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void touch(void *block, uint64_t size) {
    volatile char *bytes = block;
    if (size == 0) {
        return;
    }
    if (plan->touch == PLAN_TOUCH_ALL) {
        memset(block, 1, size);
        return;
    }
    bytes[0] = 1;
    for (uint64_t at = 4096; plan->touch == PLAN_TOUCH_PAGES && at < size; at += 4096) {
        bytes[at] = 1;
    }
}

static void pause_once(unsigned *spins) {
    if (++*spins < SPINS) {
        lr_cpu_relax();
    } else if (*spins < YIELDS) {
        (void)sched_yield();
    } else {
        const struct timespec nap = {.tv_nsec = NAP_NS};
        (void)nanosleep(&nap, NULL); // on a machine with other work yielding may take all the time
    }
}

static void put(uint32_t slot, void *block) {
    if (block == NULL) {
        lr_fetch_add_relaxed(&failed, 1);
    }
    // Release pairs with take(): the block is handed over with what was written to it.
    lr_store_release(&lr_plan_slots(plan)[slot],
                     block != NULL ? (uint64_t)(size_t)block : FAILED_BLOCK);
}

// Waits for the block that another thread allocates. The slot is empty then, for the next user.
static void *take(uint32_t slot, struct runner *self, uint64_t order) {
    atomic_u64 *place = &lr_plan_slots(plan)[slot];
    unsigned spins = 0;
    uint64_t block;
    while ((block = lr_load_acquire(place)) == 0) {
        lr_store_release(&self->position, order);
        pause_once(&spins);
    }
    lr_store_relaxed(place, 0);
    return block == FAILED_BLOCK ? NULL : (void *)(size_t)block;
}

static void do_op(const struct plan_op *op, struct runner *self) {
    void *block;
    switch (op->kind) {
    case LARDER_TRACE_DEALLOC:
        free(take(op->slot, self, op->order));
        return;
    case LARDER_TRACE_CALLOC:
        block = calloc(1, op->size);
        break;
    case LARDER_TRACE_ALIGNED: {
        const size_t align = (size_t)1 << op->align_log;
        if (posix_memalign(&block, align < sizeof(void *) ? sizeof(void *) : align, op->size) !=
            0) {
            block = NULL;
        }
        break;
    }
    case LARDER_TRACE_REALLOC: {
        void *old = take(op->slot, self, op->order);
        void *moved = realloc(old, op->size != 0 ? op->size : 1); // of 0 bytes it would be a free
        if (moved != NULL) {
            touch(moved, op->size);
        }
        put(op->to, moved != NULL ? moved : old);
        return;
    }
    default:
        block = malloc(op->size);
        break;
    }
    if (block != NULL) {
        touch(block, op->size);
    }
    put(op->slot, block);
}

static void wait_for_limit(struct runner *self, uint64_t order) {
    unsigned spins = 0;
    lr_store_release(&self->position, order);
    // Acquire pairs with let_go(): all operations below the window are done.
    while (lr_load_acquire(&limit) < order) {
        pause_once(&spins);
    }
}

static void *run_thread(void *argument) {
    struct runner *self = argument;
    const struct plan_thread *mine = &lr_plan_threads(plan)[self->index];
    const struct plan_op *op = lr_plan_ops(plan) + mine->first;
    uint64_t allowed = lr_load_acquire(&limit);
    for (uint64_t i = 0; i < mine->count; i++, op++) {
        if (op->order > allowed) {
            wait_for_limit(self, op->order);
            allowed = lr_load_acquire(&limit);
        }
        if (i % PUBLISH == 0) {
            lr_store_release(&self->position, op->order); // pairs with let_go()
        }
        do_op(op, self);
    }
    lr_store_release(&self->position, UINT64_MAX);
    return NULL;
}

// Moves the limit to what the slowest thread allows, starts those whose time has come. The order of
// the slowest is never beyond the limit, and what it waits for came before it: so there is always
// one that can go on. False when all are done.
static bool let_go(void) {
    uint64_t slowest = UINT64_MAX;
    for (uint32_t t = 0; t < plan->thread_count; t++) {
        const uint64_t position = lr_load_acquire(&runners[t].position);
        slowest = position < slowest ? position : slowest;
    }
    if (slowest == UINT64_MAX) {
        return false;
    }
    lr_store_release(&limit, slowest + PLAN_WINDOW);
    for (uint32_t t = 0; t < plan->thread_count; t++) {
        struct runner *runner = &runners[t];
        if (!runner->started && lr_load_relaxed(&runner->position) <= slowest + PLAN_WINDOW) {
            runner->started = true;
            const int error = pthread_create(&runner->thread, NULL, run_thread, runner);
            if (error != 0) {
                lr_tool_error("cannot start thread %u of %u: %s", t + 1, plan->thread_count,
                              strerror(error));
                _exit(TOOL_FAILED);
            }
        }
    }
    return true;
}

static void run_threads(void) {
    const struct timespec pause = {.tv_nsec = LOOK_NS};
    if (plan->thread_count == 1) {
        lr_store_relaxed(&limit, UINT64_MAX);
        (void)run_thread(&runners[0]); // a program of one thread stays one
        return;
    }
    while (let_go()) {
        (void)nanosleep(&pause, NULL);
    }
    for (uint32_t t = 0; t < plan->thread_count; t++) {
        (void)pthread_join(runners[t].thread, NULL);
    }
}

// The number behind the key in /proc/self/status, in bytes.
static uint64_t status_bytes(const char *key) {
    char text[4096];
    const int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    const ssize_t length = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    text[length > 0 ? length : 0] = '\0';
    const char *at = strstr(text, key);
    return at != NULL ? strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

static uint64_t beyond(uint64_t bytes, uint64_t base) { return bytes > base ? bytes - base : 0; }

static void forget_peak(void) {
    const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "5", 1);
        close(fd);
    }
}

static void count_live(struct plan_result *result) {
    for (uint64_t i = 0; i < plan->slot_count; i++) {
        const uint64_t block = lr_load_relaxed(&lr_plan_slots(plan)[i]);
        if (block > FAILED_BLOCK) {
            result->live_blocks++;
            result->live_bytes += malloc_usable_size((void *)(size_t)block);
        }
    }
}

static void name_library(struct plan_result *result) {
    Dl_info info;
    void *function;
    void *(*const address)(size_t) = malloc;
    memcpy(&function, &address, sizeof function);
    if (dladdr(function, &info) != 0 && info.dli_fname != NULL) {
        strncpy(result->malloc_file, info.dli_fname, sizeof result->malloc_file - 1);
    }
}

int lr_plan_run(int fd) {
    struct stat status;
    struct rusage before;
    struct rusage after;
    if (fstat(fd, &status) != 0 || status.st_size < (off_t)sizeof *plan) {
        return TOOL_FAILED;
    }
    // All of it resident at once, to count as what was there before.
    plan = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
                0);
    if (plan == MAP_FAILED) {
        return TOOL_FAILED;
    }
    runners = mmap(NULL, (plan->thread_count + 1) * sizeof *runners, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (runners == MAP_FAILED) {
        return TOOL_FAILED;
    }
    for (uint32_t t = 0; t < plan->thread_count; t++) {
        runners[t].index = t;
        runners[t].position = lr_plan_ops(plan)[lr_plan_threads(plan)[t].first].order;
    }
    struct plan_result result = {0};
    name_library(&result);
    forget_peak();
    const uint64_t base = status_bytes("VmRSS:");
    for (uint64_t i = 0; i < plan->before_count; i++) {
        const struct plan_before *block = &lr_plan_before(plan)[i];
        void *memory = malloc(block->size);
        if (memory != NULL) {
            touch(memory, block->size);
        }
        put((uint32_t)block->slot, memory);
    }
    getrusage(RUSAGE_SELF, &before);
    const uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    const uint64_t begin = clock_ns(CLOCK_MONOTONIC);
    run_threads();
    result.wall_ns = clock_ns(CLOCK_MONOTONIC) - begin;
    result.cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    getrusage(RUSAGE_SELF, &after);
    result.faults = (uint64_t)(after.ru_minflt - before.ru_minflt);
    result.peak_bytes = beyond(status_bytes("VmHWM:"), base);
    result.end_bytes = beyond(status_bytes("VmRSS:"), base);
    count_live(&result);
    (void)usleep((useconds_t)(plan->rest_ms * 1000));
    result.rest_bytes = beyond(status_bytes("VmRSS:"), base);
    result.failed = lr_load_relaxed(&failed);
    result.done = 1;
    plan->result = result;
    return TOOL_OK;
}
