// Writes a folder as build.py of 2023 did, from one of today: records by place, projections apart, norms and
// the scales of gpt_neox's final linear in float32.
#pragma once

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "formats/quant/plain.h"
#include "formats/shards.h"

namespace mlc::testing {

class Folder2023 {
 public:
  // `today`: weights of a toy in a scheme of 2023. `combined`: llama's projections stay joined, as later that
  // year.
  Folder2023(const std::string& today, const Json& config, bool combined = false)
      : shards_(Shards::open(today).value()), config_(config), combined_(combined) {
    const bool neox = config.at("model_type") == "gpt_neox";
    matrix(neox ? "gpt_neox.embed_in." : "model.embed_tokens.");
    for (int64_t l = 0; l < config.at("num_hidden_layers").get<int64_t>(); ++l)
      neox ? neox_layer(str("gpt_neox.layers.", l, ".")) : llama_layer(str("model.layers.", l, "."));
    vector(neox ? "gpt_neox.final_layer_norm.weight" : "model.norm.weight", neox);
    if (neox) vector("gpt_neox.final_layer_norm.bias", true);
    matrix(neox ? "embed_out." : "lm_head.", neox);
    if (neox || combined) return;
    const int64_t head =
        config.at("hidden_size").get<int64_t>() / config.at("num_attention_heads").get<int64_t>();
    for (int i = 0; i < 2; ++i)
      records_.push_back({{2048, head}, DType::kF16, std::string(size_t(2048 * head * 2), '\1')});
  }

  // Shards whose records go from the last to the first, and the index.
  void write(const std::string& folder, const std::string& conv_template) const {
    std::vector<TensorRecord> order;
    for (size_t i = records_.size(); i-- > 0;) {
      TensorRecord t{.name = str("param_", i),
                     .shape = records_[i].shape,
                     .dtype = records_[i].dtype,
                     .format = RecordFormat::kRaw,
                     .size = static_cast<int64_t>(records_[i].bytes.size())};
      order.push_back(std::move(t));
    }
    ShardIndex index{.param_count = static_cast<int64_t>(order.size()), .shards = {}};
    for (size_t begin = 0; begin < order.size(); begin += 7) {  // as many records to a shard
      ShardRecord shard;
      shard.file = str("params_shard_", begin / 7, ".bin");
      std::string bytes;
      for (size_t i = begin; i < std::min(order.size(), begin + 7); ++i) {
        order[i].offset = static_cast<int64_t>(bytes.size());
        bytes += records_[records_.size() - 1 - i].bytes;
        shard.tensors.push_back(order[i]);
      }
      shard.size = static_cast<int64_t>(bytes.size());
      std::ofstream(folder + "/" + shard.file, std::ios::binary) << bytes;
      index.shards.push_back(std::move(shard));
    }
    std::ofstream(folder + "/ndarray-cache.json") << shard_index_text(index);
    std::ofstream(folder + "/config.json") << json_text(config_);
    std::ofstream(folder + "/mlc-chat-config.json")
        << json_text(Json{{"model_lib", "toy-q4f16_0"},
                          {"local_id", "toy"},
                          {"conv_template", conv_template},
                          {"temperature", 0.7},
                          {"repetition_penalty", 1.0},
                          {"top_p", 0.95},
                          {"mean_gen_len", 128},
                          {"shift_fill_factor", 0.3},
                          {"tokenizer_files", {"tokenizer.json"}}});
  }

 private:
  struct Record {
    std::vector<int64_t> shape;
    DType dtype;
    std::string bytes;
  };

