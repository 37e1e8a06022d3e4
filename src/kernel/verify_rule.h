// A rule of the verifiers: what it says is put into words only where it is broken.
#pragma once

#include "base/strings.h"
#include "kernel/print.h"

namespace mlc::kernel {

struct Problem {
  std::string text;
};

inline std::string words_of(const Expr& e) { return print(e); }
inline std::string words_of(const Type& t) { return t.text(); }
template <typename T>
const T& words_of(const T& part) {
  return part;
}

// Throws a Problem of the parts (text, numbers, expressions, types) unless the rule holds.
template <typename... Parts>
void require(bool holds, const Parts&... parts) {
  if (!holds) throw Problem{str(words_of(parts)...)};
}

}  // namespace mlc::kernel
