// SPDX-License-Identifier: Apache-2.0
// A new span goes into the partly used huge page with the smallest free run that fits, so that
// others empty. Order of choice for less than a huge page:
//   partly used and mostly resident  >  resident empty huge page  >  partly used, mostly returned
//   >  returned or fresh huge page  >  new pool
// so memory that is there is used before memory is touched anew.
//
// Spans of small blocks are soon touched all over, those of larger ones perhaps not. Until it is
// known that they are (thp.h), they stay apart: what the kernel is asked to back whole is begun by
// spans that are touched, and others go there only if there is no other room in the pools.
#include "heap/filler.h"

#include <string.h>

#include "base/bits.h"
#include "heap/huge_page.h"
#include "heap/runs.h"
#include "heap/thp.h"

enum { FILL_LISTS = LR_PAGES_PER_HUGE, FILL_WORDS = FILL_LISTS / 64 };

// Partly used huge pages, by what most of their free pages are.
enum fill_kind {
    FILL_DIRTY = RUN_DIRTY,
    FILL_CLEAN = RUN_CLEAN,
    FILL_DENSE, // dirty, in one that is backed whole and was begun by spans that are touched
    FILL_APART, // clean, in one that was begun by others
    FILL_KINDS,
};
enum {
    DIRTY = 1U << FILL_DIRTY,
    CLEAN = 1U << FILL_CLEAN,
    DENSE = 1U << FILL_DENSE,
    APART = 1U << FILL_APART,
};

// Partly used huge pages by the length of their longest free run (1 to 255).
struct fill_set {
    uint32_t head[FILL_LISTS];
    uint64_t filled[FILL_WORDS];
};

// What it costs to return the free pages of a partly used huge page, the most first; compared with
// enum lr_breaks.
enum hole {
    HOLE_DENSE,  // it is backed whole, and more than half of it is used
    HOLE_SPARSE, // it is backed whole
    HOLE_LOOSE,  // it is backed by small pages
    HOLES,
};
static_assert((int)HOLE_SPARSE == (int)LR_BREAK_SPARSE && (int)HOLE_LOOSE == (int)LR_BREAK_NONE,
              "a hole may be returned if it is at least what may be broken");

static struct {
    struct fill_set fill[FILL_KINDS];
    size_t holes[HOLES]; // dirty free pages of partly used huge pages
    size_t thp_borders;  // places where what the kernel was told changes: it splits a mapping there
    uint32_t begun[LR_THP_KINDS]; // huge page that such a span began last; 0: none
} filler;                         // guarded by: lr_span_heap_lock

struct span_heap_counts lr_filler_counts; // guarded by: lr_span_heap_lock

static struct huge_page *huge_at(size_t huge) { return &lr_window.huge_pages[huge]; }

// True if the kernel may back the huge page whole.
static bool is_whole(const struct huge_page *huge, enum lr_thp_mode mode) {
    return huge->thp == HUGE_ASKED || (mode == LR_THP_MODE_WHOLE && huge->thp == HUGE_AS_MAPPED);
}

static enum hole hole_of(const struct huge_page *huge) {
    if (!is_whole(huge, lr_thp_mode())) {
        return HOLE_LOOSE;
    }
    return huge->used_count * 2U <= LR_PAGES_PER_HUGE ? HOLE_SPARSE : HOLE_DENSE;
}

static unsigned dirty_free_pages(const struct huge_page *huge) {
    return (unsigned)LR_PAGES_PER_HUGE - huge->used_count - huge->clean_count;
}

static void fill_link(uint32_t number) {
    struct huge_page *huge = huge_at(number);
    unsigned free_pages = LR_PAGES_PER_HUGE - huge->used_count;
    bool apart = !huge->dense && lr_thp_mode() == LR_THP_MODE_ASKING;
    enum fill_kind clean = apart ? FILL_APART : FILL_CLEAN;
    enum fill_kind dirty = huge->dense && huge->thp == HUGE_ASKED ? FILL_DENSE : FILL_DIRTY;
    huge->list = (uint8_t)(huge->clean_count * 2U > free_pages ? clean : dirty);
    struct fill_set *set = &filler.fill[huge->list];
    huge->prev = 0;
    huge->next = set->head[huge->longest];
    if (huge->next != 0) {
        huge_at(huge->next)->prev = number;
    }
    set->head[huge->longest] = number;
    set->filled[huge->longest / 64] |= (uint64_t)1 << (huge->longest % 64);
    huge->state = HUGE_PARTIAL;
    huge->hole = (uint8_t)hole_of(huge);
    filler.holes[huge->hole] += dirty_free_pages(huge);
    lr_filler_counts.huge_partial++;
}

