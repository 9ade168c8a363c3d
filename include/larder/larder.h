/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Larder allocator: the malloc family under its own names, and what Larder adds to it.
 *
 * A library built with the overriding symbols (the default) also defines malloc, free and the
 * rest under their standard names, and the C++ operators new and delete. Both sets are one
 * allocator: a block from larder_malloc may be given to free, and the other way round.
 *
 * Unless a function says otherwise:
 *  - sizes and alignments are in bytes; every block is aligned to at least 16 bytes;
 *  - a request of 0 bytes gets a block of its own, which must be freed like any other;
 *  - a request above PTRDIFF_MAX, or one that memory cannot be found for, returns NULL with errno
 *    set to ENOMEM and changes nothing; the heap stays usable;
 *  - success leaves errno as it was;
 *  - every function may be called from any thread at any time, also before main, in TLS
 *    destructors, in atexit handlers and in a forked child; none may be called from a signal
 *    handler (only what POSIX lists as async-signal-safe may);
 *  - any thread may free any block;
 *  - freeing a pointer that is not a live block is an error of the program: what is detected is
 *    reported and handled as the option LARDER_ON_ERROR says (abort, unless changed).
 *
 * The comment of each group names where its semantics come from.
 */
#ifndef LARDER_LARDER_H
#define LARDER_LARDER_H

#include <malloc.h> /* struct mallinfo, struct mallinfo2 and the M_* parameters */
#include <stddef.h>
#include <stdio.h>

#if defined(__cplusplus) && __cplusplus >= 201103L
#define LARDER_NOTHROW noexcept
#elif defined(__cplusplus)
#define LARDER_NOTHROW throw()
#else
#define LARDER_NOTHROW __attribute__((__nothrow__))
#endif

/* An exported function, also between visibility pragmas that hide what they surround. */
#define LARDER_API __attribute__((__visibility__("default")))
/* The result points to memory that nothing else points to; ignoring it loses the block. */
#define LARDER_ALLOCATES __attribute__((__malloc__, __warn_unused_result__))
/* The result must be looked at. */
#define LARDER_NODISCARD __attribute__((__warn_unused_result__))
/* Which parameter is the size in bytes, or which two are its factors: LARDER_SIZED((1, 2)). */
#define LARDER_SIZED(parameters) __attribute__((__alloc_size__ parameters))
/* Which parameter is the alignment of the result in bytes: LARDER_ALIGNED((1)). */
#define LARDER_ALIGNED(parameter) __attribute__((__alloc_align__ parameter))

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Allocate and free: C23 7.24.3, POSIX.1-2024 (reallocarray), the glibc manual for what these
 * leave open.
 */

/* `size` bytes, contents indeterminate. */
LARDER_API void *larder_malloc(size_t size) LARDER_NOTHROW LARDER_ALLOCATES LARDER_SIZED((1));

/*
 * `count * size` bytes, all zero, as is the rest of the block up to its usable size. A product that
 * overflows: NULL, ENOMEM.
 */
LARDER_API void *larder_calloc(size_t count, size_t size) LARDER_NOTHROW LARDER_ALLOCATES
    LARDER_SIZED((1, 2));

/*
 * A block of `size` bytes with the contents of `block` up to the smaller of both sizes; `block` is
 * freed or is itself the result. NULL for `block`: larder_malloc(size). `size` 0 with a block:
 * frees it and returns NULL (glibc; C23 leaves it undefined). On failure `block` stays as it is.
 * The result has the default alignment, whatever the alignment of `block` was.
 */
LARDER_API void *larder_realloc(void *block, size_t size) LARDER_NOTHROW LARDER_NODISCARD
    LARDER_SIZED((2));

/* larder_realloc(block, count * size). A product that overflows: NULL, ENOMEM, block kept. */
LARDER_API void *larder_reallocarray(void *block, size_t count,
                                     size_t size) LARDER_NOTHROW LARDER_NODISCARD
    LARDER_SIZED((2, 3));

/* Gives a block of any function of this header back. NULL: nothing. Keeps errno. */
LARDER_API void larder_free(void *block) LARDER_NOTHROW;

/*
 * larder_free for a caller that knows what it asked for and may save Larder looking it up (C23;
 * elsewhere sdallocx). `size` is the size passed to malloc or realloc, or the product passed to
 * calloc or reallocarray; anything else is an error of the program. Not for blocks of the aligned
 * functions below. NULL: nothing.
 */
