// Finds earlier places of a text whose past equals the text's end.
#include "serve/speculate/ngram.h"

#include <algorithm>
#include <functional>

namespace mlc::serve {
namespace {

// FNV-1a over the n-gram that ends before `end`.
uint64_t hash_before(std::span<const int32_t> text, size_t end) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = end - NgramIndex::kNgram; i < end; ++i)
    hash = (hash ^ static_cast<uint32_t>(text[i])) * 0x100000001b3u;
  return hash;
}

// How many tokens before two places are equal.
int64_t equal_before(std::span<const int32_t> text, size_t a, size_t b) {
  int64_t n = 0;
  while (n < NgramIndex::kLongest && a > 0 && b > 0 && text[a - 1] == text[b - 1]) --a, --b, ++n;
  return n;
}

}  // namespace

void NgramIndex::put(std::span<const int32_t> text) {
  for (size_t end = earlier_.size() + 1; end <= text.size(); ++end) {
    int32_t before = -1;
    if (end >= kNgram) {
      auto [at, first] = latest_.try_emplace(hash_before(text, end), static_cast<int32_t>(end));
      if (!first) before = at->second, at->second = static_cast<int32_t>(end);
    }
    earlier_.push_back(before);
  }
}

// Earlier places like the text's end, those with the longest equal past first.
std::vector<NgramIndex::Candidate> NgramIndex::candidates(std::span<const int32_t> text) const {
  std::vector<Candidate> found;
  if (text.size() <= kNgram) return found;
  int64_t seen = 0;
  for (int32_t end = earlier_[text.size() - 1]; end >= 0 && seen < kCandidates; ++seen) {
    const auto at = static_cast<size_t>(end);
    if (const int64_t length = equal_before(text, at, text.size()); length >= kNgram)
      found.push_back({at, length});
    end = earlier_[at - 1];
  }
  // Equal ones keep their order: the latest first.
  std::ranges::stable_sort(found, std::greater<>(), &Candidate::length);
  return found;
}

int64_t NgramIndex::equal_past(std::span<const int32_t> text) const {
  const std::vector<Candidate> found = candidates(text);
  return found.empty() ? 0 : found[0].length;
}

void NgramIndex::propose(std::span<const int32_t> text, int64_t tokens, int64_t width,
                         TokenTree& tree) const {
  const std::vector<Candidate> found = candidates(text);
  const size_t ways = std::min(found.size(), static_cast<size_t>(width));
  for (size_t i = 0; i < ways; ++i) {
    // Each way gets its share of what is left.
    const int64_t share = tokens / static_cast<int64_t>(ways - i);
    auto node = static_cast<int32_t>(tree.known - 1);
    std::vector<int32_t> way;  // goes on with itself: a text that ends in a cycle repeats it
    for (size_t at = found[i].end; static_cast<int64_t>(way.size()) < share; ++at) {
      way.push_back(at < text.size() ? text[at] : way[at - text.size()]);
      const int32_t known = tree.child(node, way.back());
      if (known < 0) --tokens;
      node = known >= 0 ? known : tree.add(node, way.back());
    }
  }
}

}  // namespace mlc::serve
