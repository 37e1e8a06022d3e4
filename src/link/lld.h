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

// An argument of the ELF linker: it makes its output in memory. With a mapped file it would handle the whole
// process's signals and give the calling thread another signal stack, to remove that file after a crash.
inline constexpr const char* kNoSignalHandlers = "--no-mmap-output-file";

// One link with these arguments, the first as in Arguments. Error: the linker's first line.
// Thread-safe (links wait for each other).
Status run_linker(const std::vector<std::string>& arguments);

// Links the library image and the variants' objects; returns the file's bytes. Errors: the linker's first
// line. Thread-safe (links wait for each other); leaves no files.
Result<std::string> run_lld(const LinkInput& input, const Arguments& arguments);

}  // namespace mlc::link