static void fill_unlink(uint32_t number) {
    struct huge_page *huge = huge_at(number);
    struct fill_set *set = &filler.fill[huge->list];
    if (huge->next != 0) {
        huge_at(huge->next)->prev = huge->prev;
    }
    if (huge->prev != 0) {
        huge_at(huge->prev)->next = huge->next;
    } else {
        set->head[huge->longest] = huge->next;
        if (huge->next == 0) {
            set->filled[huge->longest / 64] &= ~((uint64_t)1 << (huge->longest % 64));
        }
    }
    filler.holes[huge->hole] -= dirty_free_pages(huge);
    lr_filler_counts.huge_partial--;
}

// Takes the huge page off whatever list it is on, before its bits change.
static void detach(uint32_t number) {
    switch (huge_at(number)->state) {
    case HUGE_PARTIAL:
        fill_unlink(number);
        break;
    case HUGE_FREE:
        lr_runs_take_first(number);
        break;
    case HUGE_FULL:
        lr_filler_counts.huge_full--;
        break;
    default:
        break;
    }
}

// Puts the huge page where its bits say it belongs.
static void settle(uint32_t number) {
    struct huge_page *huge = huge_at(number);
    if (huge->used_count == 0) {
        lr_runs_add(number, 1, huge->clean_count == LR_PAGES_PER_HUGE ? RUN_CLEAN : RUN_DIRTY);
    } else if (huge->used_count == LR_PAGES_PER_HUGE) {
        huge->state = HUGE_FULL;
        lr_filler_counts.huge_full++;
    } else {
        fill_link(number);
    }
}

// Calls for each huge page's part of [first, first+pages): its number, first page in it, length.
#define FOR_EACH_PART(number, at, length, first, pages)                                            \
    for (size_t left_ = (pages), page_ = (first), number = page_ / LR_PAGES_PER_HUGE,              \
                at = page_ % LR_PAGES_PER_HUGE, length = lr_min(left_, LR_PAGES_PER_HUGE - at);    \
         left_ > 0; left_ -= length, page_ += length, number = page_ / LR_PAGES_PER_HUGE,          \
                at = page_ % LR_PAGES_PER_HUGE, length = lr_min(left_, LR_PAGES_PER_HUGE - at))

// Returns how many of the pages were clean.
static size_t take_range(size_t first, size_t pages) {
    size_t clean = 0;
    FOR_EACH_PART(number, at, length, first, pages) {
        detach((uint32_t)number);
        clean += lr_huge_take(huge_at(number), (unsigned)at, (unsigned)length);
        settle((uint32_t)number);
    }
    lr_filler_counts.used_pages += pages;
    lr_filler_counts.free_clean_pages -= clean;
    lr_filler_counts.free_dirty_pages -= pages - clean;
    return clean;
}

// As take_range(), for a user of the heap: it is demand.
static size_t take_for_span(size_t first, size_t pages) {
    size_t clean = take_range(first, pages);
    struct span_heap_counts *counts = &lr_filler_counts;
    counts->taken_pages += pages;
    counts->taken_clean += clean;
    counts->peak_used_pages =
        lr_max(counts->peak_used_pages, counts->used_pages - counts->claimed_pages);
    return clean;
}

void lr_filler_give(size_t first, size_t pages, bool clean) {
    FOR_EACH_PART(number, at, length, first, pages) {
        detach((uint32_t)number);
        lr_huge_give(huge_at(number), (unsigned)at, (unsigned)length, clean);
        settle((uint32_t)number);
    }
    lr_filler_counts.used_pages -= pages;
    *(clean ? &lr_filler_counts.free_clean_pages : &lr_filler_counts.free_dirty_pages) += pages;
}

enum {
    // A process may have 65,530 mappings, and most are for the program.
    THP_BORDERS_MOST = 8192,
};

