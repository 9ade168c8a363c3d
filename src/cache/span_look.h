// SPDX-License-Identifier: Apache-2.0
// What a span of a size class holds at one moment.
#ifndef LARDER_CACHE_SPAN_LOOK_H
#define LARDER_CACHE_SPAN_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/size_class.h"

struct span_look {
    unsigned size_class;
    size_t first_page;
    size_t fresh;                              // objects from here on are free
    uint64_t bits[LR_CLASS_OBJECTS_MOST / 64]; // of the ones before, set: free
};

// Looks at the span that a page below lr_window.pages belongs to. False: to none with a class.
bool lr_span_look(size_t page, struct span_look *out);

// False: handed out, to the program or to a cache.
bool lr_span_look_free(const struct span_look *look, size_t object);

#endif
