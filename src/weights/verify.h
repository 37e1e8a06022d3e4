// How far the predictions of one model are from those of another, on a text: --verify and `mlc_llm verify`.
//
// Both run in f32 over the same tokens, one after the other, weight by weight (weights/model_weights.h); then
// the final linears of both give logits of some hundred tokens of the vocabulary at a time, from which the
// two distributions of each position are compared. So in memory are the activations of one model along the
// text, one linear as floats, and a block of logits: never a model.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "weights/model_weights.h"
#include "weights/quantize/stream.h"
#include "weights/verify_report.h"

namespace mlc::weights {

constexpr const char* kVerifyTextName = "ferry (built in)";
constexpr int64_t kVerifyWindow = 2048;     // tokens of a window, in models that take as many
constexpr int64_t kVerifyPositions = 4096;  // at most, of longer texts
// English prose of some 1,500 tokens, written for this.
std::string_view verify_sample();

// A model to compare. All must outlive the comparison.
struct VerifyModel {
  std::string name;  // for errors: the file or folder
  const frontend::ModelConfig& config;
  const ModelWeights& weights;
};

// Tokens in windows that both models take, no more than give `positions` predictions, each of `window` tokens
// or less. Errors: a token that a model has not, fewer than two tokens, models of other vocabularies, and
// models that give embeddings.
Result<Windows> verify_windows(const VerifyModel& a, const VerifyModel& b, std::span<const int32_t> tokens,
                               int64_t positions, int64_t window);

// `text`: its name. `progress` is called with the bytes of f32 weights gone through since the last call;
// verify_bytes() of both models are the total. Errors: a logit that is not finite.
Result<VerifyReport> compare_models(const VerifyModel& a, const VerifyModel& b, const Windows& windows,
                                    const std::string& text, int threads,
                                    const std::function<void(int64_t)>& progress);
int64_t verify_bytes(const VerifyModel& model);

// Compares the distributions of rows of two models, a block of the vocabulary at a time.
class LogitComparison {
 public:
  // `next`: the token that follows each row in the text, -1 of rows that are not compared.
  explicit LogitComparison(std::vector<int32_t> next);
  // Logits of tokens begin, begin + 1, ... of all rows: [rows, count] each. Blocks come in order.
  void add(int threads, int64_t begin, int64_t count, const float* a, const float* b);
  // Position by position, once all blocks were added. `names`: for errors, of a and b.
  Result<std::vector<VerifyPosition>> finish(const std::string& a, const std::string& b) const;

 private:
  // The softmax of one model so far: with the largest logit m, the sum of e^(x - m).
  struct Softmax {
    double largest = 0, sum = 0, next = 0;
    int64_t top = -1;
    bool finite = true;
    // Takes a block in; returns what the sums were multiplied by.
    double add(int64_t begin, std::span<const float> logits, int32_t next);
    double log_sum() const;
  };
  struct Row {
    Softmax a, b;
    double weighted = 0;  // sum of e^(a - largest a) (a - b)
  };
  std::vector<int32_t> next_;
  std::vector<Row> rows_;
};

}  // namespace mlc::weights
