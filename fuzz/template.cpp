// Chat templates: the input is parsed and rendered with a small conversation.
#include "chat/template/chat_template.h"
#include "fuzz.h"

namespace {

const mlc::Json& context() {
  static const mlc::Json variables = {
      {"messages",
       {{{"role", "system"}, {"content", "Be it's <b>"}}, {{"role", "user"}, {"content", "Hi \xC3\xA9\n"}}}},
      {"tools", {{{"type", "function"}, {"function", {{"name", "f"}, {"parameters", mlc::Json::object()}}}}}},
      {"add_generation_prompt", true},
      {"bos_token", "<s>"},
      {"n", 7},
      {"f", -2.5},
      {"l", {3, 1, 2}},
      {"d", {{"b", 2}, {"a", nullptr}}},
      {"none", nullptr},
  };
  return variables;
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mlc;
  auto jinja = JinjaTemplate::parse(fuzz::text_of(data, size), fuzz::kFile);
  fuzz::check_status(jinja.status());
  if (jinja.is_ok()) fuzz::check_status((*jinja)->render(context(), 1700000000).status());
  return 0;
}
