// SPDX-License-Identifier: Apache-2.0
// Runs a program while its calls of malloc and free are recorded.
#ifndef LARDER_TOOL_RUN_RECORDED_H
#define LARDER_TOOL_RUN_RECORDED_H

// `execute` becomes the program, in a child whose environment is ours and LARDER_TRACE_FD; it
// returns an exit status if it cannot. Returns how the program ended, 128 and the signal's number
// if by a signal; TOOL_FAILED, with a line said, if the recording failed.
int lr_run_recorded(const char *path, const char *name, int (*execute)(void *context),
                    void *context);

#endif
