// The linker of all shared containers: LLD in process.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "link/link.h"

namespace mlc::link {

// The linker's arguments but for the objects, given a folder for files of its own and the file to write. The
// first names the flavour: "ld.lld", "lld-link", "ld64.lld" or "wasm-ld".
using Arguments =
    std::function<Result<std::vector<std::string>>(const std::string& folder, const std::string& output)>;

// One link with these arguments, the first as in Arguments. Error: the linker's first line.
// Thread-safe (links wait for each other).
Status run_linker(const std::vector<std::string>& arguments);

// Links the library image and the variants' objects; returns the file's bytes. Errors: the linker's first
// line. Thread-safe (links wait for each other); leaves no files.
Result<std::string> run_lld(const LinkInput& input, const Arguments& arguments);

}  // namespace mlc::link
