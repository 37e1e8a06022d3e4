// Runs calls of a library for another architecture in an emulator, of WebAssembly in Node. MLC_AARCH64_RUNNER
// and MLC_WASM_RUNNER (CMake) are the commands up to the runner's arguments; where there is none, the tests
// of such targets fail.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "formats/library_sections.h"
#include "support/kernel_call.h"
#include "support/temp_folder.h"

namespace mlc {

// The calls as bytes: count, then each call's numbers (i64), dims and buffers, each list after its length.
inline std::string encode_calls(const std::vector<KernelCall>& calls) {
  std::string bytes;
  auto number = [&](int64_t value) { bytes.append(reinterpret_cast<const char*>(&value), 8); };
  number(static_cast<int64_t>(calls.size()));
  for (const KernelCall& call : calls) {
    for (int64_t value : {static_cast<int64_t>(call.kernel), call.tiles, call.piece, call.scratch_bytes})
      number(value);
    number(static_cast<int64_t>(call.dims.size()));
    for (int64_t dim : call.dims) number(dim);
    number(static_cast<int64_t>(call.buffers.size()));
    for (const auto& buffer : call.buffers) {
      number(static_cast<int64_t>(buffer.size()));
      bytes.append(reinterpret_cast<const char*>(buffer.data()), buffer.size());
    }
  }
  return bytes;
}

// The command that runs such a library, "" where what it takes was not found.
inline std::string runner_of([[maybe_unused]] const std::string& library) {
#ifdef MLC_WASM_RUNNER
  if (container_of(library) == "wasm") return MLC_WASM_RUNNER;
#endif
#ifdef MLC_AARCH64_RUNNER
  if (container_of(library) == "ELF") return MLC_AARCH64_RUNNER;
#endif
  return "";
}

// Runs the calls and replaces their buffers by what the kernels left in them.
inline void run_emulated(const std::string& library, std::vector<KernelCall>& calls) {
  const std::string runner = runner_of(library);
  ASSERT_NE(runner, "")
      << container_of(library)
      << " code for another machine: aarch64-linux-gnu-g++, qemu-aarch64 or node was not found; "
         "run scripts/install and configure again";
  testing::TempFolder folder;
  std::string library_path = folder.write("library", library),
              in = folder.write("calls", encode_calls(calls)), out = folder.file("result");
  int exit = std::system(str(runner, " ", library_path, " ", in, " ", out).c_str());
  ASSERT_EQ(exit, 0) << runner;
  Result<std::string> result = read_file(out);
  ASSERT_TRUE(result.is_ok()) << result.status().message();
  size_t at = 0;
  for (KernelCall& call : calls)
    for (auto& buffer : call.buffers) {
      ASSERT_LE(at + buffer.size(), result->size());
      std::memcpy(buffer.data(), result->data() + at, buffer.size());
      at += buffer.size();
    }
}

}  // namespace mlc
