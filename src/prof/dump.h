// SPDX-License-Identifier: Apache-2.0
// Writes profiles for the command `larder`, which makes of them what viewers want.
#ifndef LARDER_PROF_DUMP_H
#define LARDER_PROF_DUMP_H

// Text: a line "larder-profile 1", lines of a name and a number, one line for each stack ("stack",
// the columns that the line "columns" names, ":", return addresses in hexadecimal), the line
// "maps", and the executable mappings as in /proc/PID/maps. 0, or a negative errno: of the write,
// or -EBUSY, another thread is writing one.
int lr_profile_dump(int fd);

// What was not freed, for people: the stacks that hold most. 0, or the negative errno of the write.
int lr_profile_leaks(int fd);

#endif