LARDER_API void larder_free_sized(void *block, size_t size) LARDER_NOTHROW;

/* The same for a block of larder_aligned_alloc(alignment, size). NULL: nothing. */
LARDER_API void larder_free_aligned_sized(void *block, size_t alignment,
                                          size_t size) LARDER_NOTHROW;

/* larder_free, by the name SunOS gave it and glibc before 2.26 declared. */
LARDER_API void larder_cfree(void *block) LARDER_NOTHROW;

/*
 * Aligned blocks: C23 7.24.3.1, POSIX.1-2024 (posix_memalign), the glibc manual. All are freed with
 * larder_free. The block is aligned to `alignment` bytes, which may exceed `size`.
 */

/* An alignment that is not a power of two: NULL, EINVAL. `size` need not be a multiple of it. */
LARDER_API void *larder_aligned_alloc(size_t alignment, size_t size) LARDER_NOTHROW LARDER_ALLOCATES
    LARDER_ALIGNED((1)) LARDER_SIZED((2));

/*
 * Stores the block in *result and returns 0. Returns EINVAL if `alignment` is not a power of two
 * that is a multiple of sizeof(void *), ENOMEM without memory; then *result is as before. Only
 * ENOMEM is in errno too, as with glibc.
 */
LARDER_API int larder_posix_memalign(void **result, size_t alignment,
                                     size_t size) LARDER_NOTHROW LARDER_NODISCARD;

/*
 * An alignment that is not a power of two is rounded up to the next one (glibc); one above half
 * the address space: NULL, EINVAL.
 */
LARDER_API void *larder_memalign(size_t alignment, size_t size) LARDER_NOTHROW LARDER_ALLOCATES
    LARDER_ALIGNED((1)) LARDER_SIZED((2));

/* Aligned to the system's page size. */
LARDER_API void *larder_valloc(size_t size) LARDER_NOTHROW LARDER_ALLOCATES LARDER_SIZED((1));

/* larder_valloc with `size` rounded up to whole system pages. */
LARDER_API void *larder_pvalloc(size_t size) LARDER_NOTHROW LARDER_ALLOCATES;

/*
 * Size queries: the glibc manual, and nallocx of jemalloc and gperftools.
 */

/*
 * Bytes of the live block `block` that the program may use, at least what it asked for; 0 for NULL.
 * Meant for accounting: compilers that check object sizes (_FORTIFY_SOURCE=3) do not know of the
 * surplus. Who wants to use it asks larder_good_size first and allocates that.
 */
LARDER_API size_t larder_malloc_usable_size(void *block) LARDER_NOTHROW LARDER_NODISCARD;

/*
 * larder_malloc_usable_size of the block that a request of `size` bytes would get, without
 * allocating. `alignment` 0: as larder_malloc; else as larder_aligned_alloc(alignment, size). 0 if
 * `alignment` is not a power of two or no block can be that large. Leaves errno alone.
 */
LARDER_API size_t larder_good_size(size_t size, size_t alignment) LARDER_NOTHROW LARDER_NODISCARD;

/*
 * 1 if a block of Larder begins at `p`, 0 if not; also 1 for one that was freed and is kept for the
 * next request, but in hardened mode. Any pointer may be asked for; the answer is of use while
 * nobody frees the block.
 */
LARDER_API int larder_owns(const void *p) LARDER_NOTHROW LARDER_NODISCARD;

/*
 * Bytes from `p`, a pointer to anywhere in a live block, to where the program may not write any
 * more: an upper bound for copies whose length is not to be trusted. 0 for NULL and where no block
 * is; SIZE_MAX, which is no bound, outside of the heap. Not told from a live block are one that was
 * freed and is kept for the next request, and, after a larder_realloc that gave less than half of
 * it back in place, what the block had before. In hardened mode (LARDER_HARDENED) the answer is
 * exact, and of a pointer into the heap but into no live block a report, with what LARDER_ON_ERROR
 * says, then 0. Large blocks take a time that grows with the distance of `p` from their beginning:
 * a microsecond for 16 MiB. Also exported as malloc_object_size, weak, for programs that know
 * hardened_malloc.
 */
LARDER_API size_t larder_object_size(const void *p) LARDER_NOTHROW LARDER_NODISCARD;

/*
 * Memory back to the operating system, now and not when the scavenger would. These take locks and
 * make system calls: not for a latency-critical path.
 */

