# mlc_add_tests(NAME SOURCES... LIBRARIES...): one GoogleTest program named test_NAME, each test known to ctest.
find_package(GTest REQUIRED)
include(GoogleTest)

function(mlc_add_tests name)
  cmake_parse_arguments(arg "" "LABEL;PREFIX" "SOURCES;LIBRARIES" ${ARGN})
  if(NOT arg_SOURCES)
    return()
  endif()
  if(NOT arg_LABEL)
    set(arg_LABEL fast)
  endif()
  add_executable(test_${name} ${arg_SOURCES})
  target_compile_options(test_${name} PRIVATE -O1)  # a third less time to compile; what is tested keeps its own level
  target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(test_${name} PRIVATE ${arg_LIBRARIES} GTest::gtest GTest::gtest_main)
  target_compile_definitions(test_${name} PRIVATE MLC_SOURCE_DIR="${CMAKE_SOURCE_DIR}" MLC_BINARY_DIR="${CMAKE_BINARY_DIR}")
  # GoogleTest says "SKIPPED" of tests whose suite could not be set up, too, which ctest would not count as failed.
  gtest_discover_tests(test_${name} DISCOVERY_MODE PRE_TEST TEST_PREFIX "${arg_PREFIX}" PROPERTIES LABELS ${arg_LABEL} TIMEOUT 600
    SKIP_REGULAR_EXPRESSION "nothing is skipped" FAIL_REGULAR_EXPRESSION "  SKIPPED ")
endfunction()
