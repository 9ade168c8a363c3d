// SPDX-License-Identifier: Apache-2.0
#include "base/print.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/attr.h"

enum {
    NUMBER_TEXT = 24, // 2^64 has 20 decimal digits; sign, 0
    LINE_BYTES = 512,
};

// One conversion of a format string: % flags width .precision length letter.
struct directive {
    bool left;
    bool zeros;
    size_t width;
    size_t precision; // SIZE_MAX: none
    unsigned longs;   // 0: int, 1 and more: 64 bits
    char letter;
};

void lr_print_init(struct lr_print *p, char *buf, size_t cap, int fd) {
    *p = (struct lr_print){.buf = buf, .cap = cap, .fd = fd};
    buf[0] = 0;
}

// The system call itself and not write(): that is a cancellation point, which malloc must not be.
// This is base's one system call, because broken invariants of every layer have to be reported.
static int write_all(int fd, const char *bytes, size_t count) {
    while (count > 0) {
        long written = syscall(SYS_write, fd, bytes, count);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? -errno : -EIO;
        }
        bytes += written;
        count -= (size_t)written;
    }
    return 0;
}

int lr_print_flush(struct lr_print *p) {
    int saved_errno = errno;
    if (p->fd >= 0) {
        if (p->error == 0) {
            p->error = write_all(p->fd, p->buf, p->len);
        }
        p->len = 0;
        p->buf[0] = 0;
    }
    errno = saved_errno;
    return p->error;
}

// What does not fit as a whole.
static void append_long(struct lr_print *p, const char *bytes, size_t count) {
    while (count > 0) {
        size_t room = p->cap - 1 - p->len;
        size_t part = count < room ? count : room;
        memcpy(p->buf + p->len, bytes, part);
        p->len += part;
        p->buf[p->len] = 0;
        bytes += part;
        count -= part;
        if (count == 0) {
            return;
        }
        if (p->fd < 0 || p->len == 0) {
            p->truncated = true;
            return;
        }
        if (lr_print_flush(p) != 0) {
            p->truncated = true;
        }
    }
}

void lr_print_part(struct lr_print *p, const char *s, size_t count) {
    if (LR_LIKELY(count < p->cap - p->len)) {
        memcpy(p->buf + p->len, s, count);
        p->len += count;
        p->buf[p->len] = 0;
    } else {
        append_long(p, s, count);
    }
}

void lr_print_char(struct lr_print *p, char c) {
    if (LR_LIKELY(p->len + 1 < p->cap)) {
        p->buf[p->len++] = c;
        p->buf[p->len] = 0;
    } else {
        append_long(p, &c, 1);
    }
}

static void repeat(struct lr_print *p, char c, size_t count) {
    while (count-- > 0) {
        lr_print_char(p, c);
    }
}

// Writes the digits so that they end at `end`; returns where they begin.
static char *hexadecimal(char *end, uint64_t value) {
    do {
        *--end = "0123456789abcdef"[value % 16];
        value /= 16;
    } while (value != 0);
    return end;
}

// The same; two digits a division.
static char *decimal(char *end, uint64_t value) {
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    for (; value >= 100; value /= 100) {
        end -= 2;
        memcpy(end, &pairs[value % 100 * 2], 2);
    }
    if (value >= 10) {
        end -= 2;
        memcpy(end, &pairs[value * 2], 2);
    } else {
        *--end = (char)('0' + value);
    }
    return end;
}

void lr_print_u64(struct lr_print *p, uint64_t value) {
    if (value < 10) { // as most figures are
        lr_print_char(p, (char)('0' + value));
        return;
    }
    // With room behind, so that a copy of fixed length takes as many digits as there are.
    char text[2 * NUMBER_TEXT] = {0};
    char *end = text + NUMBER_TEXT;
    char *begin = decimal(end, value);
    if (LR_LIKELY(NUMBER_TEXT < p->cap - p->len)) {
        memcpy(p->buf + p->len, begin, NUMBER_TEXT);
        p->len += (size_t)(end - begin);
        p->buf[p->len] = 0;
    } else {
        append_long(p, begin, (size_t)(end - begin));
    }
}

// "B", "KiB", ... for 2^0, 2^10, ...
static void unit_name(struct lr_print *p, unsigned power) {
    lr_print_char(p, ' ');
    if (power > 0) {
        lr_print_char(p, "KMGTPE"[power - 1]);
        lr_print_char(p, 'i');
    }
    lr_print_char(p, 'B');
}

void lr_print_bytes(struct lr_print *p, uint64_t bytes) {
    unsigned power = 0;
    while (power < 6 && bytes >> (10 * power) >= 1024) {
        power++;
    }
    if (power == 0) {
        lr_print_u64(p, bytes);
        unit_name(p, 0);
        return;
    }
    // Tenths of the unit, in two steps because bytes * 10 may overflow.
    uint64_t unit = UINT64_C(1) << (10 * power);
    uint64_t rest = (bytes & (unit - 1)) >> (10 * (power - 1)); // 1024ths of the unit
    uint64_t tenths = (bytes >> (10 * power)) * 10 + (rest * 10 + 512) / 1024;
    if (tenths == 10240 && power < 6) {
        tenths = 10;
        power++;
    }
    lr_print_u64(p, tenths / 10);
    lr_print_char(p, '.');
    lr_print_u64(p, tenths % 10);
    unit_name(p, power);
}

