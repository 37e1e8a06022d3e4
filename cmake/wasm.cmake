# Toolchain file for wasm32-wasi: clang 19 with Debian's wasi-libc and libc++, whose headers are named one by one, because the
# host's own /usr/include would leak in otherwise.
set(CMAKE_SYSTEM_NAME WASI)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
set(CMAKE_C_COMPILER clang-19)
set(CMAKE_CXX_COMPILER clang++-19)
set(CMAKE_AR /usr/bin/llvm-ar-19)
set(CMAKE_RANLIB /usr/bin/llvm-ranlib-19)
set(CMAKE_C_COMPILER_TARGET wasm32-wasi)
set(CMAKE_CXX_COMPILER_TARGET wasm32-wasi)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)  # there is no program to link for a test
set(MLC_CLANG_RESOURCES /usr/lib/llvm-19/lib/clang/19)
set(MLC_WASI_INCLUDE /usr/include/wasm32-wasi)
set(headers "-isystem ${MLC_CLANG_RESOURCES}/include -isystem ${MLC_WASI_INCLUDE}")
set(CMAKE_C_FLAGS_INIT "-nostdinc ${headers}")
set(CMAKE_CXX_FLAGS_INIT "-nostdinc -isystem ${MLC_WASI_INCLUDE}/c++/v1 ${headers}")
