// Finds out what model it is from the first records, then walks all in their order.
#include "formats/params_2023.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/strings.h"
#include "formats/checked.h"
#include "formats/quant/plain.h"

namespace mlc {
namespace {

std::map<std::string, const TensorRecord*, std::less<>> records_by_name(const ShardIndex& index) {
  std::map<std::string, const TensorRecord*, std::less<>> records;
  for (const ShardRecord& shard : index.shards)
    for (const TensorRecord& t : shard.tensors) records[t.name] = &t;
  return records;
}

bool is_code(const TensorRecord& t) { return t.dtype == DType::kU32 || t.dtype == DType::kU16; }

class Walk {
 public:
  Walk(const ShardIndex& index, const std::string& what) : what_(what) {
    const auto by_name = records_by_name(index);
    for (size_t i = 0; i < by_name.size(); ++i) order_.push_back(by_name.at(str("param_", i)));
  }

  Result<Params2023> run() {
    RETURN_IF_ERROR(find_model());
    RETURN_IF_ERROR(matrix(neox_ ? "gpt_neox.embed_in." : "model.embed_tokens.", 0));
    for (int64_t l = 0; l < result_.layers; ++l)
      RETURN_IF_ERROR(neox_ ? neox_layer(str("gpt_neox.layers.", l, "."))
                            : llama_layer(str("model.layers.", l, ".")));
    RETURN_IF_ERROR(vector(neox_ ? "gpt_neox.final_layer_norm.weight" : "model.norm.weight"));
    if (neox_) RETURN_IF_ERROR(vector("gpt_neox.final_layer_norm.bias"));
    RETURN_IF_ERROR(matrix(neox_ ? "embed_out." : "lm_head."));
    for (size_t tables = 0; tables < 2 && at_ < order_.size(); ++tables, ++at_) {
      if (order_[at_]->shape.size() != 2) return wrong("a table of rotations");
      result_.head_dim = order_[at_]->shape[1];
    }
    return std::move(result_);
  }

 private:
  Status wrong(const std::string& expected) const {
    if (at_ >= order_.size()) return Status::error(str(what_, ": ends before ", expected));
    const TensorRecord& t = *order_[at_];
    return Status::error(str(what_, ": tensor ", t.name, " is ", long_name(t.dtype), " ",
                             shown_shape(t.shape), ", expected ", expected,
                             " by the order of 2023's build.py"));
  }

  // Family, code and layers.
  Status find_model() {
    if (order_.size() < 10 || order_[0]->shape.size() != 2)
      return wrong("an embedding, layers and a final linear");
    const int64_t count = static_cast<int64_t>(order_.size()), embedding = is_code(*order_[0]) ? 2 : 1;
    neox_ = order_[size_t(embedding)]->shape.size() == 1;
    result_.model_type = neox_ ? "gpt_neox" : "llama";
    result_.vocab = order_[0]->shape[0];
    at_ = static_cast<size_t>(embedding + (neox_ ? 4 : 0));
    const int64_t linear = is_code(*order_[at_]) ? 2 : 1;
    RETURN_IF_ERROR(find_code(*order_[at_], *order_[at_ + 1], embedding == 2));
    at_ = 0;
    if (neox_) {
      result_.hidden = order_[size_t(embedding)]->shape[0];
      return count_layers(count - embedding, 4 + 6 * (linear + 1), {2 + embedding});
    }
    const auto norm =
        std::ranges::find_if(order_, [](const TensorRecord* t) { return t->shape.size() == 1; });
    const int64_t before = norm - order_.begin() - embedding;
    combined_ = before == 4 * linear;
    if (norm == order_.end() || (!combined_ && before != 7 * linear)) return wrong("the layers of a llama");
    result_.hidden = (*norm)->shape[0];
    return count_layers(count - embedding, before + 2, {1 + embedding, 3 + embedding});
  }

  // Of the first linear. The axis that codes and scales have in common is that of the outputs.
  Status find_code(const TensorRecord& codes, const TensorRecord& scales, bool embedding) {
    std::string& name = result_.quantization;
    if (!is_code(codes)) {
      if (codes.shape.size() != 2 || !is_float(codes.dtype)) return wrong("a linear");
      name = order_[0]->dtype == DType::kF32 ? "q0f32" : "q0f16";
    } else {
      if (codes.shape.size() != 2 || scales.shape.size() != 2) return wrong("codes and their scales");
      transposed_ = codes.shape[1] == scales.shape[1];
      const size_t inputs = transposed_ ? 0 : 1;
      const int64_t words = codes.shape[inputs] / std::max<int64_t>(1, scales.shape[inputs]);
      const bool pairs = scales.dtype == DType::kU32, half = scales.dtype == DType::kF16;
      const char* order = transposed_ ? "0" : "1";
      if (codes.dtype == DType::kU16 && words == 8 && half && embedding) name = str("q3f16_", order, "_2023");
      if (codes.dtype == DType::kU32 && words == 4 && half && embedding) name = str("q4f16_", order, "_2023");
      if (codes.dtype == DType::kU32 && words == 4 && half && !embedding && !transposed_) name = "q4f16_2";
      if (codes.dtype == DType::kU32 && words == 4 && pairs && embedding)
        name = transposed_ ? "q4f32_0" : "q4f32_1_2023";
      if (codes.dtype == DType::kU32 && words == 8 && half && embedding && !transposed_) name = "q8f16_1";
    }
    if (name.empty()) return wrong("codes of q3f16, q4f16, q4f32 or q8f16_1");
    model_dtype_ = name.find("f32") == name.npos ? DType::kF16 : DType::kF32;
    return Status::ok();
  }

