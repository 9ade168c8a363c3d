# SPDX-License-Identifier: Apache-2.0
# What a build can choose. The presets set these; a package build may set them by hand.

option(LARDER_OVERRIDE "Define malloc, free, operator new and the rest under their own names" ON)
option(LARDER_CHECKED "Compile internal assertions in (slow; for development)" OFF)
option(LARDER_WERROR "Treat compiler warnings as errors" ${PROJECT_IS_TOP_LEVEL})
option(LARDER_BUILD_TESTS "Build the tests (needs Check)" ${PROJECT_IS_TOP_LEVEL})
option(LARDER_BUILD_BENCHMARKS "Build the benchmarks where Google Benchmark is installed"
       ${PROJECT_IS_TOP_LEVEL})
option(LARDER_FUZZ "Build the fuzz targets with libFuzzer (clang), and no other test" OFF)
option(LARDER_COVERAGE "Instrument for gcov" OFF)
set(LARDER_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined or thread")
set(LARDER_TEST_SECONDS 2 CACHE STRING "How long each model and stress test runs under ctest")

# RelWithDebInfo is the release build: -O2 -g, because a heap without symbols cannot be debugged
# and debug sections cost nothing at run time.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
  message(FATAL_ERROR "Larder needs Linux with glibc; this is ${CMAKE_SYSTEM_NAME}.")
endif()
if(NOT CMAKE_SIZEOF_VOID_P EQUAL 8)
  message(FATAL_ERROR "Larder needs a 64-bit target; pointers here have "
                      "${CMAKE_SIZEOF_VOID_P} bytes.")
endif()
if(LARDER_SANITIZE AND LARDER_OVERRIDE)
  message(FATAL_ERROR "LARDER_SANITIZE=${LARDER_SANITIZE} needs LARDER_OVERRIDE=OFF: "
                      "the sanitizer owns malloc.")
endif()
