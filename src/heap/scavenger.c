// SPDX-License-Identifier: Apache-2.0
// Keeps what demand.c says is worth keeping, returns the rest, at most LARDER_SCAVENGE_RATE bytes a
// second and for at most LARDER_SCAVENGE_CPU_PERCENT of a processor.
#include "heap/scavenger.h"

#include <errno.h>

#include "base/bits.h"
#include "conf/options.h"
#include "heap/demand.h"
#include "heap/meta.h"
#include "heap/release.h"
#include "heap/span_heap.h"
#include "heap/thp.h"
#include "os/os.h"

enum {
    TASKS_MOST = 5,
    // The program's atexit handlers run on this stack if its last thread ended (see end_if_last).
    STACK_BYTES = 256 << 10,
    // Less free memory than this does not wake a sleeping thread.
    WAKE_PAGES = 64,
    FALLING_PAGES = LR_PAGES_PER_HUGE, // so many returned in a tick: more may follow
    WORTH_PART = 8, // of the pages in use are free: from there on huge pages are broken under load
    HURRY_PAGES = 1024, // so many more became free since the last tick
};

#define MS_NS ((uint64_t)1000000)
#define PERIOD_MIN_NS (10 * MS_NS)
#define PERIOD_FALLING_MIN_NS (MS_NS * 5 / 2) // while much goes back
#define PERIOD_EARLY_NS (100 * MS_NS)         // while the heap would not need the thread
#define PERIOD_MAX_NS (1000 * MS_NS)
#define CPU_WINDOW_NS (30000 * MS_NS) // over which LARDER_SCAVENGE_CPU_PERCENT is kept
#define PUBLISH_NS (250 * MS_NS)
#define LAST_THREAD_POLL_NS (5 * MS_NS)
#define LAST_THREAD_POLLS 200 // for a second; then as there is work, or every PERIOD_MAX_NS

enum state { NOT_STARTED, RUNNING, REFUSED };

static struct {
    lr_scavenger_task *tasks[TASKS_MOST]; // immutable after start
    uint32_t task_count;
    atomic_u32 state; // enum state; changed under lr_scavenger_lock
    atomic_u32 wake;  // futex word unless one was given: not 0 asks the thread to look again
    struct lr_scavenger_service service; // immutable after start
    atomic_u32 early;                    // 1: started for another purpose than the heap's
    atomic_u32 last_hint;                // 1: the last known user of Larder has ended
    uint32_t last_polls;                 // scavenger thread only
    atomic_sz retry_pages;               // after a refusal: used pages at which to try again
    atomic_u64 inline_due_ns;
    atomic_u64 ticks;
    atomic_u64 cpu_ns;
    atomic_sz alarm_pages; // see lr_scavenger_alarm_at()
    atomic_u64 rest_ns;    // how long the next tick has to wait at least
    atomic_u32 falling;    // 1: much of what is free goes back now or soon
    atomic_sz hurry_pages; // free pages at which the next tick comes early
    atomic_u32 hurry;      // 1: they were reached
    // guarded by: tick_busy
    struct demand demand;
    int64_t account_pages;
    uint64_t account_ns;
    int64_t cpu_overdrawn_ns; // processor time used beyond what was earned; negative: left
    uint64_t cpu_earned_ns;   // until when it was earned
    atomic_u32 tick_busy;
} scavenger = {.alarm_pages = SIZE_MAX, .hurry_pages = SIZE_MAX};

atomic_u32 lr_scavenger_asleep;
atomic_u32 lr_scavenger_wanted;
static _Atomic(atomic_u32 *) wake_word = &scavenger.wake;
struct lr_lock lr_scavenger_lock = LR_LOCK_INIT(LR_RANK_SCAVENGER);

void lr_scavenger_add_task(lr_scavenger_task *task) {
    LR_CHECK(scavenger.task_count < TASKS_MOST);
    scavenger.tasks[scavenger.task_count++] = task;
}

void lr_scavenger_set_service(struct lr_scavenger_service service) { scavenger.service = service; }

// Release pairs with wake(): who sees the thread asleep (it stores that later) sees the word. A
// waker from before may still use the old word, which does no harm: the thread is awake.
void lr_scavenger_sleep_on(atomic_u32 *word) {
    lr_store_release(&wake_word, word != NULL ? word : &scavenger.wake);
}

