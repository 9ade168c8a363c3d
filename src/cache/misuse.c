// SPDX-License-Identifier: Apache-2.0
#include "cache/misuse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/print.h"
#include "cache/size_class.h"
#include "conf/options.h"
#include "heap/window.h"
#include "os/os.h"

enum { TEXT_BYTES = 1024 };

static void (*print_callers)(struct lr_print *out); // immutable after start

void lr_misuse_set_callers(void (*print)(struct lr_print *out)) { print_callers = print; }

// What the page under the pointer is used for.
static void describe(struct lr_print *out, const void *pointer) {
    size_t page = lr_page_of(pointer);
    if (!lr_page_in_window(page)) {
        lr_print_str(out, "outside the heap");
        return;
    }
    unsigned size_class = lr_load_relaxed(lr_class_map(page)) / LR_BIN_BYTES;
    const struct span *span = lr_span_of_page(page);
    if (size_class != 0) {
        lr_print_f(out, "in a span of %u byte blocks", lr_classes[size_class].bytes);
    } else if (span != NULL) {
        lr_print_str(out, "at a large block");
    } else {
        lr_print_str(out, "in a free page or inside a large block");
    }
}

static void finish(struct lr_print *out) {
    int saved_errno = errno; // of a free that goes on
    lr_print_f(out, ", thread %u\n", lr_os_thread_id());
    if (print_callers != NULL) {
        print_callers(out);
    }
    lr_print_flush(out);
    if (lr_opt_on_error() == LR_ON_ERROR_ABORT) {
        abort();
    }
    errno = saved_errno;
}

void lr_misuse_report(enum lr_misuse misuse, const void *pointer) {
    if (lr_opt_on_error() == LR_ON_ERROR_IGNORE) {
        return;
    }
    static const char *const calls[] = {[LR_MISUSE_FREE] = "free",
                                        [LR_MISUSE_REALLOC] = "realloc",
                                        [LR_MISUSE_USABLE] = "malloc_usable_size"};
    char text[TEXT_BYTES];
    struct lr_print out;
    lr_print_init(&out, text, sizeof text, 2);
    lr_print_f(&out, "larder: invalid %s of %p: %s, or not a block, ", calls[misuse], pointer,
               misuse == LR_MISUSE_USABLE ? "freed before" : "double free");
    describe(&out, pointer);
    finish(&out);
}

void lr_misuse_report_f(const char *format, ...) {
    if (lr_opt_on_error() == LR_ON_ERROR_IGNORE) {
        return;
    }
    char text[TEXT_BYTES];
    struct lr_print out;
    lr_print_init(&out, text, sizeof text, 2);
    lr_print_str(&out, "larder: ");
    va_list arguments;
    va_start(arguments, format);
    lr_print_v(&out, format, arguments);
    va_end(arguments);
    finish(&out);
}

void lr_misuse_report_size(const void *pointer, size_t given, size_t actual) {
    if (lr_opt_on_error() == LR_ON_ERROR_IGNORE) {
        return;
    }
    char text[TEXT_BYTES];
    struct lr_print out;
    lr_print_init(&out, text, sizeof text, 2);
    lr_print_f(&out, "larder: sized free of %p with size %zu, but the block has %zu bytes", pointer,
               given, actual);
    finish(&out);
}
