# capi/nebulaConfig.cmake - what find_package(nebula) reads: nebula::nebula for C, nebula::cpp for C++.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/nebulaTargets.cmake)