  Status count_layers(int64_t rest, int64_t each, const std::vector<int64_t>& tails) {
    for (int64_t tail : tails)
      if (rest > tail && (rest - tail) % each == 0) {
        result_.layers = (rest - tail) / each;
        return Status::ok();
      }
    return Status::error(str(what_, ": holds ", order_.size(), " weights, which are no whole layers of a ",
                             result_.model_type, " of 2023"));
  }

  // The record at `at`, of so many axes, codes or floats.
  bool is(size_t at, size_t axes, bool code) const {
    return at < order_.size() && order_[at]->shape.size() == axes &&
           (code ? is_code(*order_[at]) : is_float(order_[at]->dtype) || order_[at]->dtype == DType::kU32);
  }

  Status add(std::string name, const std::vector<size_t>& parts, size_t axis, DType dtype) {
    JoinedRecord joined;
    TensorRecord& r = joined.record;
    r = *order_[parts[0]];
    r.name = std::move(name), r.format = RecordFormat::kRaw, r.offset = 0, r.dtype = dtype;
    r.shape[axis] = 0, r.size = size_of(dtype);
    for (size_t part : parts) {
      const TensorRecord& t = *order_[part];
      at_ = part;
      for (size_t i = 0; i < r.shape.size(); ++i)
        if (t.dtype != order_[parts[0]]->dtype || (i != axis && t.shape[i] != r.shape[i]))
          return wrong(r.name);
      if (t.dtype != dtype && !(is_float(t.dtype) && is_float(dtype))) return wrong(r.name);
      r.shape[axis] += t.shape[axis];
      joined.parts.push_back(t.name);
      joined.is_cast |= t.dtype != dtype;
    }
    for (int64_t dim : r.shape) r.size *= dim;
    joined.axis = static_cast<int>(axis);
    result_.records.push_back(std::move(joined));
    return Status::ok();
  }

  // Weights whose records begin at `at` as one, "NAME.weight" or its codes and scales.
  Status join(const std::string& name, const std::vector<size_t>& at, size_t axis) {
    const bool code = is(at[0], 2, true);
    std::vector<size_t> scales;
    for (size_t i : at) {
      at_ = i;
      if (!is(i, 2, code) || (code && !is(i + 1, 2, false))) return wrong(name + "weight");
      if (code && order_[i]->shape[axis] != order_[i + 1]->shape[axis])
        return wrong(str(name, "q_weight with ", order_[i + 1]->shape[axis], " outputs as its scales have"));
      scales.push_back(i + 1);
    }
    if (!code) return add(name + "weight", at, 0, model_dtype_);
    RETURN_IF_ERROR(add(name + "q_weight", at, axis, order_[at[0]]->dtype));
    const bool pairs = order_[scales[0]]->dtype == DType::kU32;
    return add(name + "q_scale", scales, axis, pairs ? DType::kU32 : model_dtype_);
  }
  size_t records_at(size_t at) const { return at < order_.size() && is_code(*order_[at]) ? 2 : 1; }
  size_t outputs() const { return transposed_ ? 1 : 0; }

  Status matrix(const std::string& name) { return matrix(name, outputs()); }
  Status matrix(const std::string& name, size_t axis) {
    const size_t at = at_;
    RETURN_IF_ERROR(join(name, {at}, axis));
    at_ = at + records_at(at);
    return Status::ok();
  }
  Status vectors(const std::string& name, const std::vector<size_t>& at, DType dtype) {
    for (size_t i : at) {
      at_ = i;
      if (!is(i, 1, false)) return wrong(name);
    }
    RETURN_IF_ERROR(add(name, at, 0, dtype));
    at_ = at.back() + 1;
    return Status::ok();
  }
  Status vector(const std::string& name) { return vectors(name, {at_}, model_dtype_); }

