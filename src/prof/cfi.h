// SPDX-License-Identifier: Apache-2.0
// How a function's caller is found, from the compiler's tables (.eh_frame): code that was compiled
// without frame pointers, as most is, can be unwound by them alone.
#ifndef LARDER_PROF_CFI_H
#define LARDER_PROF_CFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The caller's stack pointer is the base register plus `offset`; the return address lies below it.
struct lr_frame_rule {
    bool by_frame_pointer; // base register: the frame pointer; else the stack pointer
    bool saved;            // the caller's frame pointer is in memory; else it is the register's
    bool outermost;        // there is no caller
    int32_t offset;        // to the caller's stack pointer
    int32_t frame_pointer; // where the caller's frame pointer is, from the caller's stack pointer
};

// False: no table speaks of the address, or it says what this reader does not do (expressions,
// other registers). Tables are read by lr_os_peek() and their rules kept by address.
bool lr_cfi_find(size_t address, struct lr_frame_rule *out);

// The rule at `address` by the FDE at `fde`.
bool lr_cfi_read(size_t fde, size_t address, struct lr_frame_rule *out);

#endif