// A partly used huge page of one of the kinds (a bit each) that has a free run of at least `pages`;
// 0 if none.
static uint32_t fill_find(unsigned kinds, unsigned pages) {
    for (unsigned w = pages / 64; w < FILL_WORDS; w++) {
        uint64_t least = w == pages / 64 ? ~(uint64_t)0 << (pages % 64) : ~(uint64_t)0;
        uint64_t filled[FILL_KINDS];
        uint64_t all = 0;
        for (unsigned k = 0; k < FILL_KINDS; k++) {
            filled[k] = (kinds >> k & 1) != 0 ? filler.fill[k].filled[w] & least : 0;
            all |= filled[k];
        }
        if (all != 0) {
            unsigned bit = (unsigned)__builtin_ctzl(all);
            unsigned k = 0;
            while (k + 1 < FILL_KINDS && (filled[k] >> bit & 1) == 0) {
                k++;
            }
            return filler.fill[k].head[w * 64 + bit];
        }
    }
    return 0;
}

// Where to look for room in turn: kinds of partly used huge pages, or an empty one.
struct search {
    unsigned kinds;
    enum run_kind run; // if there are no kinds
};
enum { SEARCHES = 5 };
static const struct search for_touched[SEARCHES] = {
    {DIRTY | DENSE, 0}, {0, RUN_DIRTY}, {CLEAN, 0}, {0, RUN_CLEAN}, {APART, 0}};
static const struct search for_others[SEARCHES] = {
    {DIRTY, 0}, {0, RUN_DIRTY}, {CLEAN | APART, 0}, {0, RUN_CLEAN}, {DENSE, 0}};

// Large blocks take what buffers would.
static bool are_touched(enum lr_thp_kind kind) {
    return lr_thp_filled((enum lr_thp_kind)lr_min(kind, LR_THP_BUFFERS));
}

// Finds room for less than a huge page; the page number, 0 if there is none.
static size_t find_part(unsigned pages, unsigned align, enum lr_thp_kind kind) {
    const struct search *search = are_touched(kind) ? for_touched : for_others;
    unsigned wanted = pages + align - 1;
    for (unsigned i = 0; i < SEARCHES; i++) {
        uint32_t number;
        unsigned at = 0;
        if (search[i].kinds == 0) {
            number = lr_runs_take(1, 1, search[i].run);
        } else {
            number = wanted < LR_PAGES_PER_HUGE ? fill_find(search[i].kinds, wanted) : 0;
            at = number != 0 ? lr_huge_find(huge_at(number), pages, align) : 0;
        }
        if (number != 0) {
            return (size_t)number * LR_PAGES_PER_HUGE + at;
        }
    }
    return 0;
}

static size_t find_whole(uint32_t count, uint32_t align) {
    uint32_t number = lr_runs_take(count, align, RUN_DIRTY);
    if (number == 0 && align == 1) {
        number = lr_runs_take_joined(count);
    }
    if (number == 0) {
        number = lr_runs_take(count, align, RUN_CLEAN);
    }
    return (size_t)number * LR_PAGES_PER_HUGE;
}

// Notes what the kernel is told of the huge page; false if that would take too many mappings.
static bool note_thp(uint32_t number, enum huge_thp told) {
    struct huge_page *huge = huge_at(number);
    unsigned left = huge_at(number - 1)->thp;
    unsigned right = huge_at(number + 1)->thp;
    unsigned before = (left != huge->thp) + (unsigned)(right != huge->thp);
    unsigned after = (left != told) + (unsigned)(right != told);
    if (after > before && filler.thp_borders + after - before > THP_BORDERS_MOST) {
        return false;
    }
    filler.thp_borders = filler.thp_borders + after - before;
    huge->thp = (uint8_t)told;
    return true;
}

// A span of which it is not known whether it is touched begins the huge page. What the last such
// span began is mostly full now, and shows it.
static void note_begun(uint32_t number, enum lr_thp_kind kind, struct filler_place *place) {
    uint32_t before = filler.begun[kind];
    filler.begun[kind] = number;
    // Not one that others have begun since.
    if (lr_thp_mode() == LR_THP_MODE_ASKING && before != 0 && !huge_at(before)->dense) {
        place->look = before;
        place->look_pages = huge_at(before)->used_count;
        place->look_kind = kind;
    }
}

// True if spans of this length are worth a whole huge page, of which they take the first `behind`
// pages. Of the rest, less what is left for blocks of that length, at most an eighth of the block
// or of a huge page becomes resident.
static bool wants_whole(enum lr_thp_kind kind, size_t pages, size_t behind, enum lr_thp_mode mode) {
    if (kind != LR_THP_LARGE && (mode == LR_THP_MODE_WHOLE || lr_thp_filled(kind))) {
        return true;
    }
    size_t rest = (LR_PAGES_PER_HUGE - behind) % lr_min(pages, LR_PAGES_PER_HUGE);
    return kind >= LR_THP_BUFFERS && lr_thp_large_filled(pages) &&
           rest <= lr_max(pages, LR_PAGES_PER_HUGE) / 8;
}

