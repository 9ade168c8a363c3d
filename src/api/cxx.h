// SPDX-License-Identifier: Apache-2.0
// The C++ operators new and delete by readable names; override.h gives them their mangled ones.
// Those that are nothing but larder_free or larder_free_sized are aliases made in alloc.c.
//
// Semantics: C++20 [new.delete]. Sizes and alignments in bytes. A request that cannot be met calls
// the program's new_handler and tries again until there is none, then throws std::bad_alloc; an
// exception of the handler passes through. Any thread; no lock of Larder is held while a handler
// runs.
#ifndef LARDER_API_CXX_H
#define LARDER_API_CXX_H

#include <stddef.h>

// new(size), new[] (size). Never NULL.
void *lr_cxx_new(size_t size);

// new(size, align_val_t). Never NULL; an alignment that is not a power of two throws.
void *lr_cxx_new_aligned(size_t size, size_t alignment);

// delete(block, size, align_val_t): the order of C++, not that of free_aligned_sized().
void lr_cxx_delete_aligned_sized(void *block, size_t size, size_t alignment);

// The same as new, but NULL where that would throw, whatever the handler throws. `tag` is the
// address of std::nothrow and only passed on.
void *lr_cxx_new_nothrow(size_t size, const void *tag);
void *lr_cxx_new_aligned_nothrow(size_t size, size_t alignment, const void *tag);

#endif
