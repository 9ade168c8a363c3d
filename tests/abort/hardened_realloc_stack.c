// SPDX-License-Identifier: Apache-2.0
// expect: ^larder: invalid realloc of 0x[0-9a-f]+: .*, thread [0-9]+$
// signal: SIGABRT
// environment: LARDER_HARDENED=1
//
// realloc of an address of the stack, as realloc_stack.c.
#include "realloc_stack.c"
