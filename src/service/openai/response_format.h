// `response_format`: what an answer may be, as a grammar.
//
//   {"type": "text"}
//   {"type": "json_object"}, with MLC LLM's "schema": a JSON schema as a text or an object
//   {"type": "json_schema", "json_schema": {"name": "...", "schema": {...}, "strict": true}}
//   {"type": "regex", "regex": "..."}
//   {"type": "grammar", "grammar": "..."}: Lark, as llguidance reads it, or llama.cpp's GBNF, which begins
//   with NAME ::=; "syntax": "lark" or "gbnf" says which
#pragma once

#include "service/openai/fields.h"
#include "service/openai/request.h"

namespace mlc::serve::openai {

// Sets config.grammar. The error of a bad format names response_format and what is wrong in it.
void read_response_format(Fields& fields, const RequestContext& context, GenerationConfig& config);

}  // namespace mlc::serve::openai
