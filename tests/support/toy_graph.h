// A small transformer in graph form with random weights and ragged batches over scattered pages, for tests of
// passes, lowerings and devices.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "graph/builder.h"
#include "graph/interpret.h"

namespace mlc::testing {

struct ToyShape {
  int64_t hidden = 64, heads = 4, kv_heads = 2, head_dim = 16, rotary_dim = 16, intermediate = 96, vocab = 50,
          layers = 2;
  WeightFormat weights = WeightFormat::plain(DType::kF32);  // of linears and the tied embedding
  DType kv_dtype = DType::kF32;
  bool neox =
      false;  // layer norms, biases, gelu and a parallel residual instead of rms norms and a gated silu
};

class ToyBuilder {
 public:
  explicit ToyBuilder(const ToyShape& shape) : s_(shape) {}

  // One function: "step", input_ids -> logits at logit_positions; arguments as frontend/functions.h lists
  // them.
  graph::Module build() {
    module_.name = "toy";
    module_.states.push_back(
        graph::PagedState::of_heads("kv", s_.layers, s_.kv_heads, s_.head_dim, 16, s_.kv_dtype));
    module_.functions.push_back(std::make_unique<graph::Function>());
    graph::Function& f = *module_.functions[0];
    f.name = "step";
    graph::GraphBuilder g(module_, f);
    const Dim rows = Dim::symbol("rows"), batch = Dim::symbol("batch");
    graph::Value* ids = f.add_argument("input_ids", ints(rows));
    graph::Value* wanted = f.add_argument("logit_positions", ints(batch));
    for (const char* name : {"limits", "row_sequence", "row_slots"})
      args_[name] = f.add_argument(name, ints(rows));
    args_["page_indptr"] = f.add_argument("page_indptr", ints(batch + Dim(1)));
    args_["page_ids"] = f.add_argument("page_ids", ints(Dim::symbol("pages")));
    args_["rope_factors"] =
        f.add_argument("rope_factors", graph::TensorType::plain(DType::kF32, {rows, s_.rotary_dim}));
    graph::Value* x = g.take(weight(g, "embed", s_.vocab, s_.hidden), ids);
    for (int64_t layer = 0; layer < s_.layers; ++layer) x = block(g, x, layer);
    x = g.take(norm(g, x, "norm"), wanted);
    f.results = {g.matmul(x, weight(g, "embed", s_.vocab, s_.hidden))};
    return std::move(module_);
  }

 private:
  static graph::TensorType ints(Dim n) { return graph::TensorType::plain(DType::kI32, {n}); }
  graph::Value* weight(graph::GraphBuilder& g, const std::string& name, int64_t n, int64_t k) {
    graph::TensorType type = graph::TensorType::plain(DType::kF32, {n, k});
    type.format = s_.weights;
    if (s_.weights.is_quantized()) type.kind = graph::TensorType::Kind::kGroup;
    return g.parameter(name, type);
  }
  graph::Value* vector(graph::GraphBuilder& g, const std::string& name, int64_t n) {
    return g.parameter(name, graph::TensorType::plain(DType::kF32, {n}));
  }
  graph::Value* norm(graph::GraphBuilder& g, graph::Value* x, const std::string& name) {
    graph::Value* scale = vector(g, name + ".weight", s_.hidden);
    return s_.neox ? g.layer_norm(x, scale, vector(g, name + ".bias", s_.hidden), 1e-5)
                   : g.rms_norm(x, scale, 1e-5);
  }
  graph::Value* linear(graph::GraphBuilder& g, graph::Value* x, const std::string& name, int64_t n,
                       int64_t k) {
    graph::Value* y = g.matmul(x, weight(g, name, n, k));
    return s_.neox ? g.bias(y, vector(g, name + ".bias", n)) : y;
  }

  graph::Value* attention(graph::GraphBuilder& g, graph::Value* x, int64_t layer, const std::string& prefix) {
    int64_t q = s_.heads * s_.head_dim, kv = s_.kv_heads * s_.head_dim;
    graph::Value* qkv = linear(g, x, prefix + "qkv", q + 2 * kv, s_.hidden);
    graph::Value *factors = args_["rope_factors"], *v = g.slice(qkv, q + kv, q + 2 * kv);
    graph::Value* rotated_q = g.rope(g.slice(qkv, 0, q), factors, s_.head_dim, s_.rotary_dim);
    graph::Value* rotated_k = g.rope(g.slice(qkv, q, q + kv), factors, s_.head_dim, s_.rotary_dim);
    g.kv_append("kv", layer, rotated_k, v, args_["row_slots"]);
    graph::Value* mixed = g.attention("kv", layer,
                                      {.q = rotated_q,
                                       .row_sequence = args_["row_sequence"],
                                       .limits = args_["limits"],
                                       .page_indptr = args_["page_indptr"],
                                       .page_ids = args_["page_ids"]},
                                      {.heads = s_.heads, .scale = 0.25});
    return linear(g, mixed, prefix + "o", s_.hidden, q);
  }

