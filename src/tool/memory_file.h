// SPDX-License-Identifier: Apache-2.0
// Files in memory that the command shares with other processes.
#ifndef LARDER_TOOL_MEMORY_FILE_H
#define LARDER_TOOL_MEMORY_FILE_H

// A new one, which programs started from here inherit. -1 with errno.
int lr_memory_file_make(const char *name);

// Opens what a link in a folder of /proc leads to, if it is a file in memory of that name: opening
// a device or a pipe would have effects, and the process may have put there what it wants. -1: it
// is none.
int lr_memory_file_open(int folder, const char *link, const char *name, int flags);

#endif
