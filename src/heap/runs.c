// SPDX-License-Identifier: Apache-2.0
// Segregated lists: one for each length up to 64 huge pages, eight for each doubling above, and a
// bitmap of the lists that are not empty, so that finding, adding and joining take constant time.
#include "heap/runs.h"

#include "base/bits.h"
#include "base/fail.h"
#include "heap/window.h"

enum {
    EXACT = 64,
    STEPS = 8,
    LISTS = EXACT + STEPS * 12, // up to 2^18 huge pages, a window of 512 GiB; longer share the last
    WORDS = (LISTS + 63) / 64,
    SCAN_MOST = 16, // runs looked at in a list of mixed lengths
};

static struct {
    uint32_t head[LISTS];
    uint64_t filled[WORDS];
} sets[RUN_KINDS]; // guarded by: span-heap lock

static struct huge_page *page_at(uint32_t huge) { return &lr_window.huge_pages[huge]; }

static unsigned list_of(uint32_t length) {
    if (length <= EXACT) {
        return length - 1;
    }
    unsigned log = lr_log2_floor(length);
    unsigned list = EXACT + (log - 6) * STEPS + ((length >> (log - 3)) & (STEPS - 1));
    return list < LISTS ? list : LISTS - 1;
}

static void link_run(uint32_t first, uint32_t count, enum run_kind kind) {
    unsigned list = list_of(count);
    struct huge_page *head = page_at(first);
    struct huge_page *tail = page_at(first + count - 1);
    head->run = tail->run = count;
    head->tag = tail->tag = (uint8_t)kind;
    head->prev = 0;
    head->next = sets[kind].head[list];
    if (head->next != 0) {
        page_at(head->next)->prev = first;
    }
    sets[kind].head[list] = first;
    sets[kind].filled[list / 64] |= (uint64_t)1 << (list % 64);
}

static void unlink_run(uint32_t first) {
    struct huge_page *head = page_at(first);
    enum run_kind kind = head->tag;
    unsigned list = list_of(head->run);
    if (head->next != 0) {
        page_at(head->next)->prev = head->prev;
    }
    if (head->prev != 0) {
        page_at(head->prev)->next = head->next;
        return;
    }
    sets[kind].head[list] = head->next;
    if (head->next == 0) {
        sets[kind].filled[list / 64] &= ~((uint64_t)1 << (list % 64));
    }
}

void lr_runs_add(uint32_t first, uint32_t count, enum run_kind kind) {
    for (uint32_t i = 0; i < count; i++) {
        page_at(first + i)->state = HUGE_FREE;
    }
    // Page 0 holds the maps and the end of the window holds metadata: both neighbours exist, and
    // beyond the pools their state is HUGE_NONE (the array is committed one entry further).
    const struct huge_page *before = page_at(first - 1);
    if (before->state == HUGE_FREE && before->tag == (uint32_t)kind) {
        uint32_t length = before->run;
        unlink_run(first - length);
        first -= length;
        count += length;
    }
    const struct huge_page *after = page_at(first + count);
    if (after->state == HUGE_FREE && after->tag == (uint32_t)kind) {
        uint32_t length = after->run;
        unlink_run(first + count);
        count += length;
    }
    link_run(first, count, kind);
}

// Removes members [from, from+count) of the run that begins at `first`.
static void split(uint32_t first, uint32_t from, uint32_t count) {
    uint32_t length = page_at(first)->run;
    enum run_kind kind = page_at(first)->tag;
    unlink_run(first);
    for (uint32_t i = 0; i < count; i++) {
        page_at(from + i)->state = HUGE_NONE;
    }
    if (from > first) {
        link_run(first, from - first, kind);
    }
    uint32_t after = from + count;
    if (after < first + length) {
        link_run(after, first + length - after, kind);
    }
}

// First filled list at or above `list`; LISTS if none.
static unsigned next_filled(enum run_kind kind, unsigned list) {
    for (unsigned w = list / 64; w < WORDS; w++) {
        uint64_t word = sets[kind].filled[w];
        if (w == list / 64) {
            word &= ~(uint64_t)0 << (list % 64);
        }
        if (word != 0) {
            return w * 64 + (unsigned)__builtin_ctzl(word);
        }
    }
    return LISTS;
}

// A run of any alignment fits from `count + align - 1` on. Shorter ones are asked too: what an
// aligned block leaves behind fits the next one exactly.
uint32_t lr_runs_take(uint32_t count, uint32_t align, enum run_kind kind) {
    for (unsigned list = next_filled(kind, list_of(count)); list < LISTS;
         list = next_filled(kind, list + 1)) {
        uint32_t first = sets[kind].head[list];
        // The last list has no upper bound, so it is read to the end.
        for (int i = 0; first != 0 && (i < SCAN_MOST || list == LISTS - 1); i++) {
            uint32_t from = (uint32_t)lr_align_up(first, align);
            if (from + count <= first + page_at(first)->run) {
                split(first, from, count);
                return from;
            }
            first = page_at(first)->next;
        }
    }
    return 0;
}

uint32_t lr_runs_longest(enum run_kind kind) {
    for (unsigned w = WORDS; w-- > 0;) {
        uint64_t word = sets[kind].filled[w];
        if (word != 0) {
            return sets[kind].head[w * 64 + 63 - (unsigned)__builtin_clzl(word)];
        }
    }
    return 0;
}

uint32_t lr_runs_take_joined(uint32_t count) {
    uint32_t dirty = lr_runs_longest(RUN_DIRTY);
    if (dirty == 0) {
        return 0;
    }
    uint32_t length = page_at(dirty)->run;
    const struct huge_page *before = page_at(dirty - 1);
    const struct huge_page *after = page_at(dirty + length);
    uint32_t left = before->state == HUGE_FREE ? before->run : 0;
    uint32_t right = after->state == HUGE_FREE ? after->run : 0;
    if (left + length + right < count) {
        return 0;
    }
    if (length >= count) {
        split(dirty, dirty, count);
        return dirty;
    }
    uint32_t from_right = (uint32_t)lr_min(right, count - length);
    uint32_t from_left = count - length - from_right;
    split(dirty, dirty, length);
    if (from_right > 0) {
        split(dirty + length, dirty + length, from_right);
    }
    if (from_left > 0) {
        split(dirty - left, dirty - from_left, from_left);
    }
    return dirty - from_left;
}

void lr_runs_take_first(uint32_t huge) { split(huge, huge, 1); }

uint32_t lr_runs_take_tail(uint32_t first, uint32_t most, uint32_t *count) {
    uint32_t length = page_at(first)->run;
    *count = (uint32_t)lr_min(length, most);
    uint32_t from = first + length - *count;
    split(first, from, *count);
    return from;
}