/*
 * Returns free memory to the operating system until `bytes` have gone (SIZE_MAX: all of it), in
 * units of pages, so that the last one may exceed it: free pages, then pages inside those that
 * blocks share, then free records of Larder. Result: the bytes that really went, 0 if nothing was
 * free or the kernel refused (locked memory). Blocks in threads' caches count as in use; each
 * thread that goes on allocating gives up what it did not use lately.
 */
LARDER_API size_t larder_release(size_t bytes) LARDER_NOTHROW;

/*
 * For a program that has nothing to do for a while: the calling thread's cache is emptied and all
 * free memory returned, as by larder_release(SIZE_MAX). Caches of other threads that stay inside
 * system calls are emptied for them soon, after a tenth of a second without use instead of
 * LARDER_IDLE_THREAD_MS, and what becomes free is returned by the background thread; without that
 * thread they stay. Result: the bytes that went before this function returned.
 */
LARDER_API size_t larder_idle(void) LARDER_NOTHROW;

/*
 * Gives the blocks cached by the calling thread to the lists that all threads share, for a thread
 * that is about to be idle for long. The cache fills again by itself. Result: bytes given.
 */
LARDER_API size_t larder_thread_flush(void) LARDER_NOTHROW;

/*
 * Flushes the calling thread's cache, then returns free pages to the operating system until `pad`
 * bytes of them are left for the next requests; with a `pad` of 0 also what
 * larder_release(SIZE_MAX) finds beyond (glibc's malloc_trim). Returns 1 if memory went back, else
 * 0.
 */
LARDER_API int larder_malloc_trim(size_t pad) LARDER_NOTHROW;

/*
 * glibc's tuning and introspection: the glibc manual and mallopt(3), mallinfo(3), malloc_info(3),
 * malloc_stats(3). Figures are read while other threads run, so that sums may be off by what they
 * moved in between.
 */

/*
 * Sets parameter `parameter` (M_* of <malloc.h>) as far as Larder has its like:
 *   M_TRIM_THRESHOLD  -1: no memory is returned by itself any more (option scavenger: off); another
 *                     value: it is again, in the way it was before the -1
 *   M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_MXFAST, M_PERTURB, M_ARENA_TEST, M_ARENA_MAX,
 *   M_CHECK_ACTION    range checked as in glibc, but without effect: these steer mechanisms of
 *                     glibc's malloc that Larder does not have
 * Returns 1 for a known parameter with a value in range, else 0; errno is not set.
 */
LARDER_API int larder_mallopt(int parameter, int value) LARDER_NOTHROW;

/*
 * What is where. Fields that count bytes:
 *   arena     memory held for blocks of up to 256 KiB and for free pages; of that
 *   uordblks  in live blocks,
 *   fordblks  the rest: in caches, central lists and free pages, and lost at the ends of spans
 *   fsmblks   of fordblks, in thread and transfer caches (the like of glibc's fast bins)
 *   hblkhd    in live blocks above 256 KiB, which have pages of their own
 *   keepcost  in free pages, which larder_malloc_trim(0) gives back
 * Fields that count things: smblks, blocks in fsmblks; ordblks, the other free blocks, and free
 * pages of 8 KiB; hblks, blocks in hblkhd. usmblks is 0.
 */
LARDER_API struct mallinfo2 larder_mallinfo2(void) LARDER_NOTHROW LARDER_NODISCARD;

/* larder_mallinfo2 in fields of type int: a figure above INT_MAX is given as INT_MAX. */
LARDER_API struct mallinfo larder_mallinfo(void) LARDER_NOTHROW LARDER_NODISCARD;

/*
 * Writes the state of the heap to `stream` as XML in glibc's form (version 1): one heap, a <size>
 * for each size class with free blocks, <unsorted> for the free pages, totals. `options` must be 0.
 * Returns 0; or -1 with errno EINVAL for other options, else with the errno of the stream.
 */
LARDER_API int larder_malloc_info(int options, FILE *stream) LARDER_NOTHROW;

/* Prints the statistics page of <larder/stats.h> to standard error. */
LARDER_API void larder_malloc_stats(void) LARDER_NOTHROW;

/* "MAJOR.MINOR.PATCH" of the library in use; static storage. */
LARDER_API const char *larder_version(void) LARDER_NOTHROW LARDER_NODISCARD;

#ifdef __cplusplus
}
#endif

#endif
