// Reads the text form of the graph IR.
#include "graph/parse.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <unordered_map>

#include "base/strings.h"
#include "base/user_error.h"

namespace mlc::graph {
namespace {

constexpr size_t kMaxText = 64u << 20;
constexpr size_t kMaxRank = 8;
constexpr int kMaxDepth = 100;  // of parentheses in a region
constexpr size_t kMaxTerms = 1000;

class Parser {
 public:
  Parser(std::string_view text, std::string what) : text_(text), what_(std::move(what)) {}

  Module parse() {
    if (text_.size() > kMaxText)
      fail(str("the text has ", text_.size(), " bytes, expected at most ", kMaxText));
    expect("module");
    expect("@");
    module_.name = name();
    expect("{");
    while (!accept("}")) parse_item();
    skip_space();
    if (!text_.empty()) fail("text after the end of the module");
    return std::move(module_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) {
    throw UserError(str(what_, ":", line_, ": ", message));
  }

  void skip_space() {
    while (!text_.empty()) {
      if (text_.front() == '#')
        text_.remove_prefix(std::min(text_.find('\n'), text_.size()));
      else if (text_.front() == ' ' || text_.front() == '\t' || text_.front() == '\r' ||
               text_.front() == '\n')
        advance(1);
      else
        break;
    }
  }
  void advance(size_t n) {
    line_ +=
        static_cast<int>(std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(n), '\n'));
    text_.remove_prefix(n);
  }
  static bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

  // Takes `token`; a word must end where the token does.
  bool accept(std::string_view token) {
    skip_space();
    if (text_.substr(0, token.size()) != token) return false;
    if (is_word(token.back()) && text_.size() > token.size() && is_word(text_[token.size()])) return false;
    advance(token.size());
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) fail(str("expected '", token, "', found ", found()));
  }
  std::string found() {
    skip_space();
    if (text_.empty()) return "the end of the text";
    return str("'", text_.substr(0, std::min<size_t>({text_.size(), text_.find('\n'), 20})), "'");
  }
  std::string name() {
    skip_space();
    size_t n = 0;
    while (n < text_.size() && (is_word(text_[n]) || text_[n] == '.' || text_[n] == '-' || text_[n] == '/'))
      ++n;
    if (n == 0) fail(str("expected a name, found ", found()));
    std::string out(text_.substr(0, n));
    advance(n);
    return out;
  }
  int64_t integer() {
    skip_space();
    int64_t value = 0;
    auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    if (error != std::errc()) fail(str("expected an integer, found ", found()));
    advance(static_cast<size_t>(end - text_.data()));
    return value;
  }
  // Items `one()` separated by commas up to `close`.
  template <typename F>
  void list(std::string_view close, F one) {
    if (accept(close)) return;
    do one();
    while (accept(","));
    expect(close);
  }

  void parse_item() {
    if (accept("param")) return parse_parameter();
    if (accept("state")) return parse_state();
    if (accept("func")) return parse_function();
    fail(str("expected param, state, func or '}', found ", found()));
  }

  void parse_parameter() {
    expect("@");
    auto value = std::make_unique<Value>(Value{Value::Kind::kParameter, name(), {}, nullptr});
    expect(":");
    value->type = parse_type();
    if (!parameters_.emplace(value->name, value.get()).second)
      fail(str("parameter @", value->name, " is defined twice"));
    module_.parameters.push_back(std::move(value));
  }

  void parse_state() {
    expect("$");
    const std::string state = name();
    if (module_.find_state(state) || module_.find_slot_state(state))
      fail(str("state $", state, " is defined twice"));
    expect(":");
    if (accept("slots")) return parse_slots(state);
    expect("paged");
    expect("{");
    PagedState paged{.name = state};
    list("}", [&] { parse_paged_field(paged); });
    module_.states.push_back(paged);
  }

  void parse_paged_field(PagedState& paged) {
    const std::map<std::string, int64_t*> integers = {
        {"layers", &paged.layers},       {"kv_heads", &paged.kv_heads},   {"key_dim", &paged.key_dim},
        {"value_dim", &paged.value_dim}, {"page_size", &paged.page_size}, {"window", &paged.window}};
    const std::string key = name();
    expect("=");
    if (auto field = integers.find(key); field != integers.end())
      *field->second = integer();
    else if (key == "dtype")
      paged.dtype = parse_element_type();
    else if (key == "latent" && accept("true"))
      paged.latent = true;
    else
      fail(str("unknown field '", key, "' of a paged state",
               did_you_mean(key, {"layers", "kv_heads", "key_dim", "value_dim", "page_size", "dtype",
                                  "window", "latent"})));
  }