// True if the kernel has to be told to change what it does with the huge page. Where it backs all
// whole it only has to be told of those that were broken up.
static bool differs(uint32_t number, enum lr_thp_mode mode, bool wanted) {
    return is_whole(huge_at(number), mode) != wanted && (wanted || mode == LR_THP_MODE_ASKING);
}

// Whole huge pages that a large block is about to take. One call is for all from the first to the
// last without memory: what lies between is told, and noted, with them.
static void begin_whole(uint32_t first, uint32_t end, bool wanted, struct filler_place *place) {
    enum lr_thp_mode mode = lr_thp_mode();
    if (mode == LR_THP_MODE_SMALL) {
        return;
    }
    struct filler_tell tell = {.whole = wanted};
    for (uint32_t number = first; number < end; number++) {
        if (huge_at(number)->clean_count == LR_PAGES_PER_HUGE && differs(number, mode, wanted)) {
            tell.first = tell.count == 0 ? number : tell.first;
            tell.count = number + 1 - tell.first;
        }
    }
    enum huge_thp told = wanted ? HUGE_ASKED : HUGE_REFUSED;
    if (tell.count == 0 || !note_thp(tell.first, told)) {
        return;
    }
    for (uint32_t i = 1; i < tell.count; i++) {
        note_thp(tell.first + i, told); // makes no border more
    }
    place->whole = tell;
}

// The first pages of a huge page that is clean are about to be taken, and not all of it. Where the
// kernel backs it whole the rest becomes resident with them.
static bool begin_huge_page(uint32_t number, size_t pages, size_t behind, enum lr_thp_kind kind,
                            struct filler_place *place) {
    struct huge_page *huge = huge_at(number);
    enum lr_thp_mode mode = lr_thp_mode();
    if (huge->clean_count != LR_PAGES_PER_HUGE) {
        return false;
    }
    bool wanted = wants_whole(kind, pages, behind, mode);
    if (!wanted && kind != LR_THP_LARGE) {
        note_begun(number, kind, place);
    }
    if (mode == LR_THP_MODE_SMALL) {
        return false;
    }
    bool told = is_whole(huge, mode);
    if (differs(number, mode, wanted) && note_thp(number, wanted ? HUGE_ASKED : HUGE_REFUSED)) {
        place->begun = (struct filler_tell){.first = number, .count = 1, .whole = wanted};
        told = wanted;
    }
    if (told) {
        lr_huge_populate(huge);
        lr_filler_counts.free_clean_pages -= LR_PAGES_PER_HUGE;
        lr_filler_counts.free_dirty_pages += LR_PAGES_PER_HUGE;
    }
    return told;
}

// Takes the pages that end a span of `span_pages`.
static void take_begun(size_t first, size_t pages, size_t span_pages, enum lr_thp_kind kind,
                       struct filler_place *place) {
    size_t end = first + pages;
    size_t behind = end % LR_PAGES_PER_HUGE;
    size_t populated = 0; // clean pages that stop being so before they are taken
    if (span_pages >= LR_PAGES_PER_HUGE) {
        begin_whole((uint32_t)(lr_align_up(first, LR_PAGES_PER_HUGE) / LR_PAGES_PER_HUGE),
                    (uint32_t)(end / LR_PAGES_PER_HUGE), lr_thp_large_filled(span_pages), place);
    }
    uint32_t last = (uint32_t)(end / LR_PAGES_PER_HUGE);
    if (behind != 0 && huge_at(last)->used_count == 0) {
        huge_at(last)->dense = are_touched(kind);
        populated = begin_huge_page(last, span_pages, behind, kind, place) ? behind : 0;
    }
    place->clean = take_for_span(first, pages) + populated;
    lr_filler_counts.taken_clean += populated;
    if (place->begun.count != 0 && place->begun.whole) {
        place->rest = end;
        place->rest_pages = LR_PAGES_PER_HUGE - behind;
        take_range(place->rest, place->rest_pages);
        lr_filler_counts.claimed_pages += place->rest_pages;
    }
}

