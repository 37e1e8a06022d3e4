# One instrumented build, made by clang, for the tests under sanitizers and for the fuzzers: address and undefined-behaviour checks
# whose first report ends the program, and the coverage that libFuzzer steers by.
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "MLC_INSTRUMENT: the compiler is ${CMAKE_CXX_COMPILER_ID}; libFuzzer needs clang, use scripts/instrument")
endif()
set(checks fuzzer-no-link,address,undefined)
# Without vptr: rooms without RTTI share types with rooms that have it, which vptr mistakes for damage. Without function: it reads
# the 8 bytes before a function that is called by pointer, and those of a compiled model may be the first of a mapping.
# The prefix map lets ccache know a file whatever the checkout is called.
add_compile_options(-fsanitize=${checks} -fno-sanitize=vptr,function -fno-sanitize-recover=all -fno-omit-frame-pointer -g1 -O1
                    -fdebug-prefix-map=${CMAKE_SOURCE_DIR}=. -Wno-deprecated-declarations)
add_link_options(-fsanitize=${checks})
