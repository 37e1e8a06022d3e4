// Reads PTX text.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <map>
#include <regex>
#include <span>

#include "base/strings.h"
#include "simulate/ptx/select.h"

namespace mlc::ptx {
namespace {

const std::map<std::string, uint32_t> kSpecial = {{"%tid.x", kThread},
                                                  {"%ntid.x", kThreads},
                                                  {"%ctaid.x", kGroup},
                                                  {"%nctaid.x", kGroups},
                                                  {"%laneid", kLane}};

// Splits at commas outside of braces and brackets; the parts are trimmed.
std::vector<std::string> split_operands(std::string_view text) {
  std::vector<std::string> out;
  int depth = 0;
  std::string now;
  for (char c : text) {
    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    if (c == ',' && depth == 0) {
      out.emplace_back(trim(now));
      now.clear();
    } else {
      now += c;
    }
  }
  if (!trim(now).empty()) out.emplace_back(trim(now));
  return out;
}

class Parser {
 public:
  explicit Parser(const std::string& text) : lines_(split(text, '\n')) {}

  Module run() {
    for (; at_ < lines_.size(); ++at_) {
      const std::string line(trim(lines_[at_].substr(0, lines_[at_].find("//"))));
      if (!line.empty()) statement(line);
    }
    if (entry_) fail("the text ends inside of an entry");
    if (module_.version == 0 || module_.architecture == 0) fail("a module without .version and .target");
    return std::move(module_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Fault(str("line ", at_ + 1, ": ", what)); }

  int number(const std::string& text) const {
    int value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) fail(str("'", text, "' is no number"));
    return value;
  }

  void statement(const std::string& line) {
    static const std::regex version(R"(\.version\s+(\d+)\.(\d+))"), target(R"(\.target\s+sm_(\d+)a?)"),
        shared(R"(\.shared\s+\.align\s+\d+\s+\.b8\s+([\w$]+)\[(\d+)\];)"),
        entry(R"(\.visible\s+\.entry\s+([\w$]+)\()"), parameter(R"(\.param\s+\.u(32|64)\s+([\w$]+),?)"),
        threads(R"(\.reqntid\s+(\d+), 1, 1)"), label(R"((\$?[\w$]+):)");
    std::smatch m;
    if (std::regex_match(line, m, version)) {
      module_.version = 10 * number(m[1]) + number(m[2]);
    } else if (std::regex_match(line, m, target)) {
      module_.architecture = number(m[1]);
    } else if (line == ".address_size 64" || line == ")" || line == "{") {
    } else if (std::regex_match(line, m, shared)) {
      shared_[m[1]] = number(m[2]);
      if (entry_) entry_->shared_bytes = std::max<int64_t>(entry_->shared_bytes, number(m[2]));
    } else if (std::regex_match(line, m, entry)) {
      begin_entry(m[1]);
    } else if (!entry_) {
      fail("'" + line + "' outside of an entry");
    } else if (std::regex_match(line, m, parameter)) {
      add_parameter(m[2], number(m[1]) / 8);
    } else if (std::regex_match(line, m, threads)) {
      entry_->threads = number(m[1]);
    } else if (line.starts_with(".reg ")) {
    } else if (std::regex_match(line, m, label)) {
      labels_[m[1]] = static_cast<uint32_t>(entry_->instructions.size());
    } else if (line == "}") {
      end_entry();
    } else {
      instruction(line);
    }
  }

  void begin_entry(const std::string& name) {
    if (entry_) fail("an entry inside of another");
    if (module_.entries.count(name)) fail("a second entry " + name);
    entry_ = &module_.entries[name];
    entry_->name = name;
    slots_ = kSpecial;
    constants_.clear(), labels_.clear(), jumps_.clear(), parameters_.clear();
  }

  void add_parameter(const std::string& name, int64_t bytes) {
    const int64_t offset = (entry_->parameter_bytes + bytes - 1) / bytes * bytes;
    parameters_[name] = offset;
    entry_->parameters.push_back({offset, bytes, /*is_address=*/bytes == 8});
    entry_->parameter_bytes = offset + bytes;
  }

  void end_entry() {
    for (const auto& [index, name] : jumps_) {
      auto it = labels_.find(name);
      if (it == labels_.end()) fail(str("entry ", entry_->name, " has no label ", name));
      entry_->instructions[index].target = it->second;
    }
    if (entry_->threads == 0) fail(str("entry ", entry_->name, " has no .reqntid"));
    const auto& code = entry_->instructions;
    if (code.empty() || (code.back().control != Control::kReturn && code.back().control != Control::kBranch))
      fail(str("entry ", entry_->name, " has no end"));
    entry_ = nullptr;
  }

  uint32_t constant(uint64_t bits) {
    auto [it, added] = constants_.emplace(bits, entry_->slots);
    if (added) entry_->constants.push_back({entry_->slots++, bits});
    return it->second;
  }