static void wake(void) {
    atomic_u32 *word = lr_load_acquire(&wake_word);
    lr_store_release(word, 1); // pairs with the exchange in sleep_until(): why it is woken
    lr_os_futex_wake_shared(word, 1);
}

// Time to the next tick as the delay wants it.
static uint64_t period_ns(bool falling) {
    uint64_t step = lr_opt_scavenge_delay_ms() * MS_NS / LR_DEMAND_STEPS;
    return lr_max(lr_min(step, PERIOD_MAX_NS), falling ? PERIOD_FALLING_MIN_NS : PERIOD_MIN_NS);
}

static uint64_t rest_ns(void) { return lr_load_relaxed(&scavenger.rest_ns); }

// Time to the next tick as processor time allows.
static uint64_t pause_ns(void) {
    uint64_t period = lr_load_relaxed(&scavenger.early) != 0
                          ? PERIOD_EARLY_NS
                          : period_ns(lr_load_relaxed(&scavenger.falling) != 0);
    return lr_max(period, rest_ns());
}

// How many pages LARDER_SCAVENGE_RATE allows now. A huge page may overdraw the account, which later
// ticks pay back; what a tick does not use is lost, so that a rate is never made up for by a burst.
static size_t allowed_pages(uint64_t now_ns) {
    int64_t rate = (int64_t)(lr_opt_scavenge_rate() >> LR_PAGE_SHIFT);
    uint64_t elapsed_ns = lr_min(now_ns - scavenger.account_ns, pause_ns());
    int64_t earned = rate * (int64_t)(elapsed_ns / MS_NS) / 1000;
    scavenger.account_ns = now_ns;
    scavenger.account_pages =
        scavenger.account_pages < 0 ? scavenger.account_pages + earned : earned;
    return scavenger.account_pages > 0 ? (size_t)scavenger.account_pages : 0;
}

// The rest of the huge page that is being filled.
static size_t slack_pages(void) {
    return lr_thp_mode() == LR_THP_MODE_SMALL ? 0 : LR_PAGES_PER_HUGE;
}

// Many pages became free at once: those who have to decide about them look soon.
static void hurry(void) {
    if (lr_exchange_acquire(&scavenger.hurry_pages, SIZE_MAX) != SIZE_MAX) {
        lr_store_relaxed(&scavenger.hurry, 1); // before wake(), which releases
        wake();
    }
}

static void expect_hurry(size_t free_pages) {
    bool thread = lr_opt_scavenger() == LR_SCAVENGER_THREAD;
    lr_store_relaxed(&scavenger.hurry, 0);
    lr_store_relaxed(&scavenger.hurry_pages, thread ? free_pages + HURRY_PAGES : SIZE_MAX);
}

// Under load holes of huge pages are soon used again, and breaking one up for a few pages costs
// more than they are worth; afterwards all that is free goes.
enum lr_breaks lr_scavenger_breaks(void) {
    if (!scavenger.demand.load) {
        return LR_BREAK_ANY;
    }
    return scavenger.demand.swings ? LR_BREAK_NONE : LR_BREAK_SPARSE;
}

// Returns surplus pages; true while free memory is left to decide about.
static bool return_surplus(uint64_t now_ns) {
    struct span_heap_counts counts = lr_span_heap_take_recent();
    struct demand_sample sample = {.now_ns = now_ns,
                                   .used_pages = counts.used_pages,
                                   .peak_pages = counts.peak_used_pages,
                                   .taken_pages = counts.taken_pages,
                                   .taken_clean = counts.taken_clean,
                                   .large_clean = counts.large_clean,
                                   .large_pages = counts.large_pages,
                                   .large_peak = counts.peak_large_pages,
                                   .large_taken = counts.large_taken,
                                   .slack_pages = slack_pages()};
    size_t keep = lr_demand_keep(&scavenger.demand, &sample, lr_opt_scavenge_delay_ms() * MS_NS);
    lr_store_relaxed(&scavenger.falling, scavenger.demand.falling);
    if (counts.used_pages + counts.free_dirty_pages >= lr_opt_scavenge_start() >> LR_PAGE_SHIFT) {
        lr_store_relaxed(&scavenger.early, 0);
    }
    expect_hurry(lr_max(counts.free_dirty_pages, keep));
    if (counts.free_dirty_pages <= keep) {
        return counts.free_dirty_pages > 0;
    }
    size_t allowed = allowed_pages(now_ns);
    if (allowed == 0) {
        return true;
    }
    enum lr_breaks breaks = lr_scavenger_breaks();
    if (breaks == LR_BREAK_SPARSE && counts.free_dirty_pages < counts.used_pages / WORTH_PART) {
        breaks = LR_BREAK_NONE;
    }
    size_t released = lr_release_pages(lr_min(counts.free_dirty_pages - keep, allowed), breaks);
    scavenger.account_pages -= (int64_t)released;
    lr_demand_note_released(&scavenger.demand, released);
    if (released >= FALLING_PAGES) {
        lr_store_relaxed(&scavenger.falling, 1);
    }
    // What the kernel refuses (locked memory) is not tried again until something changes.
    return released != 0 || keep > 0;
}

