/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The symbols that make Larder the malloc of a process, each a second name (ELF alias) of the
 * function that does the work: calling malloc costs what calling larder_malloc costs, with no jump
 * between the two.
 *
 * An alias has to be made in the translation unit that defines its target. So this header has
 * tables, one for each defining file, which that file turns into symbols on its last lines:
 *
 *     LR_OVERRIDES_OF_ALLOC(LR_OVERRIDE)
 *     LR_CXX_OVERRIDES_OF_ALLOC(LR_OVERRIDE_CXX)
 *
 * A further entry point is one more row. With LARDER_OVERRIDE=0 (builds whose sanitizer owns
 * malloc) the same lines make nothing.
 *
 * The symbols must stay without a version: programs ask for malloc@GLIBC_2.2.5, and the dynamic
 * linker takes another object's symbol for that only if it carries no version of its own.
 */
#ifndef LARDER_API_OVERRIDE_H
#define LARDER_API_OVERRIDE_H

/* gcc warns about an alias with fewer attributes than its target, and only gcc can copy them. */
#if __has_attribute(__copy__)
#define LR_SAME_PROMISES(target) __attribute__((__copy__(target)))
#else
#define LR_SAME_PROMISES(target)
#endif

#if LARDER_OVERRIDE
#define LR_OVERRIDE(name, target)                                                                  \
    extern __typeof__(target) name __attribute__((__alias__(#target), __visibility__("default")))  \
    LR_SAME_PROMISES(target);
/* Weak, because a program may define these itself, also one that links the static library. */
#define LR_OVERRIDE_CXX(name, target)                                                              \
    extern __typeof__(target) name                                                                 \
        __attribute__((__weak__, __alias__(#target), __visibility__("default")))                   \
        LR_SAME_PROMISES(target);
#else
#define LR_OVERRIDE(name, target)
#define LR_OVERRIDE_CXX(name, target)
#endif

/* alloc.c: the names of C23, POSIX and glibc. */
#define LR_OVERRIDES_OF_ALLOC(X)                                                                   \
    X(malloc, larder_malloc)                                                                       \
    X(free, larder_free)                                                                           \
    X(calloc, larder_calloc)                                                                       \
    X(realloc, larder_realloc)                                                                     \
    X(reallocarray, larder_reallocarray)                                                           \
    X(posix_memalign, larder_posix_memalign)                                                       \
    X(aligned_alloc, larder_aligned_alloc)                                                         \
    X(memalign, larder_memalign)                                                                   \
    X(valloc, larder_valloc)                                                                       \
    X(pvalloc, larder_pvalloc)                                                                     \
    X(malloc_usable_size, larder_malloc_usable_size)                                               \
    X(cfree, larder_cfree)                                                                         \
    X(free_sized, larder_free_sized)                                                               \
    X(free_aligned_sized, larder_free_aligned_sized)                                               \
    X(__libc_malloc, larder_malloc)                                                                \
    X(__libc_free, larder_free)                                                                    \
    X(__libc_cfree, larder_cfree)                                                                  \
    X(__libc_calloc, larder_calloc)                                                                \
    X(__libc_realloc, larder_realloc)                                                              \
    X(__libc_reallocarray, larder_reallocarray)                                                    \
    X(__libc_memalign, larder_memalign)                                                            \
    X(__libc_valloc, larder_valloc)                                                                \
    X(__libc_pvalloc, larder_pvalloc)                                                              \
    X(__libc_free_sized, larder_free_sized)                                                        \
    X(__libc_free_aligned_sized, larder_free_aligned_sized)                                        \
    X(__posix_memalign, larder_posix_memalign)

/*
 * alloc.c: the C++ deletes that are nothing but free. The callers of some pass an alignment or a
 * std::nothrow that the target has no parameter for: it is in a register nobody looks at.
 */
#define LR_CXX_OVERRIDES_OF_ALLOC(X)                                                               \
    /* delete and delete[] */                                                                      \
    X(_ZdlPv, larder_free)                                                                         \
    X(_ZdaPv, larder_free)                                                                         \
    X(_ZdlPvRKSt9nothrow_t, larder_free)                                                           \
    X(_ZdaPvRKSt9nothrow_t, larder_free)                                                           \
    /* with an alignment */                                                                        \
    X(_ZdlPvSt11align_val_t, larder_free)                                                          \
    X(_ZdaPvSt11align_val_t, larder_free)                                                          \
    X(_ZdlPvSt11align_val_tRKSt9nothrow_t, larder_free)                                            \
    X(_ZdaPvSt11align_val_tRKSt9nothrow_t, larder_free)                                            \
    /* with a size */                                                                              \
    X(_ZdlPvm, larder_free_sized)                                                                  \
    X(_ZdaPvm, larder_free_sized)

/* cxx.c: new, new[], and the deletes with size and alignment. */
#define LR_CXX_OVERRIDES_OF_CXX(X)                                                                 \
    X(_Znwm, lr_cxx_new)                                                                           \
    X(_Znam, lr_cxx_new)                                                                           \
    X(_ZnwmSt11align_val_t, lr_cxx_new_aligned)                                                    \
    X(_ZnamSt11align_val_t, lr_cxx_new_aligned)                                                    \
    X(_ZdlPvmSt11align_val_t, lr_cxx_delete_aligned_sized)                                         \
    X(_ZdaPvmSt11align_val_t, lr_cxx_delete_aligned_sized)

/* cxx_nothrow.c: new and new[] with std::nothrow. */
#define LR_CXX_OVERRIDES_OF_CXX_NOTHROW(X)                                                         \
    X(_ZnwmRKSt9nothrow_t, lr_cxx_new_nothrow)                                                     \
    X(_ZnamRKSt9nothrow_t, lr_cxx_new_nothrow)                                                     \
    X(_ZnwmSt11align_val_tRKSt9nothrow_t, lr_cxx_new_aligned_nothrow)                              \
    X(_ZnamSt11align_val_tRKSt9nothrow_t, lr_cxx_new_aligned_nothrow)

/* object_size.c: the name that hardened_malloc gave it. */
#define LR_OVERRIDES_OF_OBJECT_SIZE(X) X(malloc_object_size, larder_object_size)

/* glibc_tune.c */
#define LR_OVERRIDES_OF_GLIBC_TUNE(X)                                                              \
    X(malloc_trim, larder_malloc_trim)                                                             \
    X(mallopt, larder_mallopt)                                                                     \
    X(__libc_mallopt, larder_mallopt)

/* glibc_info.c */
#define LR_OVERRIDES_OF_GLIBC_INFO(X)                                                              \
    X(mallinfo, larder_mallinfo)                                                                   \
    X(__libc_mallinfo, larder_mallinfo)                                                            \
    X(mallinfo2, larder_mallinfo2)                                                                 \
    X(malloc_info, larder_malloc_info)                                                             \
    X(malloc_stats, larder_malloc_stats)

#endif
