# SPDX-License-Identifier: Apache-2.0
# Sanitizers and coverage. They apply to the whole directory tree, because all objects of a process
# must agree. Sets LARDER_ASAN and LARDER_TSAN to 0 or 1.

set(LARDER_ASAN 0)
set(LARDER_TSAN 0)
if(LARDER_SANITIZE MATCHES "address")
  set(LARDER_ASAN 1)
endif()
if(LARDER_SANITIZE MATCHES "thread")
  set(LARDER_TSAN 1)
endif()

if(LARDER_SANITIZE)
  add_compile_options(-fsanitize=${LARDER_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${LARDER_SANITIZE})
endif()

# liburcu orders memory with inline assembly, which ThreadSanitizer does not see: inside the one
# file that uses it, it would report races that are none. That file declares the order by hand.
if(LARDER_TSAN)
  set_source_files_properties("${PROJECT_SOURCE_DIR}/src/sync/rcu.c"
    PROPERTIES COMPILE_OPTIONS -fno-sanitize=thread)
endif()

if(LARDER_COVERAGE)
  add_compile_options(--coverage -fprofile-update=atomic)
  add_link_options(--coverage)
  find_program(GCOVR gcovr)
  if(GCOVR)
    add_custom_target(coverage_report
      COMMAND "${GCOVR}" --root "${PROJECT_SOURCE_DIR}" --filter "${PROJECT_SOURCE_DIR}/src/"
              --object-directory "${PROJECT_BINARY_DIR}" --print-summary
              --html-details "${PROJECT_BINARY_DIR}/coverage.html"
      VERBATIM)
  endif()
endif()