// Books `spent_ns` of processor time. What was not used in the last half minute is there for a
// burst; what was used too much is waited for.
static void book_cpu(uint64_t spent_ns, uint64_t now_ns) {
    int64_t percent = (int64_t)lr_opt_scavenge_cpu_percent();
    uint64_t elapsed_ns = lr_min(now_ns - scavenger.cpu_earned_ns, CPU_WINDOW_NS);
    int64_t overdrawn = scavenger.cpu_overdrawn_ns - (int64_t)elapsed_ns * percent / 100;
    int64_t lowest = -(int64_t)CPU_WINDOW_NS * percent / 100;
    overdrawn = (overdrawn > lowest ? overdrawn : lowest) + (int64_t)spent_ns;
    scavenger.cpu_earned_ns = now_ns;
    scavenger.cpu_overdrawn_ns = overdrawn;
    lr_store_relaxed(&scavenger.rest_ns, overdrawn > 0 ? (uint64_t)(overdrawn * 100 / percent) : 0);
    lr_counter_add(&scavenger.cpu_ns, spent_ns);
}

static bool run_tick(void) {
    if (lr_exchange_acquire(&scavenger.tick_busy, 1) != 0) {
        return true;
    }
    bool more = false;
    uint64_t now = lr_os_now_ns();
    uint64_t cpu = lr_os_thread_cpu_ns();
    for (uint32_t i = 0; i < scavenger.task_count; i++) {
        more |= scavenger.tasks[i](now);
    }
    more |= return_surplus(now);
    lr_meta_release(false);
    more |= lr_meta_dirty_bytes() > 0;
    lr_counter_add(&scavenger.ticks, 1);
    book_cpu(lr_os_thread_cpu_ns() - cpu, now);
    lr_store_release(&scavenger.tick_busy, 0); // pairs with the exchange above: demand
    return more;
}

static void call(void (*service)(void)) {
    if (service != NULL) {
        service();
    }
}

// Sleeps until the time, UINT64_MAX being never, or until something happens in the process; those
// outside are served meanwhile. `untimed`: lr_scavenger_asleep has been set.
static void sleep_until(uint64_t end_ns, bool untimed) {
    uint64_t hurried_ns = lr_os_now_ns() + lr_max(period_ns(true), rest_ns());
    for (;;) {
        uint64_t now = lr_os_now_ns();
        if (lr_load_relaxed(&scavenger.hurry) != 0) {
            end_ns = lr_min(end_ns, hurried_ns);
        }
        if (now >= end_ns) {
            return;
        }
        atomic_u32 *word = lr_load_relaxed(&wake_word);
        uint64_t due = scavenger.service.due_ns != NULL ? scavenger.service.due_ns() : UINT64_MAX;
        uint64_t until = lr_min(end_ns, due);
        if (until > now) {
            lr_os_futex_wait_shared(word, 0, until == UINT64_MAX ? until : until - now);
        }
        // Emptied first, then the reasons are looked at: one that comes later fills it again.
        (void)lr_exchange_acq_rel(word, 0);
        call(scavenger.service.serve);
        if ((untimed && lr_load_relaxed(&lr_scavenger_asleep) == 0) ||
            lr_load_relaxed(&scavenger.last_hint) != 0 ||
            lr_opt_scavenger() != LR_SCAVENGER_THREAD) {
            return;
        }
    }
}

