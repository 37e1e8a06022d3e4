// Where a library is to be loaded: what --host says, and what --output and presets say for it.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace mlc {

enum class System { kLinux, kAndroid, kWindows, kWeb, kMacos, kIos, kIosSimulator, kMacCatalyst };

struct Host {
  std::string architecture;  // "x86_64", "aarch64" or, of kWeb alone, "wasm32"
  System system = System::kLinux;
  std::string
      triple;  // as LLVM spells it; Apple's with the oldest version of the system that loads the library

  bool is_apple() const { return system >= System::kMacos; }
  // ".so", ".dll", ".dylib" or ".wasm": what shared libraries are called there.
  const char* suffix() const;
};

// The host that a triple means, whatever its vendor: "arm64-apple-darwin", "x86_64-pc-windows-msvc",
// "x86_64-w64-mingw32", "aarch64-linux-android", ... Errors: a system or an architecture that no container is
// made for, with the nearest triple.
Result<Host> parse_host(const std::string& triple);

// This machine's.
Host local_host();

// A triple for each host there is a container for, sorted.
std::vector<std::string> host_triples();

}  // namespace mlc
