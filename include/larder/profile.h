/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heap profiles. Sampling is switched by the options "profile" and "profile_interval"
 * (LARDER_PROFILE, LARDER_PROFILE_INTERVAL, larder_option_set); `larder profile` shows what is
 * written here.
 */
#ifndef LARDER_PROFILE_H
#define LARDER_PROFILE_H

#include <larder/larder.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes what the samples since the first switching on add up to, in the text form that
 * `larder profile --raw FILE` reads. The process is not stopped. Any thread, none from a signal
 * handler. 0, or a negative errno: -EBADF, -EBUSY if another thread is writing a profile, or what
 * write(2) says. errno is left as it was.
 */
LARDER_API int larder_profile_write(int fd) LARDER_NOTHROW;

#ifdef __cplusplus
}
#endif

#endif
