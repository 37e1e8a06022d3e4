// Reads rules into trees, finds those without recursion, and writes all of them as Lark.
#include "chat/grammar/gbnf.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "chat/tokenizer/byte_level.h"

namespace mlc {
namespace {

constexpr int64_t kMostRepetitions = 2000;  // llama.cpp's own bound

enum class NodeKind : uint8_t { kText, kClass, kToken, kRule, kSequence, kChoice, kRepeat };

struct Node {
  NodeKind kind = NodeKind::kSequence;
  std::string text;            // kText: itself; kClass: in a regular expression; kToken: as Lark has it
  size_t rule = 0;             // kRule
  std::vector<Node> parts;     // kSequence, kChoice; kRepeat: one
  int64_t low = 0, high = -1;  // kRepeat; -1: any number
};

struct Rule {
  std::string name;
  size_t line = 0;  // where it is named first
  std::optional<Node> body;
};

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class Parser {
 public:
  Parser(std::string_view text, int64_t depth) : text_(text), depth_(depth) {}

  Result<std::vector<Rule>> parse() {
    for (skip_space(true); at_ < text_.size(); skip_space(true)) RETURN_IF_ERROR(parse_rule());
    if (!names_.contains("root"))
      return Status::error("found no rule 'root', expected one: the answer is of it");
    for (const Rule& rule : rules_)
      if (!rule.body)
        return Status::error(
            str("line ", rule.line, ": found the rule '", rule.name, "', which stands nowhere"));
    return std::move(rules_);
  }
  size_t root() const { return names_.at("root"); }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  size_t line() const { return 1 + static_cast<size_t>(std::ranges::count(text_.substr(0, at_), '\n')); }
  Status wrong(std::string_view expected) const {
    size_t end = at_;
    if (end < text_.size()) next_code_point(text_, end);
    const std::string found =
        at_ >= text_.size() ? "the end" : json_text(Json(std::string(text_.substr(at_, end - at_))));
    return Status::error(str("line ", line(), ": found ", found, ", expected ", expected));
  }

  void skip_space(bool lines) {
    for (; at_ < text_.size(); ++at_) {
      if (peek() == '#') at_ = std::min(text_.find('\n', at_), text_.size());
      const char c = peek();
      if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r'))) return;
    }
  }
  std::string_view name() {
    const size_t begin = at_;
    while (is_name(peek())) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  size_t rule_of(std::string_view name) {
    const auto [it, added] = names_.try_emplace(std::string(name), rules_.size());
    if (added) rules_.push_back({std::string(name), line(), std::nullopt});
    return it->second;
  }

  Status parse_rule() {
    const std::string_view called = name();
    if (called.empty()) return wrong("the name of a rule");
    const size_t index = rule_of(called);
    if (rules_[index].body)
      return Status::error(str("line ", line(), ": found the rule '", called, "' twice"));
    skip_space(false);
    if (!take("::=")) return wrong("::=");
    ASSIGN_OR_RETURN(Node body, parse_choice(0));
    rules_[index].body = std::move(body);
    if (at_ < text_.size() && peek() != '\n' && peek() != '\r')
      return wrong("the end of the line or more of the rule");
    return Status::ok();
  }

  // A rule goes on in the next line within parentheses, and around '|'.
  bool take_bar() {
    const size_t begin = at_;
    skip_space(true);
    if (take("|")) return true;
    at_ = begin;
    return false;
  }
  Result<Node> parse_choice(int64_t depth) {
    if (depth > depth_)
      return Status::error(str("line ", line(), ": found groups nested deeper than ", depth_));
    Node choice{.kind = NodeKind::kChoice};
    do {
      ASSIGN_OR_RETURN(Node sequence, parse_sequence(depth));
      choice.parts.push_back(std::move(sequence));
    } while (take_bar());
    return choice.parts.size() == 1 ? std::move(choice.parts[0]) : std::move(choice);
  }
  // Whether another rule begins here.
  bool at_rule() {
    const size_t begin = at_;
    const bool named = !name().empty();
    skip_space(false);
    const bool result = named && text_.substr(at_).starts_with("::=");
    at_ = begin;
    return result;
  }
  Result<Node> parse_sequence(int64_t depth) {
    Node sequence;
    const size_t begin = at_;
    skip_space(true);
    // Where the next rule comes, in a line below, this alternative is empty.
    const size_t newline = text_.substr(begin, at_ - begin).rfind('\n');
    if (depth == 0 && newline != text_.npos && at_rule()) {
      at_ = begin + newline;
      return sequence;
    }
    for (;;) {
      ASSIGN_OR_RETURN(std::optional<Node> element, parse_element(depth));
      if (!element) break;
      skip_space(depth > 0);
      while (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{') {
        ASSIGN_OR_RETURN(element, parse_repeat(std::move(*element)));
        skip_space(depth > 0);
      }
      sequence.parts.push_back(std::move(*element));
    }
    return sequence.parts.size() == 1 ? std::move(sequence.parts[0]) : std::move(sequence);
  }
  Result<std::optional<Node>> parse_element(int64_t depth) {
    std::optional<Node> node;
    if (take("\"")) {
      ASSIGN_OR_RETURN(node, parse_text());
    } else if (take("[")) {
      ASSIGN_OR_RETURN(node, parse_class());
    } else if (take(".")) {
      node = Node{.kind = NodeKind::kClass, .text = R"([\x{0}-\x{10FFFF}])"};
    } else if (take("(")) {
      ASSIGN_OR_RETURN(node, parse_choice(depth + 1));
      skip_space(true);
      if (!take(")")) return wrong("')' or more of the group");
    } else if (peek() == '<') {
      const size_t begin = at_, end = text_.find_first_of(">\n", at_);
      if (end == text_.npos || text_[end] != '>') return wrong("a token: <name> or <[id]>");
      at_ = end + 1;
      node = Node{.kind = NodeKind::kToken, .text = std::string(text_.substr(begin, at_ - begin))};
    } else if (peek() == '!') {
      return wrong("no '!': tokens other than one are not built");
    } else if (is_name(peek())) {
      node = Node{.kind = NodeKind::kRule, .rule = rule_of(name())};
    }
    return node;
  }

  Result<Node> parse_repeat(Node element) {
    Node repeat{.kind = NodeKind::kRepeat, .low = 0, .high = -1};
    if (take("+")) {
      repeat.low = 1;
    } else if (take("?")) {
      repeat.high = 1;
    } else if (take("{")) {
      ASSIGN_OR_RETURN(repeat.low, parse_count());
      repeat.high = repeat.low;
      skip_space(true);
      if (take(",")) {
        skip_space(true);
        repeat.high = -1;
        if (peek() != '}') {
          ASSIGN_OR_RETURN(repeat.high, parse_count());
          if (repeat.high < repeat.low) return wrong("no fewer than the least number of times");
        }
        skip_space(true);
      }
      if (!take("}")) return wrong("'}' behind a number of times");
    } else {
      take("*");
    }
    repeat.parts.push_back(std::move(element));
    return repeat;
  }
  Result<int64_t> parse_count() {
    int64_t count = 0;
    if (peek() < '0' || peek() > '9') return wrong("a number of times");
    for (; peek() >= '0' && peek() <= '9'; ++at_)
      if (count = count * 10 + (peek() - '0'); count > kMostRepetitions)
        return wrong(str("at most ", kMostRepetitions, " times"));
    return count;
  }

  // One character of a text or class, escapes read.
  Result<uint32_t> parse_char() {
    if (at_ >= text_.size()) return wrong("a character");
    if (!take("\\")) return next_code_point(text_, at_);
    const char kind = peek();
    constexpr std::string_view kSame = "\"\\[]-^";
    if (kind == 'n' || kind == 'r' || kind == 't' || kSame.find(kind) != kSame.npos) {
      if (at_ >= text_.size()) return wrong("an escaped character");
      ++at_;
      return kind == 'n' ? 10u : kind == 'r' ? 13u : kind == 't' ? 9u : static_cast<uint32_t>(kind);
    }
    const size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    if (digits == 0) return wrong(R"(an escape: \n \r \t \" \\ \[ \] \xHH \uHHHH or \UHHHHHHHH)");
    ++at_;
    uint32_t value = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      constexpr std::string_view kHex = "0123456789abcdef";
      const char c = peek();
      const size_t digit = kHex.find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
      if (digit == kHex.npos || at_ >= text_.size()) return wrong("a hexadecimal digit");
      value = value * 16 + static_cast<uint32_t>(digit);
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
      return wrong("the number of a character in front");
    return value;
  }
  Result<Node> parse_text() {
    Node node{.kind = NodeKind::kText};
    while (!take("\"")) {
      if (at_ >= text_.size() || peek() == '\n') return wrong("'\"' at the end of a text");
      ASSIGN_OR_RETURN(const uint32_t c, parse_char());
      append_utf8(c, node.text);
    }
    return node;
  }
  static std::string hex(uint32_t c) {
    std::string digits;
    for (int shift = 20; shift >= 0; shift -= 4) digits += "0123456789ABCDEF"[c >> shift & 15];
    return "\\x{" + digits + "}";
  }
  Result<Node> parse_class() {
    Node node{.kind = NodeKind::kClass, .text = take("^") ? "[^" : "["};
    bool any = false;
    for (; !take("]"); any = true) {
      if (at_ >= text_.size() || peek() == '\n') return wrong("']' at the end of a class");
      ASSIGN_OR_RETURN(const uint32_t first, parse_char());
      node.text += hex(first);
      if (peek() != '-' || text_.substr(at_).starts_with("-]")) continue;
      ++at_;
      ASSIGN_OR_RETURN(const uint32_t last, parse_char());
      if (last < first) return wrong("no range that ends before it begins");
      node.text += "-" + hex(last);
    }
    if (!any && node.text == "[") return wrong("a class with at least one character in front");
    node.text = any ? node.text + "]" : R"([\x{0}-\x{10FFFF}])";
    return node;
  }

  std::string_view text_;
  int64_t depth_;
  size_t at_ = 0;
  std::map<std::string, size_t, std::less<>> names_;
  std::vector<Rule> rules_;
};

// Brackets by number: whoever counts how deep groups nest counts none in texts.
std::string quoted(const std::string& text) {
  std::string result;
  for (char c : json_text(Json(text)))
    result += std::string_view("()[]{}").find(c) == std::string_view::npos
                  ? std::string(1, c)
                  : str("\\u00",
                        c < '0'   ? "2"
                        : c < 'a' ? "5"
                                  : "7",
                        c == '('               ? "8"
                        : c == ')'             ? "9"
                        : c == '[' || c == '{' ? "B"
                                               : "D");
  return result;
}

void find_uses(const Node& node, std::vector<size_t>& rules, bool& token) {
  if (node.kind == NodeKind::kRule) rules.push_back(node.rule);
  token |= node.kind == NodeKind::kToken;
  for (const Node& part : node.parts) find_uses(part, rules, token);
}

// What Lark calls terminals are written in capitals: T3 is rule 3, A5 the fifth that has no name; N3 and so
// on are the same without the empty text, which a lexer cannot find.
class Writer {
 public:
  explicit Writer(const std::vector<Rule>& rules)
      : rules_(rules), regular_(rules.size(), false), empty_(rules.size(), false) {
    find_regular();
  }

  std::string write(size_t root) {
    std::string rest;
    for (size_t i = 0; i < rules_.size(); ++i) {
      if (regular_[i])
        define("T", i, *rules_[i].body);
      else
        rest += str("r", i, ": ", rule_text(*rules_[i].body), "\n");
    }
    return str("start: ", name_of(root), "\n", rest, terminals_);
  }

 private:
  // A rule whose rules are all regular is so itself: what recursion goes through never becomes it.
  void find_regular() {
    std::vector<std::vector<size_t>> users(rules_.size());
    std::vector<size_t> waits(rules_.size(), 0), ready;
    for (size_t i = 0; i < rules_.size(); ++i) {
      std::vector<size_t> used;
      bool token = false;
      find_uses(*rules_[i].body, used, token);
      for (size_t rule : used) users[rule].push_back(i);
      waits[i] = used.size() + (token ? 1 : 0);
      if (waits[i] == 0) ready.push_back(i);
    }
    while (!ready.empty()) {
      const size_t rule = ready.back();
      ready.pop_back();
      regular_[rule] = true;
      empty_[rule] = may_be_empty(*rules_[rule].body);
      for (size_t user : users[rule])
        if (--waits[user] == 0) ready.push_back(user);
    }
  }
  bool is_regular(const Node& node) const {
    if (node.kind == NodeKind::kToken) return false;
    if (node.kind == NodeKind::kRule) return regular_[node.rule];
    return std::ranges::all_of(node.parts, [&](const Node& part) { return is_regular(part); });
  }
  // Of what is regular.
  bool may_be_empty(const Node& node) const {
    const auto empty = [&](const Node& part) { return may_be_empty(part); };
    switch (node.kind) {
      case NodeKind::kText: return node.text.empty();
      case NodeKind::kRule: return empty_[node.rule];
      case NodeKind::kSequence: return std::ranges::all_of(node.parts, empty);
      case NodeKind::kChoice: return std::ranges::any_of(node.parts, empty);
      case NodeKind::kRepeat: return node.low == 0 || node.high == 0 || empty(node.parts[0]);
      default: return false;
    }
  }

  void define(const char* letter, size_t index, const Node& node) {
    terminals_ += str(letter, index, ": ", regular_text(node), "\n");
    if (may_be_empty(node)) terminals_ += str("N", letter, index, ": ", letter, index, " & /(?s:.)+/\n");
  }
  static std::string used(const char* letter, size_t index, bool empty) {
    return empty ? str("N", letter, index, "?") : str(letter, index);
  }
  std::string name_of(size_t rule) const {
    return regular_[rule] ? used("T", rule, empty_[rule]) : str("r", rule);
  }

  template <typename Text>
  static std::string joined(const Node& node, const char* between, const Text& text) {
    std::vector<std::string> parts;
    bool empty = false;
    for (const Node& part : node.parts) {
      std::string one = text(part);
      empty |= one == "\"\"";
      if (one != "\"\"" || node.kind != NodeKind::kSequence) parts.push_back(std::move(one));
    }
    if (node.kind == NodeKind::kChoice) std::erase(parts, "\"\"");
    if (parts.empty()) return "\"\"";
    return str("(", join(parts, between), empty && node.kind == NodeKind::kChoice ? ")?" : ")");
  }
  static std::string times(const Node& node) {
    if (node.high == node.low) return str("{", node.low, "}");
    if (node.high < 0) return node.low == 0 ? "*" : node.low == 1 ? "+" : str("{", node.low, ",}");
    return str("{", node.low, ",", node.high, "}");
  }

  std::string regular_text(const Node& node) const {
    const auto text = [&](const Node& part) { return regular_text(part); };
    switch (node.kind) {
      case NodeKind::kText: return quoted(node.text);
      case NodeKind::kClass: return "/" + node.text + "/";
      case NodeKind::kRule: return str("T", node.rule);
      case NodeKind::kChoice: return joined(node, " | ", text);
      case NodeKind::kRepeat:
        return node.high == 0 ? "\"\"" : str("(", text(node.parts[0]), ")", times(node));
      default: return joined(node, " ", text);
    }
  }
  // In a rule: what is regular and more than a text, a class or a rule becomes a terminal.
  std::string rule_text(const Node& node) {
    const auto text = [&](const Node& part) { return rule_text(part); };
    const bool simple = node.kind == NodeKind::kText || node.kind == NodeKind::kClass;
    if (node.kind == NodeKind::kRule) return name_of(node.rule);
    if (node.kind == NodeKind::kToken) return node.text;
    if (simple) return regular_text(node);
    if (node.kind == NodeKind::kSequence && node.parts.empty()) return "\"\"";
    if (is_regular(node) && node.kind != NodeKind::kSequence) {
      define("A", next_, node);
      return used("A", next_++, may_be_empty(node));
    }
    if (node.kind == NodeKind::kRepeat)
      return node.high == 0 ? "\"\"" : str("(", text(node.parts[0]), ")", times(node));
    return joined(node, node.kind == NodeKind::kChoice ? " | " : " ", text);
  }

  const std::vector<Rule>& rules_;
  std::vector<bool> regular_, empty_;
  std::string terminals_;
  size_t next_ = 0;
};

}  // namespace

bool is_gbnf(std::string_view text) {
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    if (!text.starts_with('#')) break;
    text.remove_prefix(std::min(text.find('\n'), text.size()));
  }
  size_t at = 0;
  while (at < text.size() && is_name(text[at])) ++at;
  if (at == 0) return false;
  text.remove_prefix(at);
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return text.starts_with("::=");
}

Result<std::string> gbnf_to_lark(std::string_view text, int64_t depth) {
  if (!is_valid_utf8(text)) return Status::error("it is not UTF-8");
  Parser parser(text, depth);
  ASSIGN_OR_RETURN(const std::vector<Rule> rules, parser.parse());
  return Writer(rules).write(parser.root());
}

}  // namespace mlc
