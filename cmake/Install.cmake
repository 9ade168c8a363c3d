# SPDX-License-Identifier: Apache-2.0
# The install target: libraries, headers, larder.pc and the CMake package Larder.

include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/Larder")

install(TARGETS larder larder_static EXPORT LarderTargets
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/larder"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
install(EXPORT LarderTargets NAMESPACE Larder:: DESTINATION "${package_dir}")

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/LarderConfig.cmake.in" "${PROJECT_BINARY_DIR}/LarderConfig.cmake"
  INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/LarderConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/LarderConfig.cmake" "${PROJECT_BINARY_DIR}/LarderConfigVersion.cmake"
  DESTINATION "${package_dir}")

# The prefix is written relative to the .pc file, so that `cmake --install --prefix` and a moved
# tree stay right. An absolute library directory (as a distribution may set) is kept as it is.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
  set(pc_libdir "${CMAKE_INSTALL_LIBDIR}")
else()
  file(RELATIVE_PATH pc_up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" pc_up "${pc_up}")
  set(pc_prefix "\${pcfiledir}/${pc_up}")
  set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
# Not as Requires.private: the folders of its headers would be in the flags of who compiles.
set(pc_private_folders "")
foreach(folder IN LISTS LIBURCU_LIBRARY_DIRS)
  string(APPEND pc_private_folders " -L${folder}")
endforeach()
configure_file(
  "${PROJECT_SOURCE_DIR}/cmake/larder.pc.in" "${PROJECT_BINARY_DIR}/larder.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/larder.pc"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
