// SPDX-License-Identifier: Apache-2.0
//
// Lets system calls of the library fail. The linker leads the library's calls here (--wrap), so the
// library itself is the one that ships.
#ifndef LARDER_TESTS_FAULT_H
#define LARDER_TESTS_FAULT_H

#include <stdbool.h>

// From now on call number `first` (from 1) fails, and with `all_later` every later one too; 0: none
// does. With LARDER_TEST_FAULT=first or first+ in the environment this is so from the first call of
// the process on.
void test_fault_arm(unsigned first, bool all_later);
unsigned test_fault_calls(void);  // calls since then that could have failed
const char *test_fault_hit(void); // name of the first that did, NULL: none yet

#endif
