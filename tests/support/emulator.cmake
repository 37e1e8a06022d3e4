# The runners of foreign_kernels.h. On other machines the suites that run compiled kernels run them for aarch64 too.
find_program(MLC_AARCH64_CXX aarch64-linux-gnu-g++)
find_program(MLC_QEMU_AARCH64 qemu-aarch64)
if(NOT CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64" AND MLC_AARCH64_CXX AND MLC_QEMU_AARCH64)
  execute_process(COMMAND ${MLC_AARCH64_CXX} -print-file-name=libc.so.6 OUTPUT_VARIABLE libc OUTPUT_STRIP_TRAILING_WHITESPACE)
  get_filename_component(libc ${libc} REALPATH)
  get_filename_component(sysroot ${libc}/../.. ABSOLUTE)
  set(runner ${CMAKE_CURRENT_BINARY_DIR}/run_aarch64_kernels)
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/support/foreign_runner.cpp)
  add_custom_command(OUTPUT ${runner}
    COMMAND ${MLC_AARCH64_CXX} -std=c++20 -O1 -I${CMAKE_SOURCE_DIR}/src -I${CMAKE_SOURCE_DIR}/tests ${source} -o ${runner} -ldl
    DEPENDS ${source} ${CMAKE_CURRENT_SOURCE_DIR}/support/kernel_call.h ${CMAKE_SOURCE_DIR}/src/formats/library.h)
  add_custom_target(aarch64_runner DEPENDS ${runner})
  foreach(suite emit link ops)
    add_dependencies(test_suite_${suite} aarch64_runner)
    target_compile_definitions(test_suite_${suite} PRIVATE
      "MLC_AARCH64_RUNNER=\"${MLC_QEMU_AARCH64} -cpu max -L ${sysroot} ${runner}\"")
  endforeach()
elseif(NOT CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
  message(WARNING "tests of aarch64 kernels will fail: aarch64-linux-gnu-g++ or qemu-aarch64 not found; run scripts/install")
endif()

# WebAssembly's runner, for the same suites, and its device.
find_program(MLC_NODE NAMES node nodejs)
foreach(suite smollm2 wasm web webgpu)
  if(TARGET test_suite_${suite})
    target_compile_definitions(test_suite_${suite} PRIVATE "MLC_NODE=\"${MLC_NODE}\"")
  endif()
endforeach()
if(MLC_NODE)
  foreach(suite emit link ops)
    target_compile_definitions(test_suite_${suite} PRIVATE
      "MLC_WASM_RUNNER=\"${MLC_NODE} ${CMAKE_CURRENT_SOURCE_DIR}/support/wasm_runner.mjs\"")
  endforeach()
else()
  message(WARNING "tests of WebAssembly's kernels will fail: node not found; run scripts/install")
endif()
