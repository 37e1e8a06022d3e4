// A model's activations along a calibration text, node by node for the whole text at once, so that of its
// weights only one is in memory at a time.
//
// The text is cut into windows, each a sequence of its own; every value holds the rows of all windows, one
// after the other. What most of the time goes into (products, attention, regions) runs in f32 on all threads;
// every other op is the graph's own reference, window by window.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "frontend/model.h"
#include "graph/ops/registry.h"

namespace mlc::weights {

// Tokens of all windows; window i is tokens begins[i] .. begins[i + 1] - 1.
struct Windows {
  std::vector<int32_t> tokens;
  std::vector<int64_t> begins = {0};

  size_t count() const { return begins.size() - 1; }
  int64_t rows() const { return begins.back(); }
  int64_t rows_of(size_t i) const { return begins[i + 1] - begins[i]; }
  Windows first(size_t count) const;
};

// A model's step inputs for these windows, by the names of frontend/functions.h.
using StepArguments = std::map<std::string, graph::HostTensor>;
Result<StepArguments> step_arguments(const frontend::ModelConfig& config, const Windows& windows);

// The parameters that a stream runs with; rows of [.., K] as floats.
struct StreamParameters {
  std::function<graph::HostTensor(const std::string& name)> whole;
  std::function<graph::HostTensor(const std::string& name, std::span<const int32_t> rows)> rows;
};

class Stream {
 public:
  // All must outlive the stream.
  Stream(const graph::Module& module, const Windows& windows, const StepArguments& arguments,
         StreamParameters parameters, int threads);

  const graph::HostTensor& value(const graph::Value* v) const;
  void set(const graph::Value* v, graph::HostTensor value) { values_[v] = std::move(value); }
  graph::HostTensor take_out(const graph::Value* v);
  void drop(const graph::Value* v);

  // Any node but one of a function's that multiplies by a parameter of two axes or more.
  void run(const graph::Node& node);
  // matmul: x [rows, K] of the node times the transpose of weight [N, K], then its region.
  void multiply(const graph::Node& node, std::span<const float> weight);
  // Of what multiply() would set, the columns from `begin` on that these rows of the weight give: [rows, N].
  graph::HostTensor columns(const graph::Node& node, std::span<const float> weight, int64_t begin) const;
  // expert_matmul: the rows that meet each expert, and that expert's part of the result.
  struct ExpertRows {
    std::vector<int64_t> slots;  // of the result
    graph::HostTensor x;         // [slots, K]
  };
  ExpertRows expert_rows(const graph::Node& node, int64_t expert) const;
  void multiply_expert(const graph::Node& node, const ExpertRows& rows, std::span<const float> weight);

 private:
  using Operands = std::vector<const graph::HostTensor*>;
  Operands region_operands(const graph::Node& node, std::vector<graph::HostTensor>& kept) const;
  graph::HostTensor times(const graph::Node& node, const graph::HostTensor& x, std::span<const float> weight,
                          const Operands& operands) const;
  graph::HostTensor part(const graph::Value* v, size_t window) const;
  // Floats whose content does not matter, in the memory of a dropped value of that size where there is one.
  graph::HostTensor fresh(std::vector<int64_t> shape) const;
  graph::HostTensor joined(std::vector<std::vector<graph::HostTensor>>& results, size_t output) const;
  void run_map(const graph::Node& node);
  void run_append(const graph::Node& node);
  bool run_attention(const graph::Node& node);
  void run_windows(const graph::Node& node);
  std::vector<graph::HostTensor> run_window(
      const graph::Node& node, size_t window,
      const std::map<const graph::Value*, graph::HostTensor>& parameters) const;

  const graph::Module& module_;
  const Windows& windows_;
  const StepArguments& arguments_;
  StreamParameters parameters_;
  int threads_;
  std::unordered_map<const graph::Value*, graph::HostTensor> values_;
  // Memory of dropped values by its size: layers have the same shapes. Only the stream's own thread uses it.
  mutable std::multimap<size_t, std::vector<float>> free_;
  // What the last kv_append stored: keys [rows, kv_heads * key_dim] and values [rows, kv_heads * value_dim],
  // and its two float operands, which are these but for a latent.
  struct Appended {
    const graph::Node* node = nullptr;
    graph::HostTensor keys, values;
    graph::HostTensor rotated;  // of a latent: its second operand; the first is `values`
  } appended_;
};

// Softmax attention of rows of windows over the keys before them, or all of their window.
struct DenseAttention {
  int64_t heads = 0, kv_heads = 0, key_dim = 0, value_dim = 0;
  double scale = 1;
  double alibi = 0;                       // 0 = none
  const graph::Region* scores = nullptr;  // of x and bias, never null
  int64_t window = 0;                     // 0 = none
  const float* sinks = nullptr;           // [heads]
};
// q [rows, heads * key_dim] of one head of one window: rows `begin` .. `end`, limits of them as attention's.
void attend_head(const DenseAttention& shape, int64_t head, int64_t rows, const int32_t* limits,
                 const float* q, const float* keys, const float* values, float* out);

// A region on one row, in f32: what the op computed [columns] becomes `out`.
void apply_region_fast(const graph::Region& region, std::span<const graph::HostTensor* const> operands,
                       int64_t row, std::span<const float> computed, float* out);

}  // namespace mlc::weights
