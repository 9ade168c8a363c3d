// SPDX-License-Identifier: Apache-2.0
//
// Hardened mode in a test program, whose allocator has started without it; it has to be turned on
// before the first block is asked for.
#ifndef LARDER_TESTS_HARD_TEST_H
#define LARDER_TESTS_HARD_TEST_H

#include <larder/larder.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "../../support/child.h"
#include "../../support/support.h"
#include "api/start.h"
#include "base/config.h"
#include "conf/options.h"
#include "hard/hard.h"
#include "hard/pages.h"
#include "hard/pattern.h"
#include "hard/slab.h"
#include "heap/span_heap.h"
#include "heap/window.h"
#include "os/os.h"

static inline void be_hardened(void) {
    EXPECT(lr_start());
    EXPECT_INT(lr_option_set("scavenger", LR_SCAVENGER_OFF), ==, 0);
    lr_hard_enable();
}

static inline struct span *span_of_block(const void *block) {
    EXPECT(lr_hard_owns(block));
    return lr_span_of_page(lr_page_of(block));
}

// True if reading the byte ends a process by SIGSEGV.
static void read_byte(void *at) { (void)*(volatile char *)at; }
static inline bool faults(const void *at) {
    struct test_child child;
    void *p;
    memcpy(&p, &at, sizeof p);
    signal(SIGSEGV, SIG_DFL); // a sanitizer's handler would print
    test_child_run(&child, 10, read_byte, p);
    return WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGSEGV;
}

#endif
