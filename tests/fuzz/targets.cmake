# SPDX-License-Identifier: Apache-2.0
# Targets that look into the command `larder` are linked with its parts, all others with the library.
file(GLOB fuzz_targets CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/fuzz/fuzz_*.c")
foreach(source ${fuzz_targets})
  if(source MATCHES "/fuzz_(page|profile|trace)\\.c$")
    larder_fuzz_target("${source}" larder_tool_parts)
  else()
    larder_fuzz_target("${source}" larder_internal)
  endif()
endforeach()
target_sources(fuzz.api PRIVATE "${PROJECT_SOURCE_DIR}/tests/support/heap_check.c")
