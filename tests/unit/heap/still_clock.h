// SPDX-License-Identifier: Apache-2.0
//
// The library's clock, which stands still until the test moves it: what the scavenger thread does
// by when is then the same on a machine that is busy with other things. The linker leads the
// library's calls of lr_os_now_ns(), lr_os_thread_cpu_ns() and of the futex that the thread sleeps
// on here (--wrap, see tests/CMakeLists.txt).
#ifndef LARDER_TESTS_STILL_CLOCK_H
#define LARDER_TESTS_STILL_CLOCK_H

#include <stdint.h>

// From now on; before, and in a test that does not call it, the clock is the system's.
void still_clock_start(void);
uint64_t still_clock_ms(void); // since the start

// Moves the clock. The scavenger thread, if there is one, wakes at each time it wanted to sleep to,
// and has done what there was to do when this returns.
void still_clock_advance(unsigned ms);

#endif
