// Streaming detokenizer and stop strings.
#include "chat/stream.h"

#include <algorithm>
#include <limits>

#include "chat/tokenizer/byte_level.h"

namespace mlc {
namespace {

constexpr size_t kMaxHeld =
    3;  // a character has at most 4 bytes, so 3 tokens can be waiting for the last one

bool starts_with(std::string_view text, std::string_view head) { return text.substr(0, head.size()) == head; }
bool ends_incomplete(std::string_view text) {
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
  return text.size() >= 3 && text.substr(text.size() - 3) == kReplacement;
}

}  // namespace

Result<std::string> StreamDecoder::decode(size_t pending_count) const {
  std::vector<int32_t> ids = prefix_;
  ids.insert(ids.end(), pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(pending_count));
  return tokenizer_->decode(ids);
}

// Shows `text` of the first pending ids, which become the new prefix.
Result<std::string> StreamDecoder::commit(size_t pending_count, std::string text) {
  if (pending_count > 0) {
    auto end = pending_.begin() + static_cast<ptrdiff_t>(pending_count);
    prefix_.assign(pending_.begin(), end);
    pending_.erase(pending_.begin(), end);
    ASSIGN_OR_RETURN(prefix_text_, tokenizer_->decode(prefix_));
  }
  return text;
}

Result<std::string> StreamDecoder::put(int32_t id) {
  pending_.push_back(id);
  size_t count = pending_.size();
  for (size_t hold = 0; hold <= std::min(kMaxHeld, count); ++hold) {
    ASSIGN_OR_RETURN(std::string text, decode(count - hold));
    if (!starts_with(text, prefix_text_)) continue;  // the held bytes change how the prefix decodes
    text.erase(0, prefix_text_.size());
    if (hold < kMaxHeld && ends_incomplete(text)) continue;
    return commit(count - hold, std::move(text));
  }
  if (count <= kMaxHeld) return std::string();
  std::span<const int32_t> oldest(pending_.data(), count - kMaxHeld);
  ASSIGN_OR_RETURN(std::string text, tokenizer_->decode(oldest));
  return commit(count - kMaxHeld, std::move(text));
}

Result<std::string> StreamDecoder::finish() {
  ASSIGN_OR_RETURN(std::string text, decode(pending_.size()));
  if (starts_with(text, prefix_text_)) {
    text.erase(0, prefix_text_.size());
  } else {
    ASSIGN_OR_RETURN(text, tokenizer_->decode(pending_));
  }
  prefix_.clear();
  pending_.clear();
  prefix_text_.clear();
  return text;
}

StopMatcher::StopMatcher(const std::vector<std::string>& stops, const std::vector<std::string>* token_bytes)
    : token_bytes_(token_bytes) {
  for (const std::string& text : stops) {
    if (text.empty()) continue;
    Stop stop{text, std::vector<size_t>(text.size() + 1, 0), 0};
    for (size_t n = 2; n <= text.size(); ++n) {
      size_t k = stop.fallback[n - 1];
      while (k > 0 && text[k] != text[n - 1]) k = stop.fallback[k];
      stop.fallback[n] = text[k] == text[n - 1] ? k + 1 : 0;
    }
    stops_.push_back(std::move(stop));
  }
}

// The held ids that end within the first `safe` held bytes; keeps the others.
std::vector<int32_t> StopMatcher::release(size_t safe) {
  size_t count = 0, bytes = 0;
  while (count < held_.size()) {
    size_t size = (*token_bytes_)[held_[count]].size();
    if (bytes + size > safe) break;
    bytes += size;
    ++count;
  }
  std::vector<int32_t> out(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(count));
  held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(count));
  held_bytes_ -= bytes;
  return out;
}

std::vector<int32_t> StopMatcher::put(int32_t id) {
  if (stopped_) return {};
  bool known = id >= 0 && static_cast<size_t>(id) < token_bytes_->size();
  if (stops_.empty() || !known) return {id};
  held_.push_back(id);
  for (char c : (*token_bytes_)[id]) {
    ++held_bytes_;
    size_t start = std::numeric_limits<size_t>::max();  // of the earliest stop string that ends here
    for (Stop& stop : stops_) {
      while (stop.matched > 0 && stop.text[stop.matched] != c) stop.matched = stop.fallback[stop.matched];
      if (stop.text[stop.matched] == c) ++stop.matched;
      if (stop.matched < stop.text.size() || held_bytes_ - stop.matched >= start) continue;
      start = held_bytes_ - stop.matched;
      stop_ = stop.text;
    }
    if (start == std::numeric_limits<size_t>::max()) continue;
    stopped_ = true;
    std::vector<int32_t> out = release(start);
    size_t released = 0;
    for (int32_t o : out) released += (*token_bytes_)[o].size();
    if (!held_.empty()) cut_bytes_ = (*token_bytes_)[held_.front()].substr(0, start - released);
    return out;
  }
  size_t longest = 0;
  for (const Stop& stop : stops_) longest = std::max(longest, stop.matched);
  return release(held_bytes_ - longest);
}

std::vector<int32_t> StopMatcher::finish() {
  std::vector<int32_t> out;
  if (!stopped_) out.swap(held_);
  held_.clear();
  held_bytes_ = 0;
  stopped_ = false;
  cut_bytes_.clear();
  for (Stop& stop : stops_) stop.matched = 0;
  return out;
}

TextStream::TextStream(std::shared_ptr<const Tokenizer> tokenizer, const std::vector<std::string>& stops)
    : tokenizer_(tokenizer), decoder_(tokenizer), matcher_(stops, &tokenizer->token_bytes()) {}

Result<std::string> TextStream::decode(const std::vector<int32_t>& ids) {
  std::string text;
  for (int32_t id : ids) {
    ASSIGN_OR_RETURN(std::string more, decoder_.put(id));
    any_id_ = true;
    text += more;
  }
  return text;
}

Result<std::string> TextStream::put(int32_t id) {
  if (stopped()) return std::string();
  ASSIGN_OR_RETURN(std::string text, decode(matcher_.put(id)));
  if (!stopped()) return text;
  ASSIGN_OR_RETURN(std::string rest, decoder_.finish());
  std::string cut = matcher_.cut_bytes().substr(0, whole_characters(matcher_.cut_bytes()));
  if (!any_id_ && tokenizer_->info().strip_space_in_decode && starts_with(cut, " ")) cut.erase(0, 1);
  return text + rest + lossy_utf8(cut);
}

Result<std::string> TextStream::finish() {
  ASSIGN_OR_RETURN(std::string text, decode(matcher_.finish()));
  ASSIGN_OR_RETURN(std::string rest, decoder_.finish());
  any_id_ = false;
  return text + rest;
}

}  // namespace mlc
