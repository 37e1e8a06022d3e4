# The host program that loads DLLs, made by MinGW of the platform's own source for Windows, and Wine to run it. Compiling it is the
# test that base/platform builds for Windows, running it that it works there.
find_program(MLC_MINGW_CXX x86_64-w64-mingw32-g++-posix)
find_program(MLC_WINE NAMES wine64 wine64-stable PATHS /usr/lib/wine)
if(MLC_MINGW_CXX)
  set(runner ${CMAKE_CURRENT_BINARY_DIR}/run_windows_kernels.exe)
  set(whole ${CMAKE_CURRENT_BINARY_DIR}/windows_runner.cpp)  # one translation unit: half of the time
  set(sources ${CMAKE_CURRENT_SOURCE_DIR}/support/windows_runner.cpp)
  foreach(name file file_kind status strings env check temp_folder threads platform/windows platform/hosted)
    list(APPEND sources ${CMAKE_SOURCE_DIR}/src/base/${name}.cpp)
  endforeach()
  list(TRANSFORM sources REPLACE "(.+)" "#include \"\\1\"\n" OUTPUT_VARIABLE includes)
  string(JOIN "" includes ${includes})
  file(CONFIGURE OUTPUT ${whole} CONTENT "${includes}")
  find_path(json nlohmann/json.hpp REQUIRED)  # without the rest of that folder, which is this system's
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/windows_headers)
  file(CREATE_LINK ${json}/nlohmann ${CMAKE_CURRENT_BINARY_DIR}/windows_headers/nlohmann SYMBOLIC)
  add_custom_command(OUTPUT ${runner}
    COMMAND ${MLC_MINGW_CXX} -std=c++20 -O0 -Wall -Wextra -Wno-missing-field-initializers -fno-exceptions -fno-rtti -static
            -I${CMAKE_SOURCE_DIR}/src -I${CMAKE_SOURCE_DIR}/tests -I${CMAKE_CURRENT_BINARY_DIR}/windows_headers
            ${whole} -o ${runner}
    DEPENDS ${whole} ${sources} ${CMAKE_SOURCE_DIR}/src/base/platform/platform.h)
  add_custom_target(windows_runner DEPENDS ${runner})
  add_dependencies(test_suite_link windows_runner)
  target_compile_definitions(test_suite_link PRIVATE "MLC_WINDOWS_RUNNER=\"${runner}\"")
  if(MLC_WINE)
    target_compile_definitions(test_suite_link PRIVATE "MLC_WINE=\"${MLC_WINE}\"")
  endif()
else()
  message(WARNING "tests of DLLs will fail: x86_64-w64-mingw32-g++-posix not found; run scripts/install")
endif()
