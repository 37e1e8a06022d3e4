// A language that drivers of a kind of GPU accept. Each is a folder that defines one of these.
#pragma once

#include <span>
#include <string>

#include "base/target/target.h"
#include "formats/library.h"
#include "kernel/ir.h"

namespace mlc::lang {

struct Language {
  const char* kind;    // Target::kind of the targets that speak it
  GpuLanguage number;  // in a library
  // The code of a device function (kernel/ir.h). Threads: may be called concurrently.
  std::string (*emit)(const kernel::Function& function, const Target& target);
  std::string (*for_people)(const std::string& code);  // the text, or a disassembly
};

inline std::string as_it_is(const std::string& code) { return code; }

// All that this build has. A kind of target may have several, of which the first serves it.
std::span<const Language* const> languages();

}  // namespace mlc::lang
