// From the hidden states of a text's tokens to its embedding.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace mlc::serve {

enum class Pooling : uint8_t { kFirst, kMean, kLast };  // "cls", "mean", "last"

struct EmbeddingForm {
  Pooling pooling = Pooling::kLast;
  bool normalize = true;  // to length 1
};

// Error: none of the three; starts with `what`.
Result<Pooling> parse_pooling(const std::string& text, const std::string& what);
// The `embedding_metadata` of an mlc-chat-config.json (mlc-facts 4.1); without it an encoder's first token,
// or a decoder's last, and length 1. Errors start with `what`.
Result<EmbeddingForm> embedding_form(const Json& config, bool encoder, const std::string& what);

// Takes the states of a text's tokens part by part.
class Pooler {
 public:
  Pooler(Pooling pooling, int64_t hidden) : pooling_(pooling), sum_(static_cast<size_t>(hidden)) {}
  // Whole rows, those after the ones that it has.
  void put(std::span<const float> rows);
  // Precondition: it has a row.
  std::vector<float> take() const;

 private:
  Pooling pooling_;
  std::vector<double> sum_;  // or the row that counts
  int64_t rows_ = 0;
};

// Scales to length 1; what is all 0 stays.
void normalize(std::vector<float>& values);

}  // namespace mlc::serve
