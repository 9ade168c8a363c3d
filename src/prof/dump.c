// SPDX-License-Identifier: Apache-2.0
#include "prof/dump.h"

#include <errno.h>

#include "base/print.h"
#include "cache/central.h"
#include "conf/options.h"
#include "heap/huge_page.h"
#include "heap/span_heap.h"
#include "os/os.h"
#include "prof/frames.h"
#include "prof/module.h"
#include "prof/profile.h"
#include "prof/stack_table.h"

enum {
    BUFFER_BYTES = 4096,
    LEAKS_SHOWN = 20,
    LEAK_FRAMES = 12,
};

static atomic_u32 writing; // process id of who writes one, 0: nobody; a forked child has another

// ---- Pinned bytes: the free memory that cannot be used otherwise because a block is live ----
//
// The free blocks of a span, and the free pages of a huge page, divided among what is in use there.
// A sample's shadow lies where the sample would lie.

static double pinned_in_span(const struct lr_sample *sample) {
    struct span *span = lr_span_of_page(lr_page_of(sample->shadow));
    struct lr_lock *lock = lr_central_lock(sample->size_class);
    lr_lock(lock);
    unsigned free = span->free_objects;
    unsigned used = span->object_count - free;
    lr_unlock(lock);
    return used == 0 ? 0 : (double)free / used * (double)sample->bytes;
}

static double pinned_in_huge_page(const struct lr_sample *sample) {
    const void *block = sample->shadow != NULL ? sample->shadow : sample->block;
    size_t page = lr_page_of(block);
    if (!lr_page_in_window(page) || sample->bytes >= LR_HUGE_BYTES) {
        return 0;
    }
    lr_lock(&lr_span_heap_lock);
    unsigned used = lr_window.huge_pages[page / LR_PAGES_PER_HUGE].used_count;
    lr_unlock(&lr_span_heap_lock);
    unsigned free = LR_PAGES_PER_HUGE - used;
    return used == 0 ? 0 : (double)free / used * (double)sample->bytes;
}

static void forget_pinned(struct lr_stack *stack) {
    stack->sums.pinned_span_bytes = 0;
    stack->sums.pinned_huge_bytes = 0;
}

static void add_pinned(struct lr_sample *sample) {
    if (sample->stack == NULL) {
        return;
    }
    struct lr_stack_sums *sums = &sample->stack->sums;
    if (sample->shadow != NULL) {
        sums->pinned_span_bytes += sample->weight * pinned_in_span(sample);
    }
    sums->pinned_huge_bytes += sample->weight * pinned_in_huge_page(sample);
}

// ---- Text ----

static void print_estimate(struct lr_print *p, double value) {
    // Sums of what was added and taken away again may come out a little below 0.
    lr_print_f(p, " %ju", value > 0 ? (uintmax_t)(value + 0.5) : (uintmax_t)0);
}

static void print_stack(struct lr_print *p, struct lr_stack *stack) {
    lr_lock(&lr_sample_lock);
    lr_profile_note_peak_locked(stack);
    struct lr_stack_sums sums = stack->sums;
    lr_unlock(&lr_sample_lock);
    const double columns[] = {
        sums.objects,           sums.bytes,
        sums.live_objects,      sums.live_bytes,
        sums.peak_objects,      sums.peak_bytes,
        sums.freed_objects,     sums.freed_bytes,
        sums.lifetime_ns,       sums.pinned_span_bytes,
        sums.pinned_huge_bytes,
    };
    lr_print_str(p, "stack");
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        print_estimate(p, columns[i]);
    }
    for (size_t i = 0; i < LR_LIFETIMES; i++) {
        print_estimate(p, sums.lifetimes[i]);
    }
    lr_print_str(p, " :");
    for (uint32_t i = 0; i < stack->depth; i++) {
        lr_print_f(p, " %zx", stack->pcs[i]);
    }
    lr_print_char(p, '\n');
}

static void print_mapping(const struct lr_os_mapping *mapping, void *context) {
    if (mapping->executable) {
        lr_print_f(context, "%zx-%zx %zx %s\n", mapping->start, mapping->end, mapping->offset,
                   mapping->path);
    }
}

static void print_profile(struct lr_print *p) {
    struct lr_sample_counts counts = lr_sample_counts();
    lr_print_f(p, "larder-profile 1\nprocess %u\ntime_ns %ju\nsampling %ju\ninterval %ju\n",
               lr_os_process_id(), (uintmax_t)lr_os_now_ns(), (uintmax_t)lr_opt_profile(),
               (uintmax_t)lr_opt_profile_interval());
    lr_print_f(p, "samples %ju\nsamples_live %ju\nsamples_dropped %ju\n", (uintmax_t)counts.taken,
               (uintmax_t)counts.live, (uintmax_t)counts.dropped);
    lr_print_str(p, "columns objects bytes live_objects live_bytes peak_objects peak_bytes "
                    "freed_objects freed_bytes lifetime_ns pinned_span_bytes pinned_huge_bytes "
                    "freed_1ms freed_10ms freed_100ms freed_1s freed_10s freed_100s freed_later\n");
    for (struct lr_stack *s = lr_stack_first(); s != NULL; s = lr_stack_after(s)) {
        print_stack(p, s);
    }
    lr_print_str(p, "maps\n");
    (void)lr_os_each_mapping(print_mapping, p);
}

