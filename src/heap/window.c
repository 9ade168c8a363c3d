// SPDX-License-Identifier: Apache-2.0
#include "heap/window.h"

#include "base/bits.h"
#include "heap/huge_page.h"
#include "os/os.h"

struct window lr_window;

enum {
    WINDOW_MIN_SHIFT = 24, // 16 MiB: below this the maps would be most of it
    MAX_SHIFT = 45,        // page numbers are 32 bits wide
};

#define PLAN_BELOW (4096 * LR_GIB)

static size_t choose_bytes(void) {
    // Eight times the memory leaves room for runs that are returned but not yet joined, and for
    // programs that overcommit; address space costs nothing until it is committed.
    size_t wanted = lr_pow2_ceil(lr_max(8 * lr_os_physical_bytes(), 256 * LR_GIB));
    return lr_min(wanted, (size_t)1 << MAX_SHIFT);
}

// Aligning costs that much address space for a moment: a small window, taken because there is
// little of it, makes do with less.
static size_t choose_align(size_t bytes) {
    return lr_max(lr_min(bytes / 8, LR_GIB), LR_HUGE_BYTES);
}

// Where the kernel places mappings now; 0: no address space is left.
static size_t mappings_top(void) {
    char *probe = lr_os_reserve(lr_os_page_bytes(), lr_os_page_bytes());
    if (probe != NULL) {
        lr_os_unmap(probe, lr_os_page_bytes());
    }
    return (size_t)probe;
}

// A reservation counts towards RLIMIT_AS, which a program may lower at any time, towards the locked
// memory of mlockall() and in every display of virtual memory. So where it can be, the window is
// only planned: a range far below where the kernel places mappings, into which its parts are mapped
// one by one.
static char *plan_window(size_t bytes, size_t below, bool *far) {
    size_t top = mappings_top();
    size_t distance = bytes + below;
    *far = top / 4 > distance;
    return (char *)lr_align_down(*far ? top - distance : top / 2, choose_align(bytes));
}

static bool is_free_at_ends(char *base, size_t bytes) {
    size_t page = lr_os_page_bytes();
    return lr_os_is_unmapped(base, page) && lr_os_is_unmapped(base + bytes - page, page);
}

static void lay_out(char *base, size_t bytes) {
    size_t granule = 64 * LR_KIB; // the largest OS page
    size_t pages = bytes >> LR_PAGE_SHIFT;
    size_t huge_pages = bytes >> LR_HUGE_SHIFT;
    size_t at = lr_align_up(pages * sizeof(atomic_u16), granule);
    lr_window.span_map = (atomic_u32 *)(void *)(base + at);
    at += lr_align_up(pages * sizeof(atomic_u32), granule);
    lr_window.huge_pages = (struct huge_page *)(void *)(base + at);
    at += lr_align_up(huge_pages * sizeof(struct huge_page), granule);
    lr_window.first_pool_page = lr_align_up(at, LR_HUGE_BYTES) >> LR_PAGE_SHIFT;
    // 64 to 192 bytes a span of 8 KiB or more, caches, transfer arrays: 1/32 is never reached, but
    // by hardened mode's slabs: where those fill half the window.
    lr_window.meta_bytes = lr_align_up(bytes / 32, LR_HUGE_BYTES);
    lr_window.meta_base = base + bytes - lr_window.meta_bytes;
    lr_window.end_pool_page = pages - (lr_window.meta_bytes >> LR_PAGE_SHIFT);
    lr_window.base = base;
    lr_window.bytes = bytes;
    lr_window.align = choose_align(bytes);
}

bool lr_window_commit(void *addr, size_t bytes) {
    if (!lr_os_commit(addr, bytes, lr_window.reserved)) {
        return false;
    }
    lr_os_name_range(addr, bytes, "larder");
    return true;
}

static bool use(char *base, size_t bytes, bool reserved) {
    lr_window.reserved = reserved;
    lay_out(base, bytes);
    return true;
}

// `bytes`, or half as much, and so on.
static bool reserve_what_fits(size_t bytes) {
    for (; bytes >> WINDOW_MIN_SHIFT != 0; bytes >>= 1) {
        char *base = lr_os_reserve(bytes, choose_align(bytes));
        if (base != NULL) {
            return use(base, bytes, true);
        }
    }
    return false;
}

bool lr_window_init(size_t bytes) {
    size_t limit = lr_os_address_limit();
    bool far;
    if (bytes == 0) {
        bytes = choose_bytes();
    }
    bytes = lr_max(lr_pow2_ceil(bytes), (size_t)1 << WINDOW_MIN_SHIFT);
    bytes = lr_min(bytes, (size_t)1 << MAX_SHIFT);
    if (limit != SIZE_MAX) {
        // A small one that has to be near: the program cannot map much in between.
        bytes = lr_min(bytes, lr_pow2_ceil(lr_max(lr_min(limit, LR_GIB << 10), LR_GIB)) * 2);
        char *base = plan_window(bytes, 64 * LR_GIB, &far);
        return base != NULL && use(base, bytes, false);
    }
    // Farther down than programs map, guest memories and shadows of sanitizers apart: those that
    // watch all mappings refuse the ends.
    char *base = plan_window(bytes, PLAN_BELOW, &far);
    if (far && is_free_at_ends(base, bytes)) {
        return use(base, bytes, false);
    }
    return reserve_what_fits(bytes);
}

bool lr_window_move(void) {
    // Under a limit a reservation counts as used; there programs cannot map that far down either.
    bool may = !lr_window.reserved && lr_os_address_limit() == SIZE_MAX;
    return may && reserve_what_fits(lr_window.bytes);
}