// `idle_ticks`: how many ticks in a row found nothing to do. Sleeping without a timeout only after
// as many as the delay has steps bounds how often activity wakes the thread.
static void sleep_until_needed(uint32_t idle_ticks) {
    bool more = idle_ticks < LR_DEMAND_STEPS;
    if (!more) {
        // "Asleep" first, then one more look: the tick's locks order the two. A thread that frees
        // afterwards sees the flag; one that freed before is seen by this tick. Release: see
        // lr_scavenger_sleep_on().
        lr_store_release(&lr_scavenger_asleep, 1);
        more = run_tick();
    }
    if (more) {
        lr_store_relaxed(&lr_scavenger_asleep, 0);
    }
    sleep_until(more ? lr_os_now_ns() + pause_ns() : UINT64_MAX, !more);
    lr_store_relaxed(&lr_scavenger_asleep, 0);
}

// When main() left by pthread_exit() and all other threads of the program are gone, only this
// thread keeps the process alive: returning from it lets libc call exit(). The thread that gave the
// hint is still in its last destructors, and threads that never called malloc may go on for long,
// while there may be much to return.
static bool end_if_last(uint32_t idle_ticks) {
    static uint32_t never;
    if (lr_os_only_thread_left()) {
        return true;
    }
    uint64_t wait = idle_ticks < LR_DEMAND_STEPS ? pause_ns() : PERIOD_MAX_NS;
    if (scavenger.last_polls < LAST_THREAD_POLLS) {
        scavenger.last_polls++;
        wait = LAST_THREAD_POLL_NS;
    }
    lr_os_futex_wait(&never, 0, wait);
    return false;
}

// Figures for those outside: a few times a second under load, and the last ones before sleeping.
static void publish(bool now) {
    static uint64_t published_ns; // scavenger thread only
    uint64_t now_ns = lr_os_now_ns();
    if (now || now_ns - published_ns >= PUBLISH_NS) {
        published_ns = now_ns;
        call(scavenger.service.publish);
    }
}

static void *run(void *unused) {
    (void)unused;
    lr_os_thread_name("larder");
    lr_os_membarrier_register();
    bool last = false;
    uint32_t idle_ticks = 0;
    while (!last && lr_opt_scavenger() == LR_SCAVENGER_THREAD) {
        publish(idle_ticks > 0);
        call(scavenger.service.serve);
        idle_ticks = run_tick() ? 0 : idle_ticks + 1;
        if (lr_load_relaxed(&scavenger.last_hint) != 0) {
            last = end_if_last(idle_ticks);
        } else {
            scavenger.last_polls = 0;
            sleep_until_needed(idle_ticks);
        }
    }
    lr_lock(&lr_scavenger_lock);
    lr_store_relaxed(&scavenger.state, NOT_STARTED);
    lr_unlock(&lr_scavenger_lock);
    return NULL;
}

LR_COLD void lr_scavenger_wake_slow(void) {
    // The flag is taken before the futex word is set: the thread, once woken, finds it taken.
    if (lr_exchange_acq_rel(&lr_scavenger_asleep, 0) != 0) {
        wake();
    }
}

void lr_scavenger_alarm_at(size_t pages) { lr_store_relaxed(&scavenger.alarm_pages, pages); }

LR_COLD void lr_scavenger_start(void) {
    if (!lr_trylock(&lr_scavenger_lock)) {
        return; // another thread is at it
    }
    bool wanted = lr_load_relaxed(&lr_scavenger_wanted) != 0;
    lr_store_relaxed(&lr_scavenger_wanted, 0);
    bool start = wanted && lr_load_relaxed(&scavenger.state) != RUNNING;
    if (start) {
        lr_store_relaxed(&scavenger.state, RUNNING);
    }
    lr_unlock(&lr_scavenger_lock);
    int saved = errno;
    if (wanted && !start) { // the alarm, which serve() sets again if it still has to
        lr_scavenger_alarm_at(SIZE_MAX);
        lr_scavenger_note_activity();
    }
    // Without the lock: pthread_create() calls malloc.
    if (start && lr_os_thread_start(run, NULL, STACK_BYTES) != 0) {
        lr_store_relaxed(&scavenger.retry_pages, 2 * lr_span_heap_counts().used_pages);
        lr_store_relaxed(&scavenger.state, REFUSED);
    }
    errno = saved;
}

