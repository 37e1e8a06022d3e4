// Turns generated tokens into text as they come: whole characters only, and nothing of a stop string.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "chat/tokenizer/tokenizer.h"

namespace mlc {

// Decodes a stream of ids. Text is held back while it ends in U+FFFD (a character that is not complete yet),
// for at most 3 tokens: UTF-8 needs 4 bytes at most. The concatenated output is what decoding all ids at once
// gives, up to where invalid bytes are cut into U+FFFD.
class StreamDecoder {
 public:
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {}
  // The new text that `id` completes, often "".
  Result<std::string> put(int32_t id);
  // What is left, invalid bytes as U+FFFD. The decoder is then empty, ready for another stream.
  Result<std::string> finish();

 private:
  Result<std::string> decode(size_t pending_count) const;  // prefix and the first pending ids
  Result<std::string> commit(size_t pending_count, std::string text);

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<int32_t> prefix_, pending_;  // ids already shown (the last that were), ids held back
  std::string prefix_text_;
};

// Finds stop strings in the bytes of tokens (Knuth-Morris-Pratt per byte), however tokens cut them.
class StopMatcher {
 public:
  // `token_bytes`: Tokenizer::token_bytes(), which must outlive the matcher. Empty stop strings are ignored.
  StopMatcher(const std::vector<std::string>& stops, const std::vector<std::string>* token_bytes);

  // Ids that can no longer be part of a stop string, in order. After a match: the tokens that end before it.
  std::vector<int32_t> put(int32_t id);
  bool stopped() const { return stopped_; }
  // After a match: the stop string; the one that starts first where two end together.
  const std::string& stop() const { return stop_; }
  // After a match: the bytes of the token that the stop string starts in, up to there.
  const std::string& cut_bytes() const { return cut_bytes_; }
  // Without a match: the ids still held back. The matcher is then as new.
  std::vector<int32_t> finish();

 private:
  struct Stop {
    std::string text;
    std::vector<size_t> fallback;  // fallback[n]: the longest proper head of text[0, n) that is also its tail
    size_t matched = 0;
  };
  std::vector<int32_t> release(size_t safe);

  std::vector<Stop> stops_;
  const std::vector<std::string>* token_bytes_;
  std::vector<int32_t> held_;
  size_t held_bytes_ = 0;  // bytes of held_ seen so far
  bool stopped_ = false;
  std::string stop_, cut_bytes_;
};

// Both steps: put tokens in, take text out, stop when a stop string is complete.
class TextStream {
 public:
  TextStream(std::shared_ptr<const Tokenizer> tokenizer, const std::vector<std::string>& stops);
  // Text that is certain; once stopped() is true, all text up to the stop string has come out and further ids
  // are ignored.
  Result<std::string> put(int32_t id);
  // The rest, when generation ends for another reason.
  Result<std::string> finish();
  bool stopped() const { return matcher_.stopped(); }
  // The stop string that did, else "".
  const std::string& stop() const { return matcher_.stop(); }

 private:
  Result<std::string> decode(const std::vector<int32_t>& ids);
  std::shared_ptr<const Tokenizer> tokenizer_;
  StreamDecoder decoder_;
  StopMatcher matcher_;
  bool any_id_ = false;  // an id has reached the decoder
};

}  // namespace mlc
