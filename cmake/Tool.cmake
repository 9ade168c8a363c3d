# SPDX-License-Identifier: Apache-2.0
# The command `larder`: a layer above the library that links nothing of it. It compiles the files of
# the lower layers that are pure text work a second time.

file(GLOB larder_tool_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/tool/*.c")
set(larder_tool_shared
  "${PROJECT_SOURCE_DIR}/src/base/print.c"
  "${PROJECT_SOURCE_DIR}/src/conf/hindrance.c"
  "${PROJECT_SOURCE_DIR}/src/conf/option_table.c"
  "${PROJECT_SOURCE_DIR}/src/conf/stats.c"
  "${PROJECT_SOURCE_DIR}/src/diag/report_fills.c"
  "${PROJECT_SOURCE_DIR}/src/diag/report_json.c"
  "${PROJECT_SOURCE_DIR}/src/diag/report_latency.c"
  "${PROJECT_SOURCE_DIR}/src/diag/report_metrics.c"
  "${PROJECT_SOURCE_DIR}/src/diag/stats_text.c")

# From the command's folder to the library once both are installed.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(larder_tool_library "${CMAKE_INSTALL_LIBDIR}/liblarder.so.0")
else()
  file(RELATIVE_PATH larder_tool_library
    "/${CMAKE_INSTALL_BINDIR}" "/${CMAKE_INSTALL_LIBDIR}/liblarder.so.0")
endif()

# What tests link too: everything but main().
list(FILTER larder_tool_sources EXCLUDE REGEX "/main\\.c$")
add_library(larder_tool_parts STATIC ${larder_tool_sources} ${larder_tool_shared})
# Without ncurses there is no `larder top`; its row stays out of commands.def then.
pkg_check_modules(NCURSES IMPORTED_TARGET ncursesw)
if(NCURSES_FOUND)
  target_compile_definitions(larder_tool_parts PUBLIC LARDER_TOOL_TOP=1)
  target_link_libraries(larder_tool_parts PUBLIC PkgConfig::NCURSES)
else()
  message(STATUS "No larder top: it needs ncurses (Debian package libncurses-dev)")
  set_source_files_properties("${PROJECT_SOURCE_DIR}/src/tool/top.c" PROPERTIES HEADER_FILE_ONLY ON)
endif()
add_executable(larder_tool "${PROJECT_SOURCE_DIR}/src/tool/main.c")
foreach(target larder_tool_parts larder_tool)
  target_include_directories(${target}
    PRIVATE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/include")
  target_compile_definitions(${target} PRIVATE "LARDER_TOOL_LIBRARY=\"${larder_tool_library}\"")
  target_link_libraries(${target} PRIVATE larder_warnings larder_defines)
endforeach()
target_link_libraries(larder_tool PRIVATE larder_tool_parts)
set_target_properties(larder_tool PROPERTIES OUTPUT_NAME larder)

# Profiles for pprof are gzipped where zlib is (pprof reads both).
find_package(ZLIB)
target_compile_definitions(larder_tool_parts PRIVATE LARDER_TOOL_ZLIB=$<BOOL:${ZLIB_FOUND}>)
if(ZLIB_FOUND)
  target_link_libraries(larder_tool_parts PUBLIC ZLIB::ZLIB)
else()
  message(STATUS "No zlib (zlib1g-dev): profiles for pprof are written uncompressed")
endif()

install(TARGETS larder_tool RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(FILES "${PROJECT_SOURCE_DIR}/src/tool/larder.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
install(FILES "${PROJECT_SOURCE_DIR}/src/tool/larder.bash"
  DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" RENAME larder)
