// Formats to grammars.
#include "service/openai/response_format.h"

#include "base/strings.h"
#include "chat/grammar/gbnf.h"

namespace mlc::serve::openai {
namespace {

constexpr const char* kField = "response_format";

struct Wanted {
  GrammarKind kind = GrammarKind::kJsonSchema;
  std::string text, path;  // path: of the text, for errors
};

// A schema as a text or an object; true and false are schemas too.
ApiError schema_text(const Json& schema, const std::string& path, std::string& text) {
  if (schema.is_string())
    text = schema.get<std::string>();
  else if (schema.is_object() || schema.is_boolean())
    text = json_text(schema);
  else
    return wrong_value(path, schema, "a JSON schema: an object");
  return {};
}

ApiError text_of(const Json& format, const char* key, const std::string& path, std::string& text) {
  const std::optional<std::string> value = find_string(format, key);
  if (!value || value->empty())
    return wrong_value(path, find(format, key) ? *find(format, key) : Json(nullptr), "a text");
  text = *value;
  return {};
}

ApiError read_json_schema(const Json& format, Wanted& wanted) {
  const Json* inner = find(format, "json_schema");
  if (!inner || !inner->is_object())
    return wrong_value(str(kField, ".json_schema"), inner ? *inner : Json(nullptr),
                       "an object with name and schema");
  wanted.path = str(kField, ".json_schema.schema");
  const Json* schema = find(*inner, "schema");
  if (!schema) return wrong_value(wanted.path, nullptr, "a JSON schema: an object");
  return schema_text(*schema, wanted.path, wanted.text);
}

ApiError read_syntax(const Json& format, Wanted& wanted) {
  const Json* given = find(format, "syntax");
  const std::string syntax = find_string(format, "syntax")
                                 .value_or(given                  ? ""
                                           : is_gbnf(wanted.text) ? "gbnf"
                                                                  : "lark");
  if (syntax != "gbnf" && syntax != "lark")
    return wrong_value(str(kField, ".syntax"), *given, "\"lark\" or \"gbnf\"");
  wanted.kind = syntax == "gbnf" ? GrammarKind::kGbnf : GrammarKind::kLark;
  return {};
}

ApiError read_format(const Json& format, const std::string& type, Wanted& wanted) {
  wanted.path = kField;
  if (type == "json_schema") return read_json_schema(format, wanted);
  if (type == "json_object") {
    wanted.text = R"({"type":"object"})";
    const Json* schema = find(format, "schema");
    if (!schema) return {};
    wanted.path = str(kField, ".schema");
    return schema_text(*schema, wanted.path, wanted.text);
  }
  if (type == "regex") wanted.kind = GrammarKind::kRegex;
  if (type == "regex" || type == "grammar") {
    wanted.path = str(kField, ".", type);
    if (ApiError error = text_of(format, type.c_str(), wanted.path, wanted.text); error.is_error())
      return error;
    return type == "regex" ? ApiError{} : read_syntax(format, wanted);
  }
  return wrong_value(str(kField, ".type"), Json(type), "text, json_object, json_schema, regex or grammar");
}

}  // namespace

void read_response_format(Fields& fields, const RequestContext& context, GenerationConfig& config) {
  const Json* format = fields.get(kField);
  if (!format || fields.failed()) return;
  const std::optional<std::string> type = find_string(*format, "type");
  if (!type) return fields.wrong(kField, *format, "an object with a type");
  if (*type == "text") return;
  Wanted wanted;
  if (ApiError error = read_format(*format, *type, wanted); error.is_error()) {
    error.param = kField;
    return fields.fail(std::move(error));
  }
  auto grammar = context.grammars.compile(wanted.kind, wanted.text, context.limits.grammar, wanted.path);
  if (!grammar.is_ok()) return fields.fail(bad_field(kField, grammar.status().message()));
  config.grammar = std::move(*grammar);
}

}  // namespace mlc::serve::openai
