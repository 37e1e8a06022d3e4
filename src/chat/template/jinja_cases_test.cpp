// Thousands of small templates against what jinja2 made of them (tests/data/chat/make_jinja_cases.py).
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "chat/template/chat_template.h"

namespace mlc {
namespace {

constexpr int64_t kNow = 1700000000;  // 2023-11-14 22:13:20 UTC, as in make_jinja_cases.py

Result<std::string> render(const std::string& source, const Json& variables) {
  ASSIGN_OR_RETURN(std::shared_ptr<const JinjaTemplate> jinja, JinjaTemplate::parse(source, "case"));
  return jinja->render(variables, kNow);
}

TEST(JinjaCases, RenderAsJinja2Does) {
  setenv("TZ", "UTC", 1);
  Json data = read_json_file(std::string(MLC_SOURCE_DIR) + "/tests/data/chat/jinja_cases.json").value();
  int rendered = 0, refused = 0;
  for (const Json& entry : data["cases"]) {
    const std::string source = entry[0].get<std::string>();
    Result<std::string> got = render(source, data["context"]);
    if (entry[1].is_null()) {
      EXPECT_FALSE(got.is_ok()) << source << " gives " << (got.is_ok() ? *got : "");
      ++refused;
    } else {
      EXPECT_TRUE(got.is_ok()) << source << ": " << got.status().message();
      EXPECT_EQ(got.is_ok() ? *got : "", entry[1].get<std::string>()) << source;
      ++rendered;
    }
  }
  EXPECT_GT(rendered, 5000);
  EXPECT_GT(refused, 1500);
}

TEST(JinjaCases, ErrorsAreOneSentenceWithTheLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a\n{{ missing.x }}", "case: line 2: undefined value: 'missing' is undefined"},
      {"\n\n{{ 1 + 'a' }}", "case: line 3: type error: 'int' and 'str' cannot be combined with '+'"},
      {"{{ 'a\n' | nofilter }}", "case: line 2: syntax error: there is no filter 'nofilter'"},
      {"{{ raise_exception('two\nlines') }}", "case: the template refuses this conversation: two lines"},
  };
  for (const auto& [source, message] : cases) {
    Result<std::string> got = render(source, Json::object());
    ASSERT_FALSE(got.is_ok()) << source;
    EXPECT_EQ(got.status().message(), message);
  }
}

// Each ends quickly with an error, whatever it would take in memory, steps or stack.
TEST(JinjaCases, HostileTemplatesAreBounded) {
  std::string parentheses(5000, '(');
  std::string chain = "{{ 1";
  for (int i = 0; i < 5000; ++i) chain += " + 1";
  for (const std::string& source : {
           std::string("{{ 'x' * 10 ** 12 }}"),
           std::string("{{ [0] * 10 ** 12 }}"),
           std::string("{{ 9 ** (9 ** 9) }}"),
           std::string("{{ '%999999999d' % 1 }}"),
           std::string("{{ '{:999999999}'.format(1) }}"),
           std::string("{{ 'x'.center(10 ** 11) }}"),
           std::string("{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% "
                       "endfor %}"),
           std::string("{% set ns = namespace(x='ab') %}{% for i in range(90000) %}{% set ns.x = ns.x + ns.x "
                       "%}{% endfor %}"),
           std::string("{% for n in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
           std::string("{% macro m() %}{% for i in [1] %}{{ m()|upper }}{% endfor %}{% endmacro %}{{ m() }}"),
           std::string(
               "{% set ns = namespace(x=[1]) %}{% for i in range(90000) %}{% set ns.x = ns.x|map('abs') %}"
               "{% endfor %}"),
           "{{ " + parentheses,
           "{{ " + parentheses + "1" + std::string(5000, ')') + " }}",
           "{{ " + std::string(5000, '-') + "1 }}",
           chain + " }}",
       })
    EXPECT_FALSE(render(source, Json::object()).is_ok()) << source.substr(0, 100);
  // What holds itself is taken apart all the same.
  EXPECT_TRUE(
      render("{% set ns = namespace() %}{% set ns.x = [ns] %}{% macro m() %}{% endmacro %}{% set ns.m = m %}",
             Json::object())
          .is_ok());
}

}  // namespace
}  // namespace mlc
