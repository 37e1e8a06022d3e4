// From OpenAI's tools to a template's and a grammar.
#include "service/openai/tools.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc::serve::openai {
namespace {

bool preset_takes_tools(const Conversation& conversation) {
  const auto has = [](const std::string& text) { return text.find("{function_string}") != text.npos; };
  return has(conversation.system_template) || has(conversation.system_message) ||
         std::ranges::any_of(conversation.role_templates, [&](const auto& role) { return has(role.second); });
}

bool is_name(const std::string& name) {
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

ApiError read_tool(const Json& tool, const std::string& path, std::vector<ToolFunction>& functions) {
  const std::string type = find_string(tool, "type").value_or("");
  const Json* function = find(tool, "function");
  if (type != "function" || !function || !function->is_object())
    return wrong_value(path, tool, "an object with \"type\": \"function\" and function");
  ToolFunction one{find_string(*function, "name").value_or(""), Json::object()};
  if (!is_name(one.name))
    return wrong_value(path + ".function.name",
                       find(*function, "name") ? *find(*function, "name") : Json(nullptr),
                       "1 to 64 letters, digits, _, - and .");
  if (std::ranges::any_of(functions, [&](const ToolFunction& f) { return f.name == one.name; }))
    return bad_field(path, str(path, ": found the name '", one.name, "' twice; names must differ"));
  if (const Json* parameters = find(*function, "parameters")) {
    if (!parameters->is_object())
      return wrong_value(path + ".function.parameters", *parameters, "a JSON schema");
    one.parameters = *parameters;
  }
  if (!one.parameters.contains("type")) one.parameters["type"] = "object";
  functions.push_back(std::move(one));
  return {};
}

std::vector<ToolFunction> read_list(Fields& fields, const RequestContext& context) {
  std::vector<ToolFunction> functions;
  const Json* tools = fields.get("tools");
  if (!tools) return functions;
  if (!tools->is_array()) {
    fields.wrong("tools", *tools, "a list of tools");
    return functions;
  }
  if (static_cast<int64_t>(tools->size()) > context.limits.tools)
    fields.fail(
        bad_field("tools", str("tools: found ", tools->size(), ", expected at most ", context.limits.tools)));
  for (size_t i = 0; i < tools->size() && !fields.failed(); ++i)
    if (ApiError error = read_tool((*tools)[i], str("tools[", i, "]"), functions); error.is_error()) {
      error.param = "tools";
      fields.fail(std::move(error));
    }
  return functions;
}

struct ToolChoice {
  bool none = false, required = false;
  std::string name;  // with required: of the one function; "": any
};

ToolChoice read_choice(Fields& fields, const std::vector<ToolFunction>& functions) {
  ToolChoice choice;
  const Json* given = fields.get("tool_choice");
  if (!given) return choice;
  constexpr const char* kExpected =
      "none, auto, required or {\"type\": \"function\", \"function\": {\"name\": ...}}";
  if (given->is_object()) {
    const Json* function = find(*given, "function");
    const std::optional<std::string> name = function ? find_string(*function, "name") : std::nullopt;
    if (!name) {
      fields.wrong("tool_choice", *given, kExpected);
    } else if (std::ranges::none_of(functions, [&](const ToolFunction& f) { return f.name == *name; })) {
      fields.wrong("tool_choice", Json(*name), "the name of one of tools");
    }
    choice.required = true;
    choice.name = name.value_or("");
    return choice;
  }
  const std::string text = given->is_string() ? given->get<std::string>() : "";
  choice.none = text == "none";
  choice.required = text == "required";
  if (!choice.none && !choice.required && text != "auto") fields.wrong("tool_choice", *given, kExpected);
  if (choice.required && functions.empty())
    fields.fail(bad_field("tool_choice", "tool_choice: found 'required' without tools"));
  return choice;
}

void demand_call(Fields& fields, const RequestContext& context, const ToolChoice& choice, bool several,
                 std::vector<ToolFunction> functions, CompletionCall& call) {
  if (call.config.grammar)
    return fields.fail(bad_field(
        "tool_choice", "tool_choice: a call is demanded and response_format too; leave one of them out"));
  if (!choice.name.empty())
    std::erase_if(functions, [&](const ToolFunction& f) { return f.name != choice.name; });
  const std::string text = tool_call_grammar(call.form.tools, functions, several, context.tokenizer);
  auto grammar = context.grammars.compile(GrammarKind::kLark, text, context.limits.grammar, "tools");
  if (!grammar.is_ok()) return fields.fail(bad_field("tools", grammar.status().message()));
  call.config.grammar = std::move(*grammar);
  call.form.opens_thinking = false;
}

}  // namespace

void read_tools(Fields& fields, const RequestContext& context, CompletionCall& call, RenderOptions& options) {
  const Conversation& conversation = context.chat_template.conversation();
  const std::string& jinja = conversation.jinja_template;
  const ToolFormat format = find_tool_format(jinja, preset_takes_tools(conversation));
  call.form.thinks = jinja.find("</think>") != jinja.npos || conversation.strip_reasoning_in_history;
  if (format == ToolFormat::kHarmony) call.form.tools = format;  // it writes all answers in messages
  bool several = true;
  fields.read("parallel_tool_calls", several);
  std::vector<ToolFunction> functions = read_list(fields, context);
  const ToolChoice choice = read_choice(fields, functions);
  if (fields.failed() || functions.empty() || choice.none) return;
  if (format == ToolFormat::kNone)
    return fields.fail(bad_field(
        "tools",
        "tools: this model's chat template takes none; leave it out, or use a model that was made for them"));
  call.form.tools = format;
  options.tools = *fields.get("tools");
  Json list = Json::array();
  for (const Json& tool : options.tools) list.push_back(tool["function"]);
  options.function_string = json_text(list);
  if (choice.required)
    demand_call(fields, context, choice, several && choice.name.empty(), std::move(functions), call);
}

void fit_tool_calls(const ChatTemplate& chat_template, Json& messages) {
  const std::string& jinja = chat_template.conversation().jinja_template;
  const bool deep_seek = jinja.find(tool_tags::kCallsBegin) != jinja.npos;
  const bool as_text = deep_seek && jinja.find("tojson") == jinja.npos;
  for (Json& message : messages) {
    if (!message.contains("tool_calls")) continue;
    std::vector<std::string> texts;
    for (Json& call : message["tool_calls"]) {
      Json& function = call["function"];
      std::vector<std::string> values;
      for (const auto& item : function["arguments"].items())
        values.push_back(item.key() + "=" + json_text(item.value()));
      texts.push_back(function["name"].get<std::string>() + "(" + join(values, ", ") + ")");
      if (as_text) function["arguments"] = json_text(function["arguments"]);
    }
    if (!chat_template.is_jinja() && message["content"] == "")
      message["content"] = "[" + join(texts, ", ") + "]";
  }
}

bool opens_thinking(std::span<const int32_t> prompt, const Tokenizer& tokenizer) {
  constexpr size_t kTail = 12;  // tokens: "<think>" in single letters and whitespace
  auto text = tokenizer.decode(prompt.last(std::min(prompt.size(), kTail)));
  return text.is_ok() && trim(*text).ends_with("<think>");
}

}  // namespace mlc::serve::openai
