# Builds rust/text (and rust/http, which it carries along) with cargo into the static library that the target mlc_text stands
# for, and turns the conversation presets (src/chat/template/presets.json) into an include file for src/chat.
find_program(CARGO cargo HINTS $ENV{HOME}/.cargo/bin REQUIRED)
set(MLC_CARGO_TARGET_DIR ${CMAKE_SOURCE_DIR}/.cache/cargo CACHE PATH "cargo's build folder, shared by all build folders")

set(MLC_TEXT_LIBRARY ${MLC_CARGO_TARGET_DIR}/release/libmlc_text.a)
file(GLOB MLC_TEXT_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/rust/text/src/*.rs ${CMAKE_SOURCE_DIR}/rust/http/src/*.rs)
add_custom_command(
  OUTPUT ${MLC_TEXT_LIBRARY}
  COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${MLC_CARGO_TARGET_DIR}
          ${CARGO} build --quiet --locked --release
  COMMAND ${CMAKE_COMMAND} -E touch_nocreate ${MLC_TEXT_LIBRARY}
  DEPENDS ${MLC_TEXT_SOURCES} ${CMAKE_SOURCE_DIR}/rust/text/Cargo.toml ${CMAKE_SOURCE_DIR}/rust/text/Cargo.lock
          ${CMAKE_SOURCE_DIR}/rust/http/Cargo.toml
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/rust/text
  COMMENT "Building the text library with cargo" VERBATIM)
add_custom_target(mlc_text_build DEPENDS ${MLC_TEXT_LIBRARY})

set(presets ${CMAKE_SOURCE_DIR}/src/chat/template/presets.json)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${presets})
file(READ ${presets} presets_text)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/chat/presets.inc
     CONTENT "R\"PRESETS(@presets_text@)PRESETS\"\n" @ONLY)

add_library(mlc_text STATIC IMPORTED GLOBAL)
add_dependencies(mlc_text mlc_text_build)
set_target_properties(mlc_text PROPERTIES
  IMPORTED_LOCATION ${MLC_TEXT_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${CMAKE_BINARY_DIR}/generated
  INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m")
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/generated)
