// Writes checkpoints of draft heads, and of models for which one is always right, for tests.
#pragma once

#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "formats/build_files.h"

namespace mlc::testing {

using Rows = std::vector<std::vector<float>>;

// A safetensors file of float32 tensors, beside a config.json.
class CheckpointWriter {
 public:
  void put(const std::string& name, std::vector<int64_t> shape, const std::vector<float>& values) {
    const std::string bytes = packed(values);
    header_[name] = {
        {"dtype", "F32"}, {"shape", shape}, {"data_offsets", {data_.size(), data_.size() + bytes.size()}}};
    data_ += bytes;
  }
  void put_rows(const std::string& name, const Rows& rows) {
    std::vector<float> values;
    for (const std::vector<float>& row : rows) values.insert(values.end(), row.begin(), row.end());
    put(name, {static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows[0].size())}, values);
  }
  void put_filled(const std::string& name, std::vector<int64_t> shape, float value) {
    int64_t n = 1;
    for (const int64_t extent : shape) n *= extent;
    put(name, std::move(shape), std::vector<float>(static_cast<size_t>(n), value));
  }
  void write(const std::string& folder, const Json& config) const {
    std::ofstream(folder + "/config.json") << json_text(config);
    std::ofstream(folder + "/model.safetensors", std::ios::binary) << safetensors(header_.dump(), data_);
  }

 private:
  Json header_ = Json::object();
  std::string data_;
};

// Medusa heads of one block that changes nothing; matrices[k]: [vocab][hidden] of head k.
inline void write_heads(const std::string& folder, const std::vector<Rows>& matrices) {
  const auto vocab = static_cast<int64_t>(matrices[0].size()),
             hidden = static_cast<int64_t>(matrices[0][0].size());
  CheckpointWriter checkpoint;
  for (size_t k = 0; k < matrices.size(); ++k) {
    const std::string head = "medusa_head." + std::to_string(k);
    checkpoint.put_filled(head + ".0.linear.weight", {hidden, hidden}, 0);
    checkpoint.put_filled(head + ".0.linear.bias", {hidden}, 0);
    checkpoint.put_rows(head + ".1.weight", matrices[k]);
  }
  checkpoint.write(folder, {{"model_type", "medusa"},
                            {"medusa_num_heads", matrices.size()},
                            {"medusa_num_layers", 1},
                            {"hidden_size", hidden},
                            {"vocab_size", vocab},
                            {"max_batch_size", 16}});
}

// A llama that goes through its tokens in a fixed order: its layer adds nothing, so the last hidden state is
// the newest token's random embedding, and the head's row of the token that follows is that embedding too.
// `order[i]` is followed by `order[i + 1]`, the last one by the first. Returns the embeddings.
inline Rows write_cycle_model(const std::string& folder, const std::vector<int32_t>& order, int64_t hidden) {
  const auto vocab = static_cast<int64_t>(order.size());
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  Rows embeddings(order.size()), head(order.size());
  for (std::vector<float>& row : embeddings)
    for (int64_t i = 0; i < hidden; ++i) row.push_back(normal(random));
  for (size_t i = 0; i < order.size(); ++i)
    head[static_cast<size_t>(order[(i + 1) % order.size()])] = embeddings[static_cast<size_t>(order[i])];
  CheckpointWriter checkpoint;
  checkpoint.put_rows("model.embed_tokens.weight", embeddings);
  const std::string layer = "model.layers.0.";
  for (const char* name : {"q", "k", "v", "o"})
    checkpoint.put_filled(layer + "self_attn." + name + "_proj.weight", {hidden, hidden}, 0);
  checkpoint.put_filled(layer + "mlp.gate_proj.weight", {hidden, hidden}, 0);
  checkpoint.put_filled(layer + "mlp.up_proj.weight", {hidden, hidden}, 0);
  checkpoint.put_filled(layer + "mlp.down_proj.weight", {hidden, hidden}, 0);
  for (const char* name : {"model.layers.0.input_layernorm.weight",
                           "model.layers.0.post_attention_layernorm.weight", "model.norm.weight"})
    checkpoint.put_filled(name, {hidden}, 1);
  checkpoint.put_rows("lm_head.weight", head);
  checkpoint.write(folder, {{"model_type", "llama"},
                            {"hidden_size", hidden},
                            {"intermediate_size", hidden},
                            {"num_attention_heads", 2},
                            {"num_hidden_layers", 1},
                            {"rms_norm_eps", 1e-6},
                            {"vocab_size", vocab},
                            {"max_position_embeddings", 256},
                            {"max_batch_size", 16}});
  return embeddings;
}

}  // namespace mlc::testing
