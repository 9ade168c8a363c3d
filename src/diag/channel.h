// SPDX-License-Identifier: Apache-2.0
// The process's side of <larder/page.h>: shows the page, does what is asked for there. Both run on
// the scavenger thread only.
#ifndef LARDER_DIAG_CHANNEL_H
#define LARDER_DIAG_CHANNEL_H

// Makes the page, again if the program has closed its file.
void lr_channel_publish(void);

// Does what was asked for since the last call. Takes any lock and may wait for a grace period.
void lr_channel_serve(void);

// The page is the parent's: a child that wants one makes its own.
void lr_channel_after_fork_child(void);

#endif
