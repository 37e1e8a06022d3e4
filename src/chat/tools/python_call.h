// Calls in Python's syntax: f(a=1, b="x"), a list of them, or a list of texts of them (mlc-facts 8.6).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace mlc {

struct PythonCall {
  std::string name;
  Json arguments;  // an object
};

// False where the text is anything else. Literals: numbers, texts, True, False, None and JSON's own, lists,
// tuples, dicts, nested at most 64 deep.
bool parse_python_calls(std::string_view text, std::vector<PythonCall>& calls);

}  // namespace mlc
