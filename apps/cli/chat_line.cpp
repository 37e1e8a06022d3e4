// Tells commands from text.
#include "apps/cli/chat_line.h"

#include <algorithm>
#include <vector>

#include "apps/cli/sampling.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

const std::vector<std::string> kCommands = {"/exit", "/help", "/metrics", "/reset", "/set", "/stats"};
constexpr std::string_view kSpace = " \t\n";

// One letter more, less or other, or two neighbours swapped.
bool one_edit_apart(std::string_view a, std::string_view b) {
  if (a.size() < b.size()) std::swap(a, b);
  auto same = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  std::string_view x = a.substr(static_cast<size_t>(same.first - a.begin())),
                   y = b.substr(static_cast<size_t>(same.second - b.begin()));
  if (x.empty()) return false;
  if (a.size() == b.size() + 1) return x.substr(1) == y;
  if (a.size() != b.size()) return false;
  bool swapped = x.size() >= 2 && x[0] == y[1] && x[1] == y[0] && x.substr(2) == y.substr(2);
  return x.substr(1) == y.substr(1) || swapped;
}

// "/set" and a setting, not "/set the table".
bool sets(std::string_view rest) {
  std::string_view key = rest.substr(0, rest.find_first_of("=; \t\n"));
  std::string_view after = trim(rest.substr(key.size()));
  std::vector<std::string> keys = sampling_keys();
  bool known = std::any_of(keys.begin(), keys.end(),
                           [&](const std::string& k) { return k == key || one_edit_apart(k, key); });
  return rest.empty() || known || after.starts_with("=");
}

// The command of a line; "" for none.
std::string command_of(std::string_view line) {
  std::string_view word = line.substr(0, line.find_first_of(kSpace)), rest = trim(line.substr(word.size()));
  if (std::find(kCommands.begin(), kCommands.end(), word) == kCommands.end()) return "";
  bool whole = word == "/set" ? sets(rest) : rest.empty();
  return whole ? std::string(word) : "";
}

// The command that a single word was perhaps meant to be; "" for none.
std::string near_command(std::string_view line) {
  std::string_view word = trim(line);
  if (word.find_first_of(kSpace) != std::string_view::npos) return "";
  for (const std::string& command : kCommands)
    if (one_edit_apart(command, word)) return command;
  return "";
}

}  // namespace

ChatLine read_chat_line(const std::string& line) {
  if (!line.starts_with("/")) return {"", line, ""};
  std::string_view shorter = std::string_view(line).substr(1);
  if (shorter.starts_with("/") && (!command_of(shorter).empty() || !near_command(shorter).empty()))
    return {"", std::string(shorter), ""};
  if (std::string command = command_of(line); !command.empty())
    return {command, std::string(trim(std::string_view(line).substr(command.size()))), ""};
  return {"", line, near_command(line)};
}

}  // namespace mlc::cli