int lr_profile_dump(int fd) {
    const uint32_t own = lr_os_process_id();
    uint32_t other = lr_load_relaxed(&writing);
    if (other == own || !lr_cas_acquire(&writing, &other, own)) {
        return -EBUSY;
    }
    for (struct lr_stack *s = lr_stack_first(); s != NULL; s = lr_stack_after(s)) {
        lr_lock(&lr_sample_lock);
        forget_pinned(s);
        lr_unlock(&lr_sample_lock);
    }
    lr_sample_each(add_pinned);
    char buffer[BUFFER_BYTES];
    struct lr_print p;
    lr_print_init(&p, buffer, sizeof buffer, fd);
    print_profile(&p);
    int result = lr_print_flush(&p);
    lr_store_release(&writing, 0); // pairs with the exchange above: the pinned bytes
    return result;
}

// ---- Leaks ----

static double live_bytes_of(struct lr_stack *stack) {
    lr_lock(&lr_sample_lock);
    double bytes = stack->sums.live_bytes;
    lr_unlock(&lr_sample_lock);
    return bytes;
}

// The order of the report: by live bytes, the most first; by address where they are equal.
static bool comes_after(double bytes, const struct lr_stack *stack, double other_bytes,
                        const struct lr_stack *other) {
    return bytes < other_bytes || (bytes == other_bytes && (size_t)stack > (size_t)other);
}

// The stack that follows `*stack`, which has `*bytes`; false: none has live bytes.
static bool next_leak(struct lr_stack **stack, double *bytes) {
    struct lr_stack *found = NULL;
    double found_bytes = 0;
    for (struct lr_stack *s = lr_stack_first(); s != NULL; s = lr_stack_after(s)) {
        double live = live_bytes_of(s);
        if (live >= 0.5 && comes_after(live, s, *bytes, *stack) &&
            (found == NULL || comes_after(found_bytes, found, live, s))) {
            found = s;
            found_bytes = live;
        }
    }
    *stack = found;
    *bytes = found_bytes;
    return found != NULL;
}

// Why there is nothing to show, where no sample is left.
static void print_no_samples(struct lr_print *p) {
    const struct lr_sample_counts counts = lr_sample_counts();
    if (counts.live != 0) {
        return;
    }
    if (counts.taken != 0) {
        lr_print_f(p, "larder: all %ju sampled blocks were freed; smaller leaks may have no sample",
                   (uintmax_t)counts.taken);
    } else if (lr_opt_hardened() != 0) {
        lr_print_str(p, "larder: no allocation was sampled: LARDER_HARDENED=1 has no samples\n");
        return;
    } else {
        lr_print_str(p, "larder: no allocation was sampled: the program asked for too little");
    }
    lr_print_str(p, "; LARDER_PROFILE_INTERVAL is ");
    lr_option_print_value(p, LR_OPTION_profile_interval, lr_opt_profile_interval());
    lr_print_str(p, ", a smaller one sees more\n");
}

int lr_profile_leaks(int fd) {
    char buffer[BUFFER_BYTES];
    char command[LR_OS_COMMAND_BYTES];
    struct lr_print p;
    lr_print_init(&p, buffer, sizeof buffer, fd);
    double total = 0;
    double objects = 0;
    for (struct lr_stack *s = lr_stack_first(); s != NULL; s = lr_stack_after(s)) {
        total += s->sums.live_bytes;
        objects += s->sums.live_objects;
    }
    lr_os_command(command);
    lr_print_f(&p, "larder: process %u (%s): not freed at exit: ", lr_os_process_id(), command);
    lr_print_bytes(&p, total > 0 ? (uint64_t)(total + 0.5) : 0);
    lr_print_f(&p, " in %ju blocks, estimated from %ju samples\n",
               objects > 0 ? (uintmax_t)(objects + 0.5) : (uintmax_t)0,
               (uintmax_t)lr_sample_counts().live);
    print_no_samples(&p);
    double bytes = total + 1;
    struct lr_stack *stack = NULL;
    for (unsigned i = 0; i < LEAKS_SHOWN && next_leak(&stack, &bytes); i++) {
        lr_print_str(&p, "  ");
        lr_print_bytes(&p, (uint64_t)(bytes + 0.5));
        lr_print_f(&p, " in %ju blocks, allocated by\n",
                   (uintmax_t)(stack->sums.live_objects + 0.5));
        lr_frames_print(&p, stack->pcs, (unsigned)lr_min(stack->depth, LEAK_FRAMES));
    }
    return lr_print_flush(&p);
}
