// llama.cpp's grammars (GBNF), as Lark for llguidance.
//
//   root  ::= "yes" | list        # the answer is of the rule `root`
//   list  ::= "[" (item ", ")* item "]"
//   item  ::= [a-z]{1,8} | [^\x00-\x1F"] | . | list
//
// A grammar without recursion becomes one regular expression, which is exact. In another, each rule, group or
// repetition without recursion becomes a token of the language, which takes as much text as fits it, as
// Lark's do: where GBNF would also allow a shorter piece there, that way to go on is not allowed here.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace mlc {

// Whether the text begins, behind comments, as GBNF does: NAME ::=
bool is_gbnf(std::string_view text);

// Errors: "line N: found ..., expected ...", and a rule that is missing or stands twice. Groups may nest
// `depth` deep.
Result<std::string> gbnf_to_lark(std::string_view text, int64_t depth);

}  // namespace mlc
