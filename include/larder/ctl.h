/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options by name. The names are those of the environment variables without LARDER_ and in lower
 * case: "thread_cache_max" for LARDER_THREAD_CACHE_MAX. Values are in the option's unit (bytes,
 * milliseconds, ...); a flag is 0 or 1; a value that has a name is its position, from 0 on, in the
 * list that larder_options_print() shows.
 *
 * All functions may be called from any thread, none from a signal handler; all return 0 or a
 * negative errno and leave errno as it was. -ENOENT: there is no such option. -EINVAL: NULL.
 */
#ifndef LARDER_CTL_H
#define LARDER_CTL_H

#include <stdint.h>

#include <larder/larder.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The value in effect. */
LARDER_API int larder_option_get(const char *name, uint64_t *value) LARDER_NOTHROW;

/*
 * Changes a value; all threads see it soon after. -ERANGE: it is out of range. -EPERM: the option
 * is read at start only, as all options are in hardened mode. -EAGAIN: too early, the environment
 * has not been read. May block until others that are reading options have done so.
 */
LARDER_API int larder_option_set(const char *name, uint64_t value) LARDER_NOTHROW;

/* Writes all options to `fd`: value, where it comes from, range, help. -EBADF or another errno of
 * write if that fails. */
LARDER_API int larder_options_print(int fd) LARDER_NOTHROW;

#ifdef __cplusplus
}
#endif

#endif
