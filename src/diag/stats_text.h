// SPDX-License-Identifier: Apache-2.0
// The statistics page that a person reads.
#ifndef LARDER_DIAG_STATS_TEXT_H
#define LARDER_DIAG_STATS_TEXT_H

#include "diag/report.h"

// The page without its first line. Text work only: the command larder prints it too.
LR_COLD void lr_stats_text(struct lr_print *p, const struct lr_report *report);

// Its parts, from figures at hand.
LR_COLD void lr_stats_text_totals(struct lr_print *p, const struct larder_stats *stats);
LR_COLD void lr_stats_text_class(struct lr_print *p, const struct larder_class_stats *class_stats);
LR_COLD void lr_stats_text_lock(struct lr_print *p, const struct larder_lock_stats *lock);

#endif
