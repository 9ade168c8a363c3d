// SPDX-License-Identifier: Apache-2.0
// The statistics page that a person reads: at exit (LARDER_STATS=1), larder_stats_print().
#ifndef LARDER_DIAG_STATS_TEXT_H
#define LARDER_DIAG_STATS_TEXT_H

#include "base/print.h"
#include "conf/stats.h"

// Gathers and writes the page to `fd`, without allocating. The caller holds no lock of Larder.
// 0, or the negative errno of the first write that failed.
LR_COLD int lr_stats_text(int fd);

// The parts of the page, from figures at hand.
LR_COLD void lr_stats_text_totals(struct lr_print *p, const struct larder_stats *stats);
LR_COLD void lr_stats_text_class(struct lr_print *p, const struct larder_class_stats *class_stats);
LR_COLD void lr_stats_text_lock(struct lr_print *p, const struct larder_lock_stats *lock);

#endif
