// SPDX-License-Identifier: Apache-2.0
// Options that do nothing because of others. Pure, as option_table.h.
#ifndef LARDER_CONF_HINDRANCE_H
#define LARDER_CONF_HINDRANCE_H

#include "conf/option_table.h"

// Why `id` does nothing in a process with these values, such as "LARDER_HARDENED is 1", always the
// same pointer for the same reason; NULL if it does what it says.
LR_COLD const char *lr_option_hindrance(enum lr_option_id id,
                                        const uint64_t values[LR_OPTION_COUNT]);

#endif
