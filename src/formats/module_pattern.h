// Patterns of PEFT's rank_pattern and alpha_pattern: regular expressions for a module's name or its end.
//
// Known: letters and other plain characters, `.`, `\d`, `\w`, `\` before a sign, `[a-z0-9_]` and `[^...]`,
// groups `(a|b)` and `(?:a|b)`, `*`, `+`, `?`, `^` and `$` at the ends. As in PEFT a pattern matches the
// whole name, or what follows one of its dots.
#pragma once

#include <string_view>

#include "base/status.h"

namespace mlc {

// `what` names the pattern's place in errors: a form that is not known, or one that takes too long to match.
Result<bool> matches_module(std::string_view pattern, std::string_view module, const std::string& what);

}  // namespace mlc
