# SPDX-License-Identifier: Apache-2.0
# Compiler flags, in three sets:
#   larder_warnings  everything that is compiled in this project, tests and benchmarks too
#   larder_defines   the whole of glibc's interface, and the switches: always 0 or 1, so that
#                    -Wundef finds a misspelt one
#   larder_codegen   the allocator itself: how its code must be generated
# Sanitizers.cmake comes first: it says which sanitizer is on.

include(CheckLinkerFlag)

set(c_warnings -Wall -Wextra -Wundef -Wshadow -Wconversion -Wcast-qual -Wvla
               -Wstrict-prototypes -Wmissing-prototypes)
set(cxx_warnings -Wall -Wextra -Wundef -Wshadow -Wconversion -Wcast-qual -Wvla)

add_library(larder_warnings INTERFACE)
target_compile_options(larder_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:C>:${c_warnings}>
  $<$<COMPILE_LANGUAGE:CXX>:${cxx_warnings}>
  $<$<BOOL:${LARDER_WERROR}>:-Werror>)

add_library(larder_defines INTERFACE)
target_compile_definitions(larder_defines INTERFACE
  _GNU_SOURCE=1
  LARDER_VERSION="${PROJECT_VERSION}"
  LARDER_CHECKED=$<BOOL:${LARDER_CHECKED}>
  LARDER_ASAN=${LARDER_ASAN}
  LARDER_TSAN=${LARDER_TSAN})

# no-builtin: inside an allocator the compiler may not assume what malloc and free do; it would
# turn calloc's malloc-and-memset into a call of calloc, and drop stores to a block being freed.
set(no_builtin malloc calloc realloc reallocarray free memalign aligned_alloc posix_memalign)
list(TRANSFORM no_builtin PREPEND -fno-builtin-)

add_library(larder_codegen INTERFACE)
target_compile_options(larder_codegen INTERFACE
  ${no_builtin}
  # One load from %fs instead of a call of __tls_get_addr, which may allocate.
  -ftls-model=initial-exec
  # Our own exported functions are called directly, never through an interposable slot.
  -fno-semantic-interposition
  # Calls of libc, such as calloc's jump to memset, without a stub in between. Calls between our own
  # files become direct again when the linker relaxes them; only x86-64 has relocations for that.
  $<$<STREQUAL:${CMAKE_SYSTEM_PROCESSOR},x86_64>:-fno-plt>)

# The linker of the shared library. nodelete: blocks, TLS destructors and atfork handlers point
# into it, so dlclose must not unmap it. now: a lazy binding in malloc would take the loader's lock.
set(LARDER_LINK_OPTIONS
  -Wl,-z,relro -Wl,-z,now -Wl,-z,nodelete -Wl,--as-needed -Wl,-Bsymbolic-functions)
if(NOT LARDER_SANITIZE)
  # Sanitized objects refer to a runtime that only the executable has.
  list(APPEND LARDER_LINK_OPTIONS -Wl,--no-undefined)
endif()
# The version script names the override symbols also where LARDER_OVERRIDE=OFF leaves them out;
# linkers that object to that by default have this switch.
check_linker_flag(C -Wl,--undefined-version LARDER_HAVE_UNDEFINED_VERSION)
if(LARDER_HAVE_UNDEFINED_VERSION)
  list(APPEND LARDER_LINK_OPTIONS -Wl,--undefined-version)
endif()
