// Signs of templates, and grammars of calls.
#include "chat/tools/tool_format.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc {
namespace {

using namespace tool_tags;

bool has(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// Texts as Lark reads them: quoted, special tokens by id.
class LarkText {
 public:
  explicit LarkText(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  std::string operator()(std::string_view text) const {
    std::string result, plain;
    while (!text.empty()) {
      const auto [tag, id] = special_at(text);
      if (tag.empty()) {
        plain += text.front();
        text.remove_prefix(1);
        continue;
      }
      append(result, quoted(plain));
      plain.clear();
      append(result, str("<[", id, "]>"));
      text.remove_prefix(tag.size());
    }
    append(result, quoted(plain));
    return result;
  }

 private:
  static void append(std::string& result, const std::string& part) {
    if (part.empty()) return;
    if (!result.empty()) result += " ";
    result += part;
  }
  static std::string quoted(const std::string& text) { return text.empty() ? "" : json_text(Json(text)); }

  std::pair<std::string_view, int32_t> special_at(std::string_view text) const {
    for (std::string_view tag :
         {kMistralOpen, kMistralArguments, kCallsBegin, kCallsEnd, kCallBegin, kCallEnd, kCallSeparator,
          kChannel, kMessage, kConstrain, kHermesOpen, kHermesClose}) {
      if (!text.starts_with(tag)) continue;
      const std::optional<int32_t> id = tokenizer_.token_id(tag);
      if (id && tokenizer_.token_kind(*id) == TokenKind::kSpecial) return {tag, *id};
    }
    return {"", -1};
  }

  const Tokenizer& tokenizer_;
};

// What stands around calls and around a call's name and arguments.
struct CallSyntax {
  std::string first, open, between, close, separator, last;
};

CallSyntax syntax_of(ToolFormat format, const Tokenizer& tokenizer) {
  switch (format) {
    case ToolFormat::kMistral:
      if (tokenizer.token_id(kMistralArguments))
        return {"", std::string(kMistralOpen), std::string(kMistralArguments), "", "", ""};
      return {str(kMistralOpen, "["), "{\"name\": \"", "\", \"arguments\": ", "}", ", ", "]"};
    case ToolFormat::kLlama: return {"", "{\"name\": \"", "\", \"parameters\": ", "}", "; ", ""};
    case ToolFormat::kDeepSeek:
      return {std::string(kCallsBegin),
              str(kCallBegin, "function", kCallSeparator),
              "\n```json\n",
              str("\n```", kCallEnd),
              "\n",
              std::string(kCallsEnd)};
    case ToolFormat::kHarmony:
      return {"", str(kChannel, "commentary to=functions."), str(" ", kConstrain, "json", kMessage), "", "",
              ""};
    default:
      return {"", str(kHermesOpen, "\n{\"name\": \""), "\", \"arguments\": ", str("}\n", kHermesClose), "\n",
              ""};
  }
}

// Several functions' schemas stand in one grammar, each with the bounds on whitespace that one alone has.
std::string json_rule(Json schema) {
  if (!schema.is_object()) schema = Json::object();
  schema["x-guidance"] = {{"whitespace_pattern", "\\x20|\\n[\\x20\\t]{0,40}"}};
  return "%json " + json_text(schema);
}

// f(a=1, b="x"): required parameters in their order, then any of the others.
std::string python_call(const ToolFunction& function) {
  std::vector<std::string> required, other;
  const Json* properties = find(function.parameters, "properties");
  const Json* names = find(function.parameters, "required");
  if (properties && properties->is_object())
    for (const auto& item : properties->items()) {
      Json schema = item.value();
      for (const char* key : {"$defs", "definitions"})
        if (const Json* shared = find(function.parameters, key); shared && schema.is_object())
          schema[key] = *shared;
      const bool needed =
          names && names->is_array() && std::ranges::find(*names, Json(item.key())) != names->end();
      (needed ? required : other).push_back(json_text(Json(item.key() + "=")) + " " + json_rule(schema));
    }
  std::string rule = json_text(Json(function.name + "("));
  for (size_t i = 0; i < required.size(); ++i) rule += (i ? " \", \" " : " ") + required[i];
  if (!required.empty()) {
    for (const std::string& one : other) rule += " (\", \" " + one + ")?";
  } else if (!other.empty()) {
    const std::string any = "(" + join(other, " | ") + ")";
    rule += " (" + any + " (\", \" " + any + ")*)?";
  }
  return rule + " \")\"";
}

}  // namespace

ToolFormat find_tool_format(std::string_view jinja, bool preset_takes_tools) {
  if (jinja.empty()) return preset_takes_tools ? ToolFormat::kPython : ToolFormat::kNone;
  if (has(jinja, kChannel)) return ToolFormat::kHarmony;
  if (!has(jinja, "tool")) return ToolFormat::kNone;
  if (has(jinja, kCallsBegin)) return ToolFormat::kDeepSeek;
  if (has(jinja, kMistralOpen)) return ToolFormat::kMistral;
  if (has(jinja, "<function=")) return ToolFormat::kNone;  // Qwen3-Coder's own tags
  if (has(jinja, kHermesOpen)) return ToolFormat::kHermes;
  if (has(jinja, "[func_name1(")) return ToolFormat::kPython;
  if (has(jinja, kPythonTag) || has(jinja, "\"parameters\"")) return ToolFormat::kLlama;
  return ToolFormat::kNone;
}

std::string tool_call_grammar(ToolFormat format, const std::vector<ToolFunction>& functions, bool several,
                              const Tokenizer& tokenizer) {
  const LarkText lark(tokenizer);
  std::vector<std::string> names;
  std::string rules;
  const CallSyntax syntax = syntax_of(format, tokenizer);
  for (size_t i = 0; i < functions.size(); ++i) {
    names.push_back(str("call_", i));
    rules += str("call_", i, ": ");
    if (format == ToolFormat::kPython)
      rules += python_call(functions[i]) + "\n";
    else
      rules += join({lark(syntax.open + functions[i].name + syntax.between),
                     json_rule(functions[i].parameters), lark(syntax.close)},
                    " ") +
               "\n";
  }
  std::string first = lark(syntax.first), last = lark(syntax.last), separator = lark(syntax.separator);
  if (format == ToolFormat::kPython) first = "\"[\"", last = "\"]\"", separator = "\", \"";
  several &= format != ToolFormat::kHarmony;  // each call ends its answer
  return "start: " + first + " call " + (several ? "(" + separator + " call)* " : "") + last +
         "\ncall: " + join(names, " | ") + "\n" + rules;
}

}  // namespace mlc