  // A register, number, or address of a shared array as a slot.
  uint32_t slot(const std::string& text) {
    if (text.empty()) fail("an operand is missing");
    if (text[0] == '%') {
      auto [it, added] = slots_.emplace(text, entry_->slots);
      entry_->slots += added;
      return it->second;
    }
    if (text.starts_with("0f")) return constant(std::strtoull(text.c_str() + 2, nullptr, 16));
    if (auto it = shared_.find(text); it != shared_.end()) {
      entry_->shared_bytes = std::max(entry_->shared_bytes, it->second);
      return constant(0);
    }
    char* end = nullptr;
    const long long value = std::strtoll(text.c_str(), &end, 0);
    if (*end) fail("operand '" + text + "' is unknown");
    return constant(static_cast<uint64_t>(value));
  }

  // "[%rd1+16]", "[k_param_0]", "[k_shared+4]".
  uint32_t address(const std::string& text, bool parameter, Instruction& i) {
    static const std::regex form(R"(\[([%\w$]+)(?:\+(-?\d+))?\])");
    std::smatch m;
    if (!std::regex_match(text, m, form)) fail("address '" + text + "' is unknown");
    i.offset = m[2].matched ? number(m[2]) : 0;
    if (!parameter) return slot(m[1]);
    auto it = parameters_.find(m[1]);
    if (it == parameters_.end()) fail(str("no parameter ", m[1].str()));
    i.offset += it->second;
    return constant(0);
  }

  // A register, or several in braces, into `slots`; their number.
  uint8_t values(const std::string& text, std::span<uint32_t> slots) {
    std::vector<std::string> parts = {text};
    if (text[0] == '{') parts = split_operands(std::string_view(text).substr(1, text.size() - 2));
    if (parts.size() > slots.size()) fail("too many values in '" + text + "'");
    for (size_t n = 0; n < parts.size(); ++n) slots[n] = slot(parts[n]);
    return static_cast<uint8_t>(parts.size());
  }

  // Those of matrices stand on several lines.
  void instruction(std::string line) {
    while (!line.ends_with(';') && at_ + 1 < lines_.size()) line.append(" ").append(trim(lines_[++at_]));
    static const std::regex form(R"((?:@(!?)(%p\d+)\s+)?([\w.]+)\s*(.*);)");
    std::smatch m;
    if (!std::regex_match(line, m, form)) fail("'" + line + "' is unknown");
    Instruction i;
    i.line = static_cast<int>(at_) + 1;
    if (m[2].matched) i.guard = static_cast<int>(slot(m[2])), i.guard_inverted = m[1].length() > 0;
    std::vector<std::string> parts = split(m[3].str(), '.');
    const std::vector<std::string> operands = split_operands(m[4].str());
    if (!control(parts, operands, i)) ordinary(parts, operands, i, line);
    entry_->instructions.push_back(i);
  }

  bool control(const std::vector<std::string>& parts, const std::vector<std::string>& operands,
               Instruction& i) {
    if (parts[0] == "bra") {
      i.control = Control::kBranch;
      jumps_.push_back({entry_->instructions.size(), operands.at(0)});
    } else if (parts[0] == "bar" && operands == std::vector<std::string>{"0"}) {
      i.control = Control::kBarrier;
      i.together = true;
    } else if (parts[0] == "ret") {
      i.control = Control::kReturn;
    } else {
      return false;
    }
    return true;
  }

  void ordinary(std::vector<std::string> parts, const std::vector<std::string>& operands, Instruction& i,
                const std::string& line) {
    const bool of_matrices = parts[0] == "ldmatrix", loads = parts[0] == "ld" || of_matrices,
               stores = parts[0] == "st";
    i.together = parts[0] == "shfl" || parts[0] == "mma" || of_matrices;
    if (operands.size() < 2 || operands.size() > 5) fail("'" + line + "' is unknown");
    if (loads || stores) {
      std::erase_if(parts, [&](const std::string& p) {
        return p == "nc" || (p.size() == 2 && p[0] == (of_matrices ? 'x' : 'v'));
      });
      i.lanes = loads ? values(operands[0], i.to) : values(operands[1], std::span(i.from).first(4));
      (loads ? i.from : i.to)[0] = address(operands[loads ? 1 : 0], parts.at(1) == "param", i);
    } else {
      const uint8_t out = values(operands[0], i.to);
      size_t in = 0;
      for (size_t n = 1; n < operands.size(); ++n) in += values(operands[n], std::span(i.from).subspan(in));
      if (parts[0] == "mov" && (out == 2 || in == 2)) parts[0] = out == 2 ? "mov.unpack" : "mov.pack";
    }
    i.run = select(parts);
    if (!i.run) fail(str("instruction '", line, "' is unknown"));
  }

  std::vector<std::string> lines_;
  size_t at_ = 0;
  Module module_;
  Entry* entry_ = nullptr;
  std::map<std::string, int64_t> shared_;
  std::map<std::string, uint32_t> slots_, labels_;
  std::map<uint64_t, uint32_t> constants_;
  std::map<std::string, int64_t> parameters_;
  std::vector<std::pair<size_t, std::string>> jumps_;
};

}  // namespace

Module parse(const std::string& text) { return Parser(text).run(); }

}  // namespace mlc::ptx
