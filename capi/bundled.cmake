# capi/bundled.cmake - the engine with all that it needs inside, for packages: libnebula.so and libnebula.a.
#
# The libraries are archives already, since pkg-config finds no others; what is left is libstdc++ and libgcc.
# What an assertion says of its place is a path of the project: packages do not tell where they were built.
target_compile_options(nebula_flags INTERFACE -ffunction-sections -fdata-sections
  -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
target_link_options(nebula PRIVATE -static-libstdc++ -static-libgcc -Wl,--gc-sections)

# One object whose names are local but for nebula_*: its libuv or OpenSSL cannot meet those of the program that it is
# linked into, and that program needs no C++ linker. Groups are resolved here, for a linker would drop ours in favour of
# the program's functions of the same name, to which local names do not lead.
foreach(name stdc++ gcc_eh gcc)
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=lib${name}.a
    OUTPUT_VARIABLE file OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  list(APPEND runtime_archives ${file})
endforeach()
set(archives ${UV_LINK_LIBRARIES} ${NGHTTP2_LINK_LIBRARIES} ${OPENSSL_LINK_LIBRARIES} ${ZLIB_LINK_LIBRARIES}
  ${ZSTD_LINK_LIBRARIES} ${SIMDJSON_LINK_LIBRARIES} ${PROTOBUF_C_LINK_LIBRARIES} ${runtime_archives})
set(whole ${CMAKE_CURRENT_BINARY_DIR}/nebula_whole.o)
set(object ${CMAKE_CURRENT_BINARY_DIR}/nebula.o)
add_custom_command(
  OUTPUT ${object}
  COMMAND ${CMAKE_CXX_COMPILER} -nostdlib -r -Wl,--force-group-allocation -Wl,-d -o ${whole} $<TARGET_OBJECTS:capi>
    -Wl,--start-group $<TARGET_FILE:core> ${archives} -Wl,--end-group
  COMMAND ${PROJECT_SOURCE_DIR}/capi/hide.sh ${whole} ${object}
  DEPENDS core $<TARGET_OBJECTS:capi> ${archives} capi/hide.sh COMMAND_EXPAND_LISTS VERBATIM)
add_library(nebula_static STATIC ${object})
target_include_directories(nebula_static INTERFACE $<INSTALL_INTERFACE:include>)
target_link_libraries(nebula_static INTERFACE m Threads::Threads)
set_target_properties(nebula_static PROPERTIES OUTPUT_NAME nebula LINKER_LANGUAGE C)