  graph::Value* mlp(graph::GraphBuilder& g, graph::Value* x, const std::string& prefix) {
    if (s_.neox) {
      x = g.activation(linear(g, x, prefix + "up", s_.intermediate, s_.hidden), "gelu");
    } else {
      x = g.gated(linear(g, x, prefix + "gate_up", 2 * s_.intermediate, s_.hidden), "silu");
    }
    return linear(g, x, prefix + "down", s_.hidden, s_.intermediate);
  }

  graph::Value* block(graph::GraphBuilder& g, graph::Value* x, int64_t layer) {
    std::string prefix = "layers." + std::to_string(layer) + ".";
    graph::Value* mixed = attention(g, norm(g, x, prefix + "norm1"), layer, prefix);
    if (s_.neox) return g.add(g.add(mixed, mlp(g, norm(g, x, prefix + "norm2"), prefix)), x);
    x = g.add(x, mixed);
    return g.add(mlp(g, norm(g, x, prefix + "norm2"), prefix), x);
  }

  ToyShape s_;
  graph::Module module_;
  std::map<std::string, graph::Value*> args_;
};

inline std::vector<float> random_floats(int64_t n, float scale, std::mt19937& random) {
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) x = scale * (static_cast<float>(random()) / 2147483648.0f - 1.0f);
  return out;
}

// Random values for every parameter, scaled so that activations stay near 1.
inline std::map<std::string, graph::HostTensor> random_parameters(const graph::Module& module,
                                                                  unsigned seed = 1) {
  std::mt19937 random(seed);
  std::map<std::string, graph::HostTensor> out;
  for (const auto& p : module.parameters) {
    graph::HostTensor t;
    for (const Dim& d : p->type.shape) t.shape.push_back(d.constant());
    float scale = t.shape.size() == 2 ? 2.0f / std::sqrt(static_cast<float>(t.shape[1])) : 1.0f;
    t.floats = random_floats(t.elements(), scale, random);
    out[p->name] = std::move(t);
  }
  return out;
}

// Some new tokens of one sequence: they follow `past` tokens that the cache holds already.
struct ToyTokens {
  int64_t past = 0;
  std::vector<int32_t> ids;
};

// The arguments of "step" for these sequences. Sequence s owns pages_per_sequence pages in a fixed shuffled
// order of total_pages, the same in every call, so that a later call finds what an earlier one wrote.
inline std::map<std::string, graph::HostTensor> toy_arguments(const ToyShape& shape,
                                                              const std::vector<ToyTokens>& batch,
                                                              int64_t total_pages,
                                                              int64_t pages_per_sequence) {
  std::vector<int32_t> order(static_cast<size_t>(total_pages));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(7));
  std::map<std::string, std::vector<int32_t>> ints;
  std::vector<float> factors;
  ints["page_indptr"] = {0};
  for (const char* name : {"input_ids", "logit_positions", "limits", "row_sequence", "row_slots", "page_ids"})
    ints[name];
  for (size_t s = 0; s < batch.size(); ++s) {
    int64_t length = batch[s].past + static_cast<int64_t>(batch[s].ids.size()),
            first = static_cast<int64_t>(s) * pages_per_sequence;
    for (int64_t page = 0; page < (length + 15) / 16; ++page) ints["page_ids"].push_back(order[first + page]);
    for (int64_t t = batch[s].past; t < length; ++t) {
      ints["input_ids"].push_back(batch[s].ids[t - batch[s].past]);
      ints["limits"].push_back(static_cast<int32_t>(t) + 1);
      ints["row_sequence"].push_back(static_cast<int32_t>(s));
      ints["row_slots"].push_back(static_cast<int32_t>(order[first + t / 16] * 16 + t % 16));
      for (bool sine : {false, true})
        for (int64_t d = 0; d < shape.rotary_dim / 2; ++d) {
          double angle =
              static_cast<double>(t) *
              std::pow(10000.0, -2.0 * static_cast<double>(d) / static_cast<double>(shape.rotary_dim));
          factors.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
        }
    }
    ints["logit_positions"].push_back(static_cast<int32_t>(ints["input_ids"].size()) - 1);
    ints["page_indptr"].push_back(static_cast<int32_t>(ints["page_ids"].size()));
  }
  std::map<std::string, graph::HostTensor> out;
  int64_t rows = static_cast<int64_t>(ints["input_ids"].size());
  for (auto& [name, values] : ints)
    out[name] = {DType::kI32, {static_cast<int64_t>(values.size())}, {}, values};
  out["rope_factors"] = {DType::kF32, {rows, shape.rotary_dim}, factors, {}};
  return out;
}

// Largest sum of |x * w| of any result of x [rows, K] by w [N, K].
inline double absolute_sum(const graph::HostTensor& x, const graph::HostTensor& w) {
  double most = 0;
  const int64_t k = x.shape[1];
  for (int64_t r = 0; r < x.shape[0]; ++r)
    for (int64_t n = 0; n < w.shape[0]; ++n) {
      double sum = 0;
      for (int64_t i = 0; i < k; ++i)
        sum += std::fabs(double(x.floats[size_t(r * k + i)]) * w.floats[size_t(n * k + i)]);
      most = std::max(most, sum);
    }
  return most;
}

// Root mean square of a - b over that of b.
inline double relative_rms(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    size += double{b[i]} * b[i];
  }
  return std::sqrt(difference / size);
}

}  // namespace mlc::testing