  void parse_slots(const std::string& state) {
    SlotState slots{.name = state};
    expect("{");
    list("}", [&] {
      const std::string key = name();
      expect("=");
      if (key == "layers")
        slots.layers = integer();
      else
        slots.parts.push_back({key, integer()});
    });
    module_.slot_states.push_back(slots);
  }

  DType parse_element_type() {
    std::string word = name();
    auto dtype = parse_dtype(word);
    if (!dtype) fail(str("unknown element type '", word, "'"));
    return *dtype;
  }

  TensorType parse_type() {
    std::string word = name();
    TensorType type;
    if (auto q8 = TensorType::find_q8(word, {})) {
      type = *q8;
    } else if (auto format = WeightFormat::parse(word)) {
      type.kind = format->is_quantized() ? TensorType::Kind::kGroup : TensorType::Kind::kPlain;
      type.format = *format;
    } else {
      fail(str("unknown tensor type '", word, "'"));
    }
    if (accept("@")) type.layout = name();
    expect("[");
    list("]", [&] { type.shape.push_back(parse_dim()); });
    if (type.shape.size() > kMaxRank)
      fail(str("a tensor of ", type.shape.size(), " axes, expected at most ", kMaxRank));
    return type;
  }

  Dim parse_dim() {
    skip_space();
    size_t n = 0;
    int depth = 0;
    while (n < text_.size() && text_[n] != '\n' && (depth > 0 || (text_[n] != ',' && text_[n] != ']'))) {
      depth += (text_[n] == '(') - (text_[n] == ')');
      ++n;
    }
    auto dim = Dim::parse(trim(text_.substr(0, n)));
    if (!dim) fail(str("'", text_.substr(0, std::min<size_t>(n, 40)), "' is no dimension"));
    advance(n);
    return *dim;
  }

  void parse_function() {
    expect("@");
    function_ = std::make_unique<Function>();
    locals_.clear();
    function_->name = name();
    if (accept("=")) {
      expect("@");
      function_->same_as = name();
      module_.functions.push_back(std::move(function_));
      return;
    }
    expect("(");
    list(")", [&] {
      std::string argument = local_name();
      define(argument, function_->add_argument(argument, parse_type()));
    });
    while (!accept("{")) {
      if (!function_->guards.empty()) expect(",");
      parse_guard();
    }
    while (!accept("return")) parse_node();
    if (!accept("}")) list("}", [&] { function_->results.push_back(operand()); });
    module_.functions.push_back(std::move(function_));
  }

  void parse_guard() {
    Guard guard{.symbol = name()};
    skip_space();
    if (!text_.starts_with("..")) guard.min = integer();
    expect("..");
    skip_space();
    if (!text_.empty() && std::isdigit(static_cast<unsigned char>(text_.front()))) guard.max = integer();
    function_->guards.push_back(std::move(guard));
  }

  std::string local_name() {
    expect("%");
    std::string out = name();
    expect(":");
    return out;
  }
  void define(const std::string& name, Value* value) {
    if (!locals_.emplace(name, value).second) fail(str("value %", name, " is defined twice"));
  }

  Value* operand() {
    bool parameter = accept("@");
    if (!parameter && !accept("%")) fail(str("expected a value, found ", found()));
    std::string word = name();
    auto& names = parameter ? parameters_ : locals_;
    auto it = names.find(word);
    if (it == names.end()) {
      std::vector<std::string> known;
      for (const auto& [n, v] : names) known.push_back(n);
      std::sort(known.begin(), known.end());
      fail(str(parameter ? "parameter @" : "value %", word, " is not defined", did_you_mean(word, known)));
    }
    return it->second;
  }

  void parse_node() {
    auto node = std::make_unique<Node>();
    std::vector<std::string> names;
    skip_space();
    while (!text_.empty() && text_.front() == '%') {
      names.push_back(local_name());
      auto value =
          std::make_unique<Value>(Value{Value::Kind::kResult, names.back(), parse_type(), node.get()});
      node->outputs.push_back(value.get());
      function_->values.push_back(std::move(value));
      if (!accept(",")) expect("=");
      skip_space();
    }
    node->op = name();
    expect("(");
    list(")", [&] {
      if (node->inputs.empty() && node->state.empty() && accept("$"))
        node->state = name();
      else
        node->inputs.push_back(operand());
    });
    if (accept("{")) list("}", [&] { parse_attribute(*node); });
    if (accept("region")) node->region = parse_region();
    for (size_t i = 0; i < names.size(); ++i) define(names[i], node->outputs[i]);
    function_->nodes.push_back(std::move(node));
  }

