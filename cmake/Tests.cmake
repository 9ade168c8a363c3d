# SPDX-License-Identifier: Apache-2.0
# How a test file becomes a CTest test. Names and labels follow the folder:
#   tests/unit/base/test_bits.c is unit.base.bits, label unit; tests/life/preload_ls.sh is
#   life.preload_ls, label life. Exit status 77 means skipped.

# Sanitizers stop at the first report, and forked children of threaded tests may start threads.
set(larder_test_environment
  "LARDER_TEST_SECONDS=${LARDER_TEST_SECONDS}"
  "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1"
  "UBSAN_OPTIONS=print_stacktrace=1"
  "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:die_after_fork=0")

# What scripts get on top. Programs do not: the library warns of LARDER_ variables that are no options.
set(larder_script_environment
  "LARDER_SO=$<TARGET_FILE:larder>"
  "LARDER_BUILD_DIR=${PROJECT_BINARY_DIR}"
  "CC=${CMAKE_C_COMPILER}"
  "CXX=${CMAKE_CXX_COMPILER}")

# Seconds, label by label, for a machine that is busy with another test too; a sanitizer build gets
# three times as long. Model and stress tests run for LARDER_TEST_SECONDS a part.
set(larder_timeout_unit 60)
set(larder_timeout_api 60)
set(larder_timeout_life 120)
set(larder_timeout_abort 60)
set(larder_timeout_programs 180)
set(larder_timeout_tool 120)
set(larder_timeout_fault 400)
math(EXPR larder_timeout_fuzz "120 + 10 * ${LARDER_TEST_SECONDS}")
set(larder_timeout_golden 120)
set(larder_timeout_lint 600)
set(larder_timeout_consumer 180)
set(larder_timeout_bench-smoke 120)
math(EXPR larder_timeout_model "120 + 10 * ${LARDER_TEST_SECONDS}")
math(EXPR larder_timeout_stress "120 + 10 * ${LARDER_TEST_SECONDS}")

# larder_register_test(<name> <label> COMMAND <command>...)
function(larder_register_test name label)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "COMMAND")
  set(timeout ${larder_timeout_${label}})
  if(LARDER_SANITIZE OR LARDER_COVERAGE)
    math(EXPR timeout "3 * ${timeout}")
  endif()
  add_test(NAME ${name} COMMAND ${arg_COMMAND})
  set_tests_properties(${name} PROPERTIES
    LABELS ${label} TIMEOUT ${timeout} SKIP_RETURN_CODE 77
    ENVIRONMENT "${larder_test_environment}")
endfunction()

# The same for a script.
function(larder_register_script name label)
  larder_register_test(${name} ${label} ${ARGN})
  set_tests_properties(${name} PROPERTIES
    ENVIRONMENT "${larder_test_environment};${larder_script_environment}")
endfunction()

# larder_name_of(<result> <source>): "unit.base.bits" from ".../tests/unit/base/test_bits.c".
function(larder_name_of result source)
  file(RELATIVE_PATH name "${PROJECT_SOURCE_DIR}/tests" "${source}")
  string(REGEX REPLACE "\\.[a-z]+$" "" name "${name}")
  string(REGEX REPLACE "/(test|model|stress|fuzz)_([^/]*)$" "/\\2" name "${name}")
  string(REPLACE "/" "." name "${name}")
  set(${result} "${name}" PARENT_SCOPE)
endfunction()

# A program of the test tree: warnings, switches and include paths as in src/, no library yet.
function(larder_test_program target source)
  add_executable(${target} ${source})
  target_include_directories(${target} PRIVATE
    "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/include"
    "${PROJECT_SOURCE_DIR}/tests" "${PROJECT_SOURCE_DIR}/tests/support")
  target_compile_definitions(${target} PRIVATE LARDER_OVERRIDE=$<BOOL:${LARDER_OVERRIDE}>)
  # A test frees what it must not, allocates what it never reads, and asks for too much: the
  # compiler may neither remove these calls nor object to them.
  target_compile_options(${target} PRIVATE -fno-builtin
    $<$<C_COMPILER_ID:GNU>:-Wno-alloc-size-larger-than -Wno-free-nonheap-object
                           -Wno-use-after-free>)
  target_link_libraries(${target} PRIVATE larder_warnings larder_defines Threads::Threads)
endfunction()

# A test with Check and the whole allocator inside, under larder_ names.
function(larder_check_test label source)
  larder_name_of(name "${source}")
  larder_test_program(${name} "${source}")
  target_link_libraries(${name} PRIVATE larder_test_support larder_internal)
  larder_register_test(${name} ${label} COMMAND ${name})
endfunction()

# A program whose malloc is Larder's because it is linked with liblarder.so, and before libc.
function(larder_linked_program target source)
  larder_test_program(${target} "${source}")
  target_link_options(${target} PRIVATE -Wl,--no-as-needed)
  target_link_libraries(${target} PRIVATE larder ${CMAKE_DL_LIBS})
endfunction()

# A program with the whole allocator inside, whose calls of the system are those of fault/wrap.c.
function(larder_fault_program target)
  larder_test_program(${target} "${ARGN}")
  foreach(call mmap munmap mprotect madvise mremap pthread_create getrlimit memfd_create syscall
               fcntl fchmod ftruncate fstat unlink rename prctl)
    target_link_options(${target} PRIVATE -Wl,--wrap=${call})
  endforeach()
  target_link_libraries(${target} PRIVATE larder_internal)
endfunction()

# A Check program whose library meets a kernel with pages of 64 KiB, see model/wide_pages.c.
function(larder_wide_program target source)
  larder_test_program(${target} "${source};${PROJECT_SOURCE_DIR}/tests/model/wide_pages.c")
  foreach(call sysconf mmap munmap mprotect madvise mremap syscall)
    target_link_options(${target} PRIVATE -Wl,--wrap=${call})
  endforeach()
  target_link_libraries(${target} PRIVATE larder_test_support larder_internal)
endfunction()

# The same as a static executable.
function(larder_static_program target source)
  larder_test_program(${target} "${source}")
  target_link_options(${target} PRIVATE -static)
  target_link_libraries(${target} PRIVATE larder_static)
endfunction()

# A fuzz target with the parts that it tries: libFuzzer's where LARDER_FUZZ says so, else a test with
# random inputs.
function(larder_fuzz_target source)
  larder_name_of(name "${source}")
  larder_test_program(${name} "${source}")
  target_link_libraries(${name} PRIVATE ${ARGN})
  if(LARDER_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests/fuzz/driver.c")
    larder_register_test(${name} fuzz COMMAND ${name})
  endif()
endfunction()