void lr_print_bytes_exact(struct lr_print *p, uint64_t bytes) {
    unsigned power = 0;
    while (bytes != 0 && bytes % 1024 == 0 && power < 6) {
        bytes /= 1024;
        power++;
    }
    lr_print_u64(p, bytes);
    unit_name(p, power);
}

// One field: `sign` (0: none) and `text`, padded to the directive's width.
static void field(struct lr_print *p, const struct directive *d, char sign, const char *text,
                  size_t length) {
    size_t total = length + (sign != 0);
    size_t padding = d->width > total ? d->width - total : 0;
    bool zeros = d->zeros && !d->left && d->letter != 's' && d->letter != 'c';
    if (!d->left && !zeros) {
        repeat(p, ' ', padding);
    }
    if (sign != 0) {
        lr_print_char(p, sign);
    }
    if (zeros) {
        repeat(p, '0', padding);
    }
    lr_print_part(p, text, length);
    if (d->left) {
        repeat(p, ' ', padding);
    }
}

static void number(struct lr_print *p, const struct directive *d, char sign, uint64_t value,
                   unsigned base) {
    char text[NUMBER_TEXT];
    char *end = text + sizeof(text);
    char *begin = base == 16 ? hexadecimal(end, value) : decimal(end, value);
    field(p, d, sign, begin, (size_t)(end - begin));
}

static void signed_number(struct lr_print *p, const struct directive *d, int64_t value) {
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    number(p, d, value < 0 ? '-' : 0, magnitude, 10);
}

static void pointer(struct lr_print *p, const struct directive *d, const void *value) {
    char text[NUMBER_TEXT];
    char *end = text + sizeof(text);
    char *begin = hexadecimal(end, (uintptr_t)value);
    *--begin = 'x';
    *--begin = '0';
    field(p, d, 0, begin, (size_t)(end - begin));
}

static void string(struct lr_print *p, const struct directive *d, const char *s) {
    if (s == NULL) {
        s = "(null)";
    }
    size_t length = 0;
    while (length < d->precision && s[length] != 0) {
        length++;
    }
    field(p, d, 0, s, length);
}

// The digits at *f, or the next argument for a *.
static size_t count_of(const char **f, va_list *arguments) {
    size_t count = 0;
    if (**f == '*') {
        int given = va_arg(*arguments, int);
        (*f)++;
        return given > 0 ? (size_t)given : 0;
    }
    while (**f >= '0' && **f <= '9') {
        count = count * 10 + (size_t)(*(*f)++ - '0');
    }
    return count;
}

// Reads what follows a %; returns the first character behind the directive.
static const char *parse_directive(const char *f, struct directive *d, va_list *arguments) {
    *d = (struct directive){.precision = SIZE_MAX};
    for (; *f == '-' || *f == '0'; f++) {
        d->left |= *f == '-';
        d->zeros |= *f == '0';
    }
    d->width = count_of(&f, arguments);
    if (*f == '.') {
        f++;
        d->precision = count_of(&f, arguments);
    }
    for (; *f == 'l' || *f == 'z' || *f == 'j'; f++) {
        d->longs++;
    }
    d->letter = *f;
    return *f == 0 ? f : f + 1;
}

// Prints one argument; false if the directive is none of ours.
static bool convert(struct lr_print *p, const struct directive *d, va_list *arguments) {
    static_assert(sizeof(long) == 8 && sizeof(long long) == 8 && sizeof(size_t) == 8,
                  "l, ll, z and j are read alike");
    char c;
    switch (d->letter) {
    case 'd':
    case 'i':
        signed_number(p, d, d->longs ? va_arg(*arguments, long) : va_arg(*arguments, int));
        return true;
    case 'u':
    case 'x':
        number(p, d, 0, d->longs ? va_arg(*arguments, unsigned long) : va_arg(*arguments, unsigned),
               d->letter == 'x' ? 16 : 10);
        return true;
    case 'p':
        pointer(p, d, va_arg(*arguments, const void *));
        return true;
    case 's':
        string(p, d, va_arg(*arguments, const char *));
        return true;
    case 'c':
        c = (char)va_arg(*arguments, int);
        field(p, d, 0, &c, 1);
        return true;
    case '%':
        lr_print_char(p, '%');
        return true;
    default:
        return false;
    }
}

void lr_print_v(struct lr_print *p, const char *format, va_list arguments) {
    // A copy, because a va_list parameter may have become a pointer, and its address another type.
    va_list rest;
    va_copy(rest, arguments);
    while (*format != 0) {
        const char *plain = format;
        while (*format != 0 && *format != '%') {
            format++;
        }
        lr_print_part(p, plain, (size_t)(format - plain));
        if (*format == 0) {
            break;
        }
        struct directive d;
        const char *begin = format;
        format = parse_directive(format + 1, &d, &rest);
        if (!convert(p, &d, &rest)) {
            lr_print_part(p, begin, (size_t)(format - begin));
        }
    }
    va_end(rest);
}

void lr_print_f(struct lr_print *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    lr_print_v(p, format, arguments);
    va_end(arguments);
}

void lr_print_line(const char *format, ...) {
    char buf[LINE_BYTES];
    struct lr_print p;
    lr_print_init(&p, buf, sizeof(buf), STDERR_FILENO);
    va_list arguments;
    va_start(arguments, format);
    lr_print_v(&p, format, arguments);
    va_end(arguments);
    (void)lr_print_flush(&p);
}