  Region parse_region() {
    RegionBuilder region;
    expect("(");
    RegionBuilder::Ref last = parse_sum(region, 0);
    expect(")");
    return region.result(last);
  }
  RegionBuilder::Ref parse_sum(RegionBuilder& r, int depth) {
    RegionBuilder::Ref sum = parse_product(r, depth);
    while (true) {
      if (accept("+"))
        sum = sum + parse_product(r, depth);
      else if (accept("-"))
        sum = sum - parse_product(r, depth);
      else
        return sum;
    }
  }
  RegionBuilder::Ref parse_product(RegionBuilder& r, int depth) {
    RegionBuilder::Ref product = parse_factor(r, depth);
    while (true) {
      if (accept("*"))
        product = product * parse_factor(r, depth);
      else if (accept("/"))
        product = product / parse_factor(r, depth);
      else
        return product;
    }
  }
  RegionBuilder::Ref parse_factor(RegionBuilder& r, int depth) {
    if (depth > kMaxDepth || r.size() > kMaxTerms)
      fail(str("a region of more than ", kMaxTerms, " terms, or ", kMaxDepth, " inside each other"));
    if (accept("x") || accept("gate")) return r.x();
    if (accept("up")) return r.up();
    if (accept("bias")) return r.bias();
    skip_space();
    const char first = text_.empty() ? '\0' : text_.front();
    if (first == '@' || first == '%') {
      Value* value = operand();
      if (!accept("[")) return r.operand(value);
      const int64_t half = integer();
      if (half != 0 && half != 1) fail(str("half ", half, " of an operand, expected 0 or 1"));
      expect("]");
      return r.operand(value, static_cast<int>(half));
    }
    if (first == '-' || std::isdigit(static_cast<unsigned char>(first))) return r.constant(real());
    if (accept("(")) {
      RegionBuilder::Ref inner = parse_sum(r, depth + 1);
      expect(")");
      return inner;
    }
    std::string function = name();
    expect("(");
    RegionBuilder::Ref inner = parse_sum(r, depth + 1);
    if (function == "clamp") {
      expect(",");
      const double low = real();
      expect(",");
      inner = r.clamp(inner, low, real());
    } else {
      inner = r.call(function, inner);
    }
    expect(")");
    return inner;
  }
  double real() {
    Attribute value = parse_value();
    if (auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
    if (auto* number = std::get_if<double>(&value)) return *number;
    fail("expected a number");
  }

  void parse_attribute(Node& node) {
    std::string key = name();
    expect("=");
    if (!node.attributes.emplace(key, parse_value()).second)
      fail(str("attribute '", key, "' is given twice"));
  }

  Attribute parse_value() {
    if (accept("true")) return true;
    if (accept("false")) return false;
    if (accept("\"")) return quoted();
    std::string word = number_word();
    const char *begin = word.data(), *end = begin + word.size();
    if (word.find_first_of(".einf") == std::string::npos) {
      int64_t value = 0;
      auto [stop, error] = std::from_chars(begin, end, value);
      if (error == std::errc() && stop == end) return value;
    } else {
      double value = 0;
      auto [stop, error] = std::from_chars(begin, end, value);
      if (error == std::errc() && stop == end) return value;
    }
    fail(str("'", word,
             "' is no attribute value; expected true, false, an integer, a real number or \"text\""));
  }
  std::string number_word() {
    skip_space();
    size_t n = 0;
    while (n < text_.size() && n < 400 &&
           (is_word(text_[n]) || text_[n] == '.' || text_[n] == '-' || text_[n] == '+'))
      ++n;
    std::string word(text_.substr(0, n));
    advance(n);
    return word;
  }
  std::string quoted() {
    std::string out;
    while (true) {
      if (text_.empty() || text_.front() == '\n') fail("a text value does not end");
      char c = text_.front();
      advance(1);
      if (c == '"') return out;
      if (c == '\\') {
        if (text_.empty()) fail("a text value does not end");
        c = text_.front() == 'n' ? '\n' : text_.front();
        advance(1);
      }
      out += c;
    }
  }

  std::string_view text_;
  std::string what_;
  int line_ = 1;
  Module module_;
  std::unique_ptr<Function> function_;
  std::unordered_map<std::string, Value*> parameters_, locals_;
};

}  // namespace

Module parse_module(std::string_view text, const std::string& what) { return Parser(text, what).parse(); }

}  // namespace mlc::graph