struct filler_place lr_filler_take(size_t pages, size_t align, enum lr_thp_kind kind) {
    struct filler_place place = {0};
    if (pages < LR_PAGES_PER_HUGE && align <= LR_PAGES_PER_HUGE) {
        place.first = find_part((unsigned)pages, (unsigned)align, kind);
    } else {
        size_t count = (pages + LR_PAGES_PER_HUGE - 1) / LR_PAGES_PER_HUGE;
        size_t huge_align = lr_max(align / LR_PAGES_PER_HUGE, 1);
        place.first = find_whole((uint32_t)count, (uint32_t)huge_align);
        // Members beyond the pages wanted become partly used by take_range; none is left over.
    }
    if (place.first == 0) {
        return place;
    }
    take_begun(place.first, pages, pages, kind, &place);
    return place;
}

struct filler_place lr_filler_take_at(size_t first, size_t pages, size_t block_pages) {
    struct filler_place place = {.first = first};
    take_begun(first, pages, block_pages, lr_thp_kind_of(block_pages << LR_PAGE_SHIFT), &place);
    return place;
}

bool lr_filler_is_free(size_t first, size_t pages) {
    if (first + pages > lr_load_relaxed(&lr_window.pages)) {
        return false;
    }
    FOR_EACH_PART(number, at, length, first, pages) {
        const struct huge_page *huge = huge_at(number);
        bool free =
            huge->state == HUGE_FREE || (huge->state == HUGE_PARTIAL &&
                                         lr_huge_range_free(huge, (unsigned)at, (unsigned)length));
        if (!free) {
            return false;
        }
    }
    return true;
}

void lr_filler_add(uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct huge_page *huge = huge_at(first + i);
        memset(huge->clean, 0xff, sizeof huge->clean);
        huge->clean_count = LR_PAGES_PER_HUGE;
        huge->longest = LR_PAGES_PER_HUGE;
    }
    lr_runs_add(first, count, RUN_CLEAN);
    lr_filler_counts.free_clean_pages += (size_t)count * LR_PAGES_PER_HUGE;
}

size_t lr_filler_clean_tail(void) {
    size_t end = lr_load_relaxed(&lr_window.pages) / LR_PAGES_PER_HUGE;
    const struct huge_page *last = end > 0 ? huge_at(end - 1) : NULL;
    bool free = last != NULL && last->state == HUGE_FREE && last->tag == RUN_CLEAN;
    return free ? last->run : 0;
}

// The first hole at or after walk->at that may be returned; 0 pages if there is none.
static size_t find_hole(size_t most, struct claim_walk *walk, size_t *first_page) {
    size_t left = 0; // in such holes, wherever they are
    for (unsigned hole = walk->breaks; hole < HOLES; hole++) {
        left += filler.holes[hole];
    }
    size_t end = left == 0 ? 0 : lr_load_relaxed(&lr_window.pages) / LR_PAGES_PER_HUGE;
    size_t number = lr_max(walk->at, lr_window.first_pool_page / LR_PAGES_PER_HUGE);
    size_t pages = 0;
    for (; pages == 0 && number < end; number += pages == 0) {
        const struct huge_page *huge = huge_at(number);
        unsigned at;
        if (huge->state == HUGE_PARTIAL && huge->hole >= (unsigned)walk->breaks) {
            pages = lr_huge_dirty_hole(huge, most, &at);
            *first_page = number * LR_PAGES_PER_HUGE + at;
        }
    }
    walk->at = (uint32_t)number;
    return pages;
}

size_t lr_filler_claim_dirty(size_t most, struct claim_walk *walk, size_t *first_page,
                             size_t *dirty) {
    size_t pages = 0;
    uint32_t run = lr_runs_longest(RUN_DIRTY);
    if (run != 0) {
        uint32_t count;
        uint32_t whole = (uint32_t)lr_max(most / LR_PAGES_PER_HUGE, 1);
        *first_page = (size_t)lr_runs_take_tail(run, whole, &count) * LR_PAGES_PER_HUGE;
        pages = (size_t)count * LR_PAGES_PER_HUGE;
    } else {
        pages = find_hole(most, walk, first_page);
    }
    if (pages != 0) {
        *dirty = pages - take_range(*first_page, pages);
        lr_filler_counts.claimed_pages += pages;
    }
    return pages;
}

bool lr_filler_refuse(uint32_t number) {
    bool refuse = is_whole(huge_at(number), lr_thp_mode()) && note_thp(number, HUGE_REFUSED);
    if (refuse && huge_at(number)->state == HUGE_PARTIAL) {
        fill_unlink(number);
        fill_link(number); // its other holes are loose now
    }
    return refuse;
}
