// SPDX-License-Identifier: Apache-2.0
// What /proc says of other processes.
#ifndef LARDER_TOOL_PROC_H
#define LARDER_TOOL_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

// The id by which the process knows itself: another one in a PID namespace of its own.
pid_t lr_proc_own_id(pid_t pid);

// The name of its user, or the number where there is none.
void lr_proc_user(pid_t pid, char *out, size_t bytes);

// As in ps(1): 'Z' has ended and nobody has taken notice, 'T' and 't' are stopped by a signal or a
// debugger; 0 if there is no such process.
char lr_proc_state(pid_t pid);
// T, t or Z.
bool lr_proc_is_stopped(pid_t pid);

// The library, or the window of a static executable, is among its mappings.
bool lr_proc_uses_larder(pid_t pid);

// Names may hold anything; what is not printable becomes '?'. Empty if there is no such process.
void lr_proc_name(pid_t pid, char *out, size_t bytes);
// `thread_id` is as the process knows it, which is only right in our PID namespace.
void lr_proc_thread_name(pid_t pid, uint32_t thread_id, char *out, size_t bytes);

// The first line of /proc/PID/FILE, or of any file with PID 0, without its newline.
bool lr_proc_line(pid_t pid, const char *file, char *out, size_t bytes);

// The number behind "key" in /proc/PID/FILE (PID 0: /proc/FILE), in bytes if it ends in kB.
bool lr_proc_field(pid_t pid, const char *file, const char *key, uint64_t *out);

// /proc is mounted.
bool lr_proc_is_there(void);

// Calls `visit` for each process of the system.
void lr_proc_each(void (*visit)(pid_t pid, void *context), void *context);

// Resident memory by what it is, in bytes.
struct proc_memory {
    uint64_t rss;        // smaps_rollup
    uint64_t swap;       // smaps_rollup
    uint64_t pools;      // where blocks lie
    uint64_t records;    // the rest of the window
    uint64_t pools_huge; // of pools, in transparent huge pages
    uint64_t pools_swap; // of pools, swapped out
    uint64_t files;
    uint64_t stack; // of the main thread
    uint64_t brk;   // [heap], which is not Larder's
    uint64_t other;
};
// False, with errno, if it may not be read.
bool lr_proc_memory(pid_t pid, uint64_t window_begin, uint64_t window_end, uint64_t pools_begin,
                    uint64_t pools_end, struct proc_memory *out);

#endif