  Record read(const std::string& name, DType as) const {
    const TensorRecord* t = shards_->find(name);
    internal_check(t != nullptr, "the folder of today has " + name);
    const std::span<const std::byte> bytes = shards_->bytes(*t);
    if (t->stored_dtype() == as)
      return {t->shape, as, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())};
    std::vector<float> values(bytes.size() / size_t(size_of(t->stored_dtype())));
    decode_floats(t->stored_dtype(), bytes.data(), values);
    Record record{t->shape, as, std::string(values.size() * size_t(size_of(as)), '\0')};
    encode_floats(as, values, reinterpret_cast<std::byte*>(record.bytes.data()));
    return record;
  }
  DType dtype_of(const std::string& name) const {
    const TensorRecord* t = shards_->find(name);
    internal_check(t != nullptr, "the folder of today has " + name);
    return t->dtype;
  }
  void vector(const std::string& name, bool f32) {
    records_.push_back(read(name, f32 ? DType::kF32 : dtype_of(name)));
  }

  std::vector<std::string> names(const std::string& weight) const {
    if (shards_->find(weight + "weight")) return {weight + "weight"};
    return {weight + "q_weight", weight + "q_scale"};
  }
  void matrix(const std::string& weight, bool f32 = false) {
    for (const std::string& name : names(weight)) {
      const DType dtype = dtype_of(name);
      records_.push_back(read(name, f32 && is_float(dtype) ? DType::kF32 : dtype));
    }
  }
  // Outputs begin .. end of `all`, along the axis of them.
  void part(const std::string& name, int64_t begin, int64_t end, int64_t all) {
    Record whole = read(name, dtype_of(name));
    const size_t axis = whole.shape[0] == all ? 0 : 1;
    const int64_t lines = axis == 0 ? 1 : whole.shape[0];
    const auto line = static_cast<int64_t>(whole.bytes.size()) / lines, one = line / all;
    Record some{whole.shape, whole.dtype, ""};
    some.shape[axis] = end - begin;
    for (int64_t l = 0; l < lines; ++l)
      some.bytes += whole.bytes.substr(size_t(l * line + begin * one), size_t((end - begin) * one));
    records_.push_back(std::move(some));
  }
  void part_of_matrix(const std::string& weight, int64_t begin, int64_t end, int64_t all) {
    for (const std::string& name : names(weight)) part(name, begin, end, all);
  }
  int64_t size(const char* key) const { return config_.at(key).get<int64_t>(); }

  void neox_layer(const std::string& layer) {
    for (const char* norm : {"input_layernorm.", "post_attention_layernorm."})
      for (const char* what : {"weight", "bias"}) vector(layer + norm + what, true);
    const int64_t n = size("hidden_size");
    const std::string qkv = layer + "attention.query_key_value.";
    for (int64_t i = 0; i < 3; ++i)
      part_of_matrix(qkv, i * n, (i + 1) * n, 3 * n), part(qkv + "bias", i * n, (i + 1) * n, 3 * n);
    for (const char* name : {"attention.dense.", "mlp.dense_h_to_4h.", "mlp.dense_4h_to_h."})
      matrix(layer + name), vector(layer + name + "bias", std::string(name) != "attention.dense.");
  }
  void llama_layer(const std::string& layer) {
    const int64_t q = size("hidden_size"), inner = size("intermediate_size"),
                  kv = q / size("num_attention_heads") * size("num_key_value_heads"), all = q + 2 * kv;
    const std::string qkv = layer + "self_attn.qkv_proj.", both = layer + "mlp.gate_up_proj.";
    if (combined_) {
      matrix(qkv), matrix(layer + "self_attn.o_proj."), matrix(both), matrix(layer + "mlp.down_proj.");
    } else {
      part_of_matrix(qkv, 0, q, all), part_of_matrix(qkv, q, q + kv, all),
          part_of_matrix(qkv, q + kv, all, all);
      matrix(layer + "self_attn.o_proj.");
      part_of_matrix(both, 0, inner, 2 * inner);
      matrix(layer + "mlp.down_proj.");
      part_of_matrix(both, inner, 2 * inner, 2 * inner);
    }
    vector(layer + "input_layernorm.weight", false), vector(layer + "post_attention_layernorm.weight", false);
  }

  std::unique_ptr<Shards> shards_;
  Json config_;
  bool combined_;
  std::vector<Record> records_;
};

}  // namespace mlc::testing