  Status neox_layer(const std::string& layer) {
    for (const char* norm : {"input_layernorm.", "post_attention_layernorm."})
      for (const char* what : {"weight", "bias"}) RETURN_IF_ERROR(vector(layer + norm + what));
    const size_t first = at_, step = records_at(first) + 1;
    const std::string attention = layer + "attention.query_key_value.";
    RETURN_IF_ERROR(join(attention, {first, first + step, first + 2 * step}, outputs()));
    RETURN_IF_ERROR(vectors(attention + "bias",
                            {first + step - 1, first + 2 * step - 1, first + 3 * step - 1}, model_dtype_));
    for (const char* name : {"attention.dense.", "mlp.dense_h_to_4h.", "mlp.dense_4h_to_h."}) {
      RETURN_IF_ERROR(matrix(layer + name));
      const bool inner = std::strcmp(name, "attention.dense.") != 0;
      RETURN_IF_ERROR(vectors(layer + name + "bias", {at_}, inner ? DType::kF32 : model_dtype_));
      if (std::strcmp(name, "mlp.dense_h_to_4h.") == 0) result_.inner = order_[at_ - 1]->shape[0];
    }
    return Status::ok();
  }

  Status llama_layer(const std::string& layer) {
    const size_t step = records_at(at_);
    // Of so many weights one, and on behind the last of them.
    auto joined = [&](const std::string& name, std::vector<size_t> at, size_t next) {
      const Status status = join(layer + name, at, outputs());
      if (status.is_ok()) at_ = next;
      return status;
    };
    const size_t first = at_;
    const std::string qkv = "self_attn.qkv_proj.", output = "self_attn.o_proj.", both = "mlp.gate_up_proj.";
    if (combined_) {
      for (const std::string& name : {qkv, output, both, std::string("mlp.down_proj.")})
        RETURN_IF_ERROR(matrix(layer + name));
      result_.inner = outputs_of(first + 2 * step) / 2;
      result_.key_rows = (outputs_of(first) - result_.hidden) / 2;
    } else {
      RETURN_IF_ERROR(joined(qkv, {first, first + step, first + 2 * step}, first + 3 * step));
      RETURN_IF_ERROR(matrix(layer + output));
      RETURN_IF_ERROR(joined(both, {first + 4 * step, first + 6 * step}, first + 5 * step));
      RETURN_IF_ERROR(matrix(layer + "mlp.down_proj."));
      at_ = first + 7 * step;
      result_.inner = outputs_of(first + 4 * step), result_.key_rows = outputs_of(first + step);
    }
    RETURN_IF_ERROR(vector(layer + "input_layernorm.weight"));
    return vector(layer + "post_attention_layernorm.weight");
  }
  int64_t outputs_of(size_t at) const { return order_[at]->shape[is_code(*order_[at]) ? outputs() : 0]; }

  const std::string& what_;
  std::vector<const TensorRecord*> order_;
  size_t at_ = 0;
  bool neox_ = false, combined_ = false, transposed_ = false;
  DType model_dtype_ = DType::kF16;
  Params2023 result_;
};

}  // namespace

bool is_2023(const ShardIndex& index) {
  const auto by_name = records_by_name(index);
  for (size_t i = 0; i < by_name.size(); ++i)
    if (!by_name.contains(str("param_", i))) return false;
  return !by_name.empty();
}

Result<Params2023> read_params_2023(const ShardIndex& index, const std::string& what) {
  return Walk(index, what).run();
}

std::vector<std::byte> join_2023(const JoinedRecord& joined, const ShardIndex& index,
                                 const std::function<std::span<const std::byte>(const TensorRecord&)>& part) {
  const auto by_name = records_by_name(index);
  const DType to = joined.record.dtype;
  std::vector<std::byte> bytes(static_cast<size_t>(joined.record.size));
  // Of the axes before the joined one, all; each line of a part goes behind those of the parts before it.
  int64_t lines = 1;
  for (int i = 0; i < joined.axis; ++i) lines *= joined.record.shape[static_cast<size_t>(i)];
  const auto line = bytes.size() / static_cast<size_t>(lines);
  size_t offset = 0;
  std::vector<float> values;
  for (const std::string& name : joined.parts) {
    const TensorRecord& t = *by_name.at(name);
    const std::span<const std::byte> from = part(t);
    const size_t count =
        from.size() / static_cast<size_t>(size_of(t.stored_dtype())) / static_cast<size_t>(lines);
    const size_t width = count * static_cast<size_t>(size_of(to));
    values.resize(count);
    for (size_t l = 0; l < static_cast<size_t>(lines); ++l) {
      const std::byte* source = from.data() + l * (from.size() / static_cast<size_t>(lines));
      std::byte* target = bytes.data() + l * line + offset;
      if (t.stored_dtype() == to) {
        std::memcpy(target, source, width);
      } else {
        decode_floats(t.stored_dtype(), source, values);
        encode_floats(to, values, target);
      }
    }
    offset += width;
  }
  return bytes;
}

}  // namespace mlc
