// SPDX-License-Identifier: Apache-2.0
// Runs of a plan in processes of their own.
#ifndef LARDER_TOOL_REPLAY_MEASURE_H
#define LARDER_TOOL_REPLAY_MEASURE_H

#include "tool/replay_plan.h"

enum { REPLAY_ROUNDS_MOST = 64 };

// Under what a plan is run, and what came out.
struct replay_setup {
    char name[96];
    char preload[4096];             // to preload; "": none, so that it is libc's malloc
    const char *preset;             // NULL: none
    const char *const *assignments; // options of Larder
    size_t assignment_count;
    struct plan_result results[REPLAY_ROUNDS_MOST];
    unsigned rounds;
};

// Finds the library: larder, glibc, jemalloc, tcmalloc, mimalloc, or a file. False, with a line
// said.
bool lr_replay_use(struct replay_setup *setup, const char *library);
// One more round; false, with a line said, if it cannot be had.
bool lr_replay_run(struct plan *plan, int fd, struct replay_setup *setup);

// The middle of the rounds, of the field at `offset` in struct plan_result; and half of the
// distance between the quartiles.
#define REPLAY_FIELD(name) offsetof(struct plan_result, name)
double lr_replay_median(const struct replay_setup *setup, size_t field);
double lr_replay_spread(const struct replay_setup *setup, size_t field);

#endif
