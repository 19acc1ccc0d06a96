# capi/install.cmake - what `make install` puts where: library, headers, and how pkg-config and CMake find them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(config ${CMAKE_INSTALL_LIBDIR}/cmake/nebula)

# Relative, so that it is true under whatever prefix it is installed.
file(RELATIVE_PATH NEBULA_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" NEBULA_PC_TO_PREFIX ${NEBULA_PC_TO_PREFIX})
configure_file(capi/nebula.pc.in nebula.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/nebula.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The targets of a CMake project: nebula::nebula, nebula::cpp, and nebula::static where it is bundled.
set(targets nebula nebula_cpp)
set_target_properties(nebula_cpp PROPERTIES EXPORT_NAME cpp)
target_include_directories(nebula_cpp INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
if(NEBULA_BUNDLED)
  list(APPEND targets nebula_static)
  set_target_properties(nebula_static PROPERTIES EXPORT_NAME static)
endif()
install(TARGETS ${targets} EXPORT nebula)
install(EXPORT nebula NAMESPACE nebula:: FILE nebulaTargets.cmake DESTINATION ${config})
# Before 1.0 a minor version may break things.
write_basic_package_version_file(nebulaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES capi/nebulaConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/nebulaConfigVersion.cmake DESTINATION ${config})

install(FILES capi/nebula.h bindings/c/nebula_protobuf_c.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY bindings/cpp/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.hpp)
