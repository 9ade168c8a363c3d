// SPDX-License-Identifier: Apache-2.0
// A bounded formatter into a caller's buffer, flushed to a file descriptor.
//
// Everything that Larder prints goes through here, because a malloc may use neither stdio (which
// allocates and locks) nor anything that depends on the locale. No function allocates, takes a
// lock, is a cancellation point or changes errno, so that all of them may be called from inside
// malloc and from a signal handler. One `struct lr_print` belongs to one thread.
#ifndef LARDER_BASE_PRINT_H
#define LARDER_BASE_PRINT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"

// Invariant: len < cap and buf[len] == 0.
struct lr_print {
    char *buf;  // the caller's
    size_t cap; // bytes of buf, the terminating 0 included; at least 1
    size_t len; // bytes waiting in buf
    int fd;     // where a full buffer goes; -1: nowhere, text that does not fit is dropped
    int error;  // 0, or the negative errno of the first write that failed; later text is dropped
    bool truncated; // text was dropped
};

// Starts an empty text in `buf` of `cap` (at least 1) bytes. With `fd` -1 the text stays in buf.
LR_COLD void lr_print_init(struct lr_print *p, char *buf, size_t cap, int fd);

// Writes what waits to fd. 0, or the negative errno of the first write that failed since init.
LR_COLD int lr_print_flush(struct lr_print *p);

// Not cold, because statistics that are read a hundred times a second are made of them.
void lr_print_part(struct lr_print *p, const char *s, size_t count); // the first characters
void lr_print_char(struct lr_print *p, char c);
void lr_print_u64(struct lr_print *p, uint64_t value);
static inline void lr_print_str(struct lr_print *p, const char *s) {
    lr_print_part(p, s, strlen(s)); // of a literal the compiler knows the length
}

// For eyes: "512 B", "1.5 KiB", "12.3 GiB"; rounded to the nearest tenth.
LR_COLD void lr_print_bytes(struct lr_print *p, uint64_t bytes);

// Lossless: in the largest binary unit that divides it, "64 MiB", "1536 KiB", "1000 B".
LR_COLD void lr_print_bytes_exact(struct lr_print *p, uint64_t bytes);

// printf's %d %i %u %x %p %s %c %% with the flags - and 0, a width (digits or *), a precision for
// %s, and the lengths l, ll, z, j. Any other directive is printed as it stands. NULL for %s is
// printed as "(null)".
LR_COLD void lr_print_f(struct lr_print *p, const char *format, ...) LR_PRINTF(2, 3);
LR_COLD void lr_print_v(struct lr_print *p, const char *format, va_list arguments) LR_PRINTF(2, 0);

// lr_print_f to standard error; text of up to 511 bytes is one write, so that lines of several
// threads or processes do not mix.
LR_COLD void lr_print_line(const char *format, ...) LR_PRINTF(1, 2);

#endif
