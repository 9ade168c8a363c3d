// SPDX-License-Identifier: Apache-2.0
//
// Every row of the override tables is a symbol of the process, and the very function it names: not
// a wrapper of it, not another library's. Also built as a static executable (TEST_STATIC).
#define _GNU_SOURCE 1

#include <larder/larder.h>

#include "api/override.h"
#include "plain.h"

#ifdef TEST_STATIC

// Volatile, because compilers take functions of different names to have different addresses.
#define SAME(symbol, function)                                                                     \
    do {                                                                                           \
        void *volatile symbol_ = (void *)(symbol), *volatile function_ = (void *)(function);       \
        CHECK(symbol_ == function_);                                                               \
    } while (0)

// There is no dlsym: the names that this program can declare have to do.
int main(void) {
    SAME(malloc, larder_malloc);
    SAME(free, larder_free);
    SAME(calloc, larder_calloc);
    SAME(realloc, larder_realloc);
    SAME(posix_memalign, larder_posix_memalign);
    SAME(aligned_alloc, larder_aligned_alloc);
    SAME(memalign, larder_memalign);
    SAME(reallocarray, larder_reallocarray);
    SAME(malloc_usable_size, larder_malloc_usable_size);
    SAME(malloc_trim, larder_malloc_trim);
    SAME(mallopt, larder_mallopt);
    SAME(mallinfo2, larder_mallinfo2);
    SAME(malloc_info, larder_malloc_info);
    return 0;
}

#else

struct row {
    const char *name, *target;
};

#define ROW(symbol, function) {#symbol, #function},
static const struct row rows[] = {
    LR_OVERRIDES_OF_ALLOC(ROW) LR_CXX_OVERRIDES_OF_ALLOC(ROW) LR_CXX_OVERRIDES_OF_CXX(ROW)
        LR_CXX_OVERRIDES_OF_CXX_NOTHROW(ROW) LR_OVERRIDES_OF_GLIBC_TUNE(ROW)
            LR_OVERRIDES_OF_GLIBC_INFO(ROW)};

static void *larders(const char *name) {
    void *const symbol = dlsym(RTLD_DEFAULT, name);
    Dl_info where;
    if (symbol == NULL || dladdr(symbol, &where) == 0 ||
        strstr(where.dli_fname, "liblarder") == NULL) {
        plain_say(__FILE__, __LINE__, name);
        return NULL;
    }
    return symbol;
}

// Internal targets cannot be looked up; what counts for them is that rows of one target agree.
static void *target_of(const struct row *row) {
    if (strncmp(row->target, "larder_", strlen("larder_")) == 0)
        return larders(row->target);
    for (const struct row *first = rows;; first++) {
        if (strcmp(first->target, row->target) == 0)
            return larders(first->name);
    }
}

int main(void) {
    for (const struct row *row = rows; row < rows + sizeof rows / sizeof rows[0]; row++) {
        void *const symbol = larders(row->name);
        CHECK(symbol != NULL);
        CHECK(symbol == target_of(row));
    }
    return 0;
}

#endif
