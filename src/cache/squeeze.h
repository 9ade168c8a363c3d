// SPDX-License-Identifier: Apache-2.0
// Gives back what all threads share, without waiting for anything.
#ifndef LARDER_CACHE_SQUEEZE_H
#define LARDER_CACHE_SQUEEZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Empties the transfer caches and asks every thread to look through its own at its next slow call;
// returns pages without a live block inside spans in use, free records of Larder, and free pages
// until about `bytes` have gone (SIZE_MAX: all). How many bytes really went. No lock of Larder may
// be held.
size_t lr_squeeze(size_t bytes);

// Scavenger task: does so when memory is short, see heap/limit.h.
bool lr_squeeze_if_short(uint64_t now_ns);

#endif
