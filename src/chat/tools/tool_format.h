// How a family of models writes calls of tools, told by its chat template; and the grammar that makes a model
// write one.
//
//   kHermes    <tool_call>\n{"name": "f", "arguments": {...}}\n</tool_call>   (Hermes, Qwen, SmolLM3)
//   kMistral   [TOOL_CALLS][{"name": "f", "arguments": {...}}, ...]           (also [TOOL_CALLS]f[ARGS]{...})
//   kLlama     {"name": "f", "parameters": {...}}                             (Llama 3.1; <|python_tag|>
//   first) kPython    [f(a=1), g(b="x")]                                             (Llama 3.2 and 4;
//   gorilla: f(a=1)) kDeepSeek  <tool calls begin><tool call begin>function<tool
//   sep>f\n```json\n{...}\n```<tool call end>... kHarmony   <|channel|>commentary to=functions.f
//   <|constrain|>json<|message|>{...}<|call|>    (gpt-oss)
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "chat/tokenizer/tokenizer.h"

namespace mlc {

enum class ToolFormat : uint8_t { kNone, kHermes, kMistral, kLlama, kPython, kDeepSeek, kHarmony };

namespace tool_tags {
inline constexpr std::string_view kHermesOpen = "<tool_call>", kHermesClose = "</tool_call>",
                                  kMistralOpen = "[TOOL_CALLS]", kMistralArguments = "[ARGS]",
                                  kPythonTag = "<|python_tag|>";
// The bars are U+FF5C, the lines between words U+2581.
inline constexpr std::string_view kCallsBegin =
                                      "<\xEF\xBD\x9Ctool\xE2\x96\x81"
                                      "calls\xE2\x96\x81"
                                      "begin\xEF\xBD\x9C>",
                                  kCallsEnd =
                                      "<\xEF\xBD\x9Ctool\xE2\x96\x81"
                                      "calls\xE2\x96\x81"
                                      "end\xEF\xBD\x9C>",
                                  kCallBegin =
                                      "<\xEF\xBD\x9Ctool\xE2\x96\x81"
                                      "call\xE2\x96\x81"
                                      "begin\xEF\xBD\x9C>",
                                  kCallEnd =
                                      "<\xEF\xBD\x9Ctool\xE2\x96\x81"
                                      "call\xE2\x96\x81"
                                      "end\xEF\xBD\x9C>",
                                  kCallSeparator =
                                      "<\xEF\xBD\x9Ctool\xE2\x96\x81"
                                      "sep\xEF\xBD\x9C>";
inline constexpr std::string_view kChannel = "<|channel|>", kMessage = "<|message|>", kEnd = "<|end|>",
                                  kStart = "<|start|>", kCall = "<|call|>", kReturn = "<|return|>",
                                  kConstrain = "<|constrain|>";
}  // namespace tool_tags

// `jinja`: the text of a checkpoint's template, "" where a preset is used; `preset_takes_tools`: the preset
// has a place for them.
ToolFormat find_tool_format(std::string_view jinja, bool preset_takes_tools);

// A function that may be called.
struct ToolFunction {
  std::string name;
  Json parameters = Json::object();  // a JSON schema of an object
};

// A Lark grammar (chat/grammar/grammar.h) of one call of one of the functions, or of several in a row.
std::string tool_call_grammar(ToolFormat format, const std::vector<ToolFunction>& functions, bool several,
                              const Tokenizer& tokenizer);

}  // namespace mlc
