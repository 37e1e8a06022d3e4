// A backtracking matcher with a budget: patterns come from foreign files.
#include "formats/module_pattern.h"

#include <cctype>
#include <functional>

#include "base/strings.h"
#include "formats/checked.h"

namespace mlc {
namespace {

constexpr int kMostSteps = 100'000;
constexpr int kMostDepth = 200;  // of groups and repetitions under way

class Matcher {
 public:
  explicit Matcher(std::string_view pattern) : p_(pattern) {}

  bool known() {
    size_t at = 0;
    const bool whole = check_choice(at, 0) && at == p_.size();
    return whole;
  }
  bool exhausted() const { return steps_ > kMostSteps; }

  bool match(std::string_view text) {
    text_ = text;
    return choice(0, p_.size(), 0, 0, [&](size_t at, int) { return at == text_.size(); });
  }

 private:
  using Next = std::function<bool(size_t at, int depth)>;

  // Whether an expression that ends at ')' or the end is of known form.
  bool check_choice(size_t& at, int depth) {
    if (depth > 20) return false;
    bool repeatable = false;
    while (at < p_.size() && p_[at] != ')') {
      const char c = p_[at];
      if (c == '|') {
        ++at, repeatable = false;
        continue;
      }
      if (c == '*' || c == '+' || c == '?') {
        if (!repeatable) return false;
        ++at, repeatable = false;
        continue;
      }
      if (c == '^' || c == '$' || c == '{' || c == '}' || c == ']') return false;
      if (c == '(') {
        ++at;
        if (p_.substr(at).starts_with("?:")) at += 2;
        if (!check_choice(at, depth + 1) || at >= p_.size()) return false;
        ++at;
      } else if (const size_t end = atom_end(at); end == 0) {
        return false;
      } else {
        at = end;
      }
      repeatable = true;
    }
    return true;
  }

  // Behind the atom (no group) at `at`; 0: none that is known.
  size_t atom_end(size_t at) const {
    if (p_[at] == '\\') {
      if (at + 1 >= p_.size()) return 0;
      const char c = p_[at + 1];
      return std::isalnum(static_cast<unsigned char>(c)) && c != 'd' && c != 'w' ? 0 : at + 2;
    }
    if (p_[at] != '[') return at + 1;
    size_t end = at + 1;
    if (end < p_.size() && p_[end] == '^') ++end;
    const size_t first = end;
    for (; end < p_.size() && p_[end] != ']'; ++end)
      if (p_[end] == '\\' || p_[end] == '[') return 0;
    return end < p_.size() && end > first ? end + 1 : 0;
  }

  static bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

  bool atom_matches(size_t at, char c) const {
    if (p_[at] == '.') return true;
    if (p_[at] == '\\') {
      if (p_[at + 1] == 'd') return std::isdigit(static_cast<unsigned char>(c)) != 0;
      return p_[at + 1] == 'w' ? is_word(c) : p_[at + 1] == c;
    }
    if (p_[at] != '[') return p_[at] == c;
    size_t i = at + 1;
    const bool negated = p_[i] == '^';
    bool in = false;
    for (i += negated; p_[i] != ']'; ++i) {
      if (p_[i + 1] == '-' && p_[i + 2] != ']') {
        in |= p_[i] <= c && c <= p_[i + 2];
        i += 2;
      } else {
        in |= p_[i] == c;
      }
    }
    return in != negated;
  }

  // Behind the group at '('.
  size_t group_end(size_t at) const {
    int depth = 0;
    for (;; at = p_[at] == '\\' || p_[at] == '[' ? atom_end(at) : at + 1) {
      depth += p_[at] == '(';
      if (p_[at] == ')' && --depth == 0) return at + 1;
    }
  }

  // One of the alternatives of [begin, end).
  bool choice(size_t begin, size_t end, size_t at, int depth, const Next& next) {
    size_t from = begin;
    for (size_t i = begin;;) {
      if (i >= end || p_[i] == '|') {
        if (sequence(from, i, at, depth, next)) return true;
        if (i >= end) return false;
        from = ++i;
      } else {
        i = p_[i] == '(' ? group_end(i) : atom_end(i);
      }
    }
  }

  bool sequence(size_t begin, size_t end, size_t at, int depth, const Next& next) {
    if (++steps_ > kMostSteps || depth > kMostDepth) {
      steps_ = kMostSteps + 1;
      return false;
    }
    if (begin == end) return next(at, depth);
    const size_t behind = p_[begin] == '(' ? group_end(begin) : atom_end(begin);
    const char sign = behind < end ? p_[behind] : '\0';
    const bool repeats = sign == '*' || sign == '+' || sign == '?';
    const size_t rest = behind + (repeats ? 1 : 0);
    const Next go_on = [&, rest](size_t here, int d) { return sequence(rest, end, here, d + 1, next); };
    if (!repeats) return once(begin, behind, at, depth, go_on);
    const bool many = sign != '?';
    // Greedy: another one first, where it took something.
    std::function<bool(size_t, int, bool)> more = [&](size_t here, int d, bool enough) {
      const bool again = once(begin, behind, here, d + 1, [&](size_t there, int e) {
        return there > here && (many ? more(there, e, true) : go_on(there, e));
      });
      return again || (enough && go_on(here, d));
    };
    return more(at, depth, sign != '+');
  }

  bool once(size_t begin, size_t end, size_t at, int depth, const Next& next) {
    if (p_[begin] == '(') {
      const size_t inner = begin + (p_.substr(begin).starts_with("(?:") ? 3 : 1);
      return choice(inner, end - 1, at, depth + 1, next);
    }
    return at < text_.size() && atom_matches(begin, text_[at]) && next(at + 1, depth + 1);
  }

  std::string_view p_, text_;
  int steps_ = 0;
};

}  // namespace

Result<bool> matches_module(std::string_view pattern, std::string_view module, const std::string& what) {
  std::string_view core = pattern;
  const bool whole = core.starts_with('^');
  if (whole) core.remove_prefix(1);
  if (core.ends_with('$') && !core.ends_with("\\$")) core.remove_suffix(1);
  Matcher matcher(core);
  if (core.empty() || !matcher.known())
    return Status::error(str(what, ": the pattern ", shown_name(pattern),
                             " is none that is known; expected names of modules, or a regular expression of "
                             ". \\d \\w [] () | * + ?"));
  for (size_t at = 0;;) {
    if (matcher.match(module.substr(at))) return true;
    if (matcher.exhausted())
      return Status::error(str(what, ": the pattern ", shown_name(pattern),
                               " takes too long to match; expected names of modules"));
    at = module.find('.', at);
    if (whole || at == module.npos) return false;
    ++at;
  }
}

}  // namespace mlc
