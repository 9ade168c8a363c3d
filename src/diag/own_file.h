// SPDX-License-Identifier: Apache-2.0
// Files that options of type PATH name, with the process id in the place of %p.
#ifndef LARDER_DIAG_OWN_FILE_H
#define LARDER_DIAG_OWN_FILE_H

#include <stdbool.h>

#include "conf/options.h"

enum { LR_OWN_FILE_BYTES = LR_OPTION_TEXT_BYTES + 64 }; // room for some %p

// The name, followed by `end`; false if it is too long. *unique: it has a %p.
bool lr_own_file_name(enum lr_option_id id, const char *end, char name[LR_OWN_FILE_BYTES],
                      bool *unique);

// Writes it by print(fd), which gives 0 or a negative errno, and puts it where it belongs in one
// step. A collector may read at any moment, so a file beside is written; that it is made anew and
// no link is followed keeps others from leading the write elsewhere where the folder is open to
// them. 0 or a negative errno.
int lr_own_file_write(enum lr_option_id id, int (*print)(int fd));

// One line on standard error: why it could not be written, and what follows.
LR_COLD void lr_own_file_complain(enum lr_option_id id, int error, const char *what_follows);

#endif
