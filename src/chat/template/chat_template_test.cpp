// Published Jinja templates against jinja2's output, and what broken or hostile templates get.
#include "chat/template/chat_template.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "support/temp_folder.h"

namespace mlc {
namespace {

const std::string kData = std::string(MLC_SOURCE_DIR) + "/tests/data/chat/";
constexpr int64_t kNow = 1700000000;  // 2023-11-14 22:13:20 UTC, as in make_template_prompts.py

std::shared_ptr<const JinjaTemplate> jinja(std::string_view source) {
  return JinjaTemplate::parse(source, "chat_template").value();
}
std::string render(std::string_view source, const Json& variables = Json::object()) {
  Result<std::string> text = jinja(source)->render(variables, kNow);
  return text.is_ok() ? *text : text.status().message();
}

TEST(JinjaTemplates, PublishedTemplatesRenderAsJinja2Does) {
  setenv("TZ", "UTC", 1);
  Json prompts = read_json_file(kData + "template_prompts.json").value();
  Json cases = read_json_file(kData + "template_cases.json").value();
  EXPECT_GE(prompts.size(), 20u);
  int equal = 0, refused = 0;
  for (const auto& file : prompts.items()) {
    std::string source = read_file(kData + "templates/" + file.key()).value();
    auto parsed = JinjaTemplate::parse(source, file.key());
    ASSERT_TRUE(parsed.is_ok()) << parsed.status().message();
    for (const auto& prompt : file.value().items()) {
      const Json& want = prompt.value();
      if (want.is_null()) continue;  // Python itself fails on this pair
      Result<std::string> got = (*parsed)->render(cases[prompt.key()], kNow);
      if (want.is_object()) {
        ASSERT_FALSE(got.is_ok()) << file.key() << ", " << prompt.key();
        EXPECT_NE(got.status().message().find(want["refused"].get<std::string>()), std::string::npos);
        ++refused;
      } else {
        ASSERT_TRUE(got.is_ok()) << prompt.key() << ": " << got.status().message();
        EXPECT_EQ(*got, want.get<std::string>()) << file.key() << ", " << prompt.key();
        ++equal;
      }
    }
  }
  EXPECT_GT(equal, 400);
  EXPECT_GT(refused, 10);
}

TEST(JinjaTemplates, PythonsText) {
  Json v = {{"l", {1, "a", nullptr, true, 2.0}},
            {"d", {{"k", "it's"}, {"items", {1}}}},
            {"f", 1e20},
            {"s", "H\xC3\xA9llo"}};
  EXPECT_EQ(render("{{ l }}|{{ d }}|{{ f }}|{{ 7 / 2 }}|{{ true }}|{{ none }}", v),
            "[1, 'a', None, True, 2.0]|{'k': \"it's\", 'items': [1]}|1e+20|3.5|True|None");
  EXPECT_EQ(render("{{ d | tojson }}{{ ['<&>\\''] | tojson }}{{ l | tojson(indent=1) }}", v),
            "{\"k\": \"it's\", \"items\": [1]}[\"<&>'\"][\n 1,\n \"a\",\n null,\n true,\n 2.0\n]");
  EXPECT_EQ(render("{% for k, x in d.items() %}{{ k }};{% endfor %}{{ s.find('l') }}{{ s[::-1] }}", v),
            "k;items;2oll\xC3\xA9H");
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y, %A %H:%M') }}"), "14 Nov 2023, Tuesday 22:13");
  EXPECT_EQ(render("{{ 'a b'.title() }}{{ ' x '.strip() }}{{ missing }}{{ missing is defined }}"),
            "A Bx"
            "False");
}

TEST(JinjaTemplates, GenerationBlocksOnlyMarkText) {
  EXPECT_EQ(render("a  {%- generation -%}  x  {%- endgeneration -%}  b"), "axb");
  EXPECT_EQ(render("{% generation %}\n  {% set q = 1 %}line\n{% endgeneration %}\nend{{ q }}"), "line\nend");
  EXPECT_EQ(render("{{ '{% generation %}' }}{# {% generation %} #}{% raw %}{% endgeneration %}{% endraw %}"),
            "{% generation %}{% endgeneration %}");
}

TEST(JinjaTemplates, BrokenAndHostileOnesGetASentence) {
  Result<std::shared_ptr<const JinjaTemplate>> broken =
      JinjaTemplate::parse("a\nb\n{% if x %}", "tokenizer_config.json");
  ASSERT_FALSE(broken.is_ok());
  EXPECT_EQ(broken.status().message().find("tokenizer_config.json: line 3: syntax error"), 0u)
      << broken.status().message();
  EXPECT_FALSE(JinjaTemplate::parse("{{ \xFF }}", "x").is_ok());

  std::string endless = render(
      "{% for a in range(90000) %}{% for b in range(90000) %}{% set x = a * b %}{% endfor %}{% endfor %}");
  EXPECT_NE(endless.find("loops endlessly"), std::string::npos) << endless;
  std::string recursive = render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
  EXPECT_NE(recursive.find("recursion"), std::string::npos) << recursive;
  std::string huge = render("{% for a in range(9000) %}{{ 'x' * 90000 }}{% endfor %}");
  EXPECT_NE(huge.find("64 MiB"), std::string::npos) << huge;
  EXPECT_EQ(render("{{ raise_exception('no system role') }}"),
            "chat_template: the template refuses this conversation: no system role");
  EXPECT_NE(render("\n{{ missing.field }}").find("line 2: undefined value"), std::string::npos);
}

TEST(ChatTemplates, JinjaAndPresetsBehindOneCall) {
  Conversation conversation = find_preset("chatml").value();
  conversation.jinja_template =
      "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
      "{% if add_generation_prompt %}<go>{% endif %}{{ tools }}{{ mood }}";
  conversation.template_variables["bos_token"] = "<s>";
  Json messages = {{{"role", "user"}, {"content", "Hi \xFF!"}}};
  ChatTemplate chat = ChatTemplate::create(conversation, "model").value();
  EXPECT_TRUE(chat.is_jinja());
  RenderOptions options;
  options.variables = {{"mood", "!"}};
  EXPECT_EQ(chat.render(messages, options).value(),
            (std::vector<PromptPiece>{{{}, "<s><user>Hi \xEF\xBF\xBD!<go>None!"}}));
  options.add_generation_prompt = false;
  EXPECT_EQ(chat.render(messages, options).value()[0].text.find("<go>"), std::string::npos);

  ChatTemplate preset = ChatTemplate::create(find_preset("llama-2").value(), "model").value();
  EXPECT_FALSE(preset.is_jinja());
  auto tokenizer = Tokenizer::from_json(read_file(kData + "tokenizers/llama.json").value(), "llama").value();
  std::vector<int32_t> ids = preset.encode(messages, *tokenizer).value();
  EXPECT_EQ(ids[0], 1);
  std::vector<int32_t> rest = tokenizer->encode(preset.render(messages).value()[1].text).value();
  EXPECT_EQ(std::vector<int32_t>(ids.begin() + 1, ids.end()), rest);

  conversation.jinja_template = "{% for %}";
  EXPECT_FALSE(ChatTemplate::create(conversation, "model").is_ok());
}

TEST(ChatTemplates, TheTemplateOfACheckpoint) {
  testing::TempFolder temp;
  const std::string& folder = temp.path();
  EXPECT_FALSE(find_jinja_template(folder).value());
  temp.write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]})");
  EXPECT_EQ(find_jinja_template(folder).value(), "d");
  temp.write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(find_jinja_template(folder).value(), "one");
  temp.write("chat_template.jinja", "file");
  EXPECT_EQ(find_jinja_template(folder).value(), "file");
}

}  // namespace
}  // namespace mlc