void lr_scavenger_note_used(size_t used_pages) {
    bool alarm = used_pages >= lr_load_relaxed(&scavenger.alarm_pages);
    uint32_t state = lr_load_relaxed(&scavenger.state);
    if (LR_UNLIKELY(alarm) && state == RUNNING) {
        lr_store_relaxed(&lr_scavenger_wanted, 1);
    }
    if (LR_LIKELY(state == RUNNING) || lr_opt_scavenger() != LR_SCAVENGER_THREAD) {
        return;
    }
    size_t start = lr_opt_scavenge_start() >> LR_PAGE_SHIFT;
    if (lr_opt_publish() > 1 || lr_opt_metrics_file() != 0 || alarm) {
        start = 0;
    }
    if (state == REFUSED) {
        start = lr_max(start, lr_load_relaxed(&scavenger.retry_pages));
    }
    if (used_pages >= start) {
        lr_store_relaxed(&lr_scavenger_wanted, 1);
    }
}

void lr_scavenger_want(void) {
    if (lr_load_relaxed(&scavenger.state) == NOT_STARTED) {
        lr_store_relaxed(&scavenger.early, 1); // until a tick finds that it is not
        lr_store_relaxed(&lr_scavenger_wanted, 1);
    }
}

void lr_scavenger_note_free(size_t dirty_pages) {
    if (dirty_pages >= WAKE_PAGES) {
        lr_scavenger_note_activity();
    }
    if (LR_UNLIKELY(dirty_pages >= lr_load_relaxed(&scavenger.hurry_pages))) {
        hurry();
    }
    uint32_t state = lr_load_relaxed(&scavenger.state);
    bool by_caller = lr_opt_scavenger() == LR_SCAVENGER_INLINE ||
                     (state == REFUSED && lr_opt_scavenger() == LR_SCAVENGER_THREAD);
    if (LR_LIKELY(!by_caller)) {
        return;
    }
    uint64_t now = lr_os_now_ns();
    uint64_t due = lr_load_relaxed(&scavenger.inline_due_ns);
    if (now >= due && lr_cas_relaxed(&scavenger.inline_due_ns, &due, now + pause_ns())) {
        run_tick();
    }
}

void lr_scavenger_note_last_thread(void) {
    if (lr_load_relaxed(&scavenger.state) == RUNNING) {
        lr_store_relaxed(&scavenger.last_hint, 1);
        wake();
    }
}

void lr_scavenger_note_first_thread(void) { lr_store_relaxed(&scavenger.last_hint, 0); }

void lr_scavenger_after_fork_child(void) {
    lr_store_relaxed(&scavenger.state, NOT_STARTED);
    lr_store_relaxed(&lr_scavenger_asleep, 0);
    lr_store_relaxed(&lr_scavenger_wanted, 0);
    lr_store_relaxed(&scavenger.tick_busy, 0);
    lr_store_relaxed(&scavenger.hurry_pages, SIZE_MAX);
    lr_store_relaxed(&scavenger.wake, 0);
    lr_store_relaxed(&wake_word, &scavenger.wake);
    lr_store_relaxed(&scavenger.last_hint, 0);
}

bool lr_scavenger_hold(uint64_t wait_ns) {
    enum { NAP_NS = 200000 };
    uint32_t never_woken = 0;
    uint64_t naps = wait_ns / NAP_NS; // counted, because a clock may stand still (libfaketime)
    while (lr_exchange_acquire(&scavenger.tick_busy, 1) != 0) { // as run_tick() does
        if (naps-- == 0) {
            return false;
        }
        lr_os_futex_wait(&never_woken, 0, NAP_NS);
    }
    return true;
}

void lr_scavenger_let_go(void) { lr_store_release(&scavenger.tick_busy, 0); }

struct scavenger_counts lr_scavenger_counts(void) {
    return (struct scavenger_counts){.ticks = lr_load_relaxed(&scavenger.ticks),
                                     .cpu_ns = lr_load_relaxed(&scavenger.cpu_ns),
                                     .running = lr_load_relaxed(&scavenger.state) == RUNNING};
}
