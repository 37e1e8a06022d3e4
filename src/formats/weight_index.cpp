// Reads an index JSON as a stream of events: order and duplicates are seen, and depth costs no stack.
#include "formats/weight_index.h"

#include <algorithm>
#include <unordered_map>

#include "base/json.h"
#include "base/strings.h"
#include "formats/checked.h"

namespace mlc {
namespace {

constexpr size_t kMaxTensors = 1 << 20;
constexpr size_t kMaxFiles = 1 << 14;

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

class IndexEvents {
 public:
  IndexEvents(WeightIndex& index, const std::string& what) : index_(index), what_(what) {}
  std::string problem;
  bool map_seen = false;

  bool null() { return scalar("null"); }
  bool boolean(bool) { return scalar("a boolean"); }
  bool number_integer(int64_t) { return scalar("a number"); }
  bool number_unsigned(uint64_t) { return scalar("a number"); }
  bool number_float(double, const std::string&) { return scalar("a number"); }
  bool binary(std::vector<uint8_t>&) { return scalar("binary data"); }
  bool string(std::string& value) {
    if (depth_ == 2 && in_map_) return add(value);
    return scalar("a string");
  }
  bool key(std::string& value) {
    if (depth_ == 1 || in_map_) key_ = std::move(value);
    return true;
  }
  bool start_object(size_t) { return open("an object"); }
  bool start_array(size_t) {
    if (depth_ == 0 || (depth_ == 1 && key_ == "weight_map")) return scalar("an array");
    return open("an array");
  }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    return stop(str(what_, ": not valid JSON at byte ", position, "; the file is damaged or truncated"));
  }

 private:
  bool stop(std::string message) {
    problem = std::move(message);
    return false;
  }
  // A value that is neither a tensor's file nor the start of the map: legal only outside weight_map.
  bool scalar(std::string_view found) {
    if (depth_ == 0) return stop(str(what_, ": holds ", found, "; expected an object with 'weight_map'"));
    if (depth_ == 1 && key_ == "weight_map")
      return stop(str(what_, ": 'weight_map' is ", found, "; expected an object of tensor to file name"));
    if (in_map_)
      return stop(str(what_, ": tensor ", shown_name(key_), " maps to ", found, "; expected a file name"));
    return true;
  }
  bool open(std::string_view found) {
    if (in_map_) return scalar(found);
    if (depth_ == 1 && key_ == "weight_map") {
      map_seen = in_map_ = true;
      index_ = {};
      file_ids_.clear();
      places_.clear();
    }
    ++depth_;
    return true;
  }
  bool close() {
    if (--depth_ == 1) in_map_ = false;
    return true;
  }
  bool add(const std::string& file) {
    if (!is_plain_name(file))
      return stop(str(what_, ": tensor ", shown_name(key_), " maps to ", shown_name(file),
                      "; expected the plain name of a file beside the index"));
    if (index_.tensors.size() == kMaxTensors)
      return stop(str(what_, ": more than ", kMaxTensors, " tensors"));
    auto [it, is_new] = file_ids_.try_emplace(file, static_cast<int>(index_.files.size()));
    if (is_new) {
      if (index_.files.size() == kMaxFiles) return stop(str(what_, ": more than ", kMaxFiles, " files"));
      index_.files.push_back(file);
    }
    auto [place, first] = places_.try_emplace(key_, index_.tensors.size());
    if (!first) {
      index_.tensors[place->second].second = it->second;
      return true;
    }
    index_.tensors.emplace_back(std::move(key_), it->second);
    return true;
  }

  WeightIndex& index_;
  const std::string& what_;
  std::string key_;
  int depth_ = 0;
  bool in_map_ = false;
  std::unordered_map<std::string, int> file_ids_;
  std::unordered_map<std::string, size_t> places_;  // in index_.tensors
};

Status parse_events(std::string_view text, WeightIndex& index, const std::string& what) {
  index = {};
  IndexEvents events(index, what);
  bool parsed = Json::sax_parse(text.begin(), text.end(), &events);
  if (!events.problem.empty()) return Status::error(events.problem);
  if (parsed && events.map_seen && !index.tensors.empty()) return Status::ok();
  return Status::error(str(what, ": no tensors in 'weight_map'; expected an object of tensor to file name"));
}

}  // namespace

Result<WeightIndex> parse_weight_index(std::string_view text, const std::string& what) {
  WeightIndex index;
  Status parsed = parse_events(text, index, what);
  if (auto standard = parsed.is_ok() ? std::nullopt : standard_json(text))
    parsed = parse_events(*standard, index, what);
  RETURN_IF_ERROR(parsed);
  std::stable_sort(index.tensors.begin(), index.tensors.end(),
                   [](const auto& a, const auto& b) { return a.second < b.second; });
  return index;
}

}  // namespace mlc
