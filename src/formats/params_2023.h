// The weights of folders that the original's build.py made in 2023: records param_0, param_1, ... whose place
// alone says what they are. They become today's records: named, with projections of one input joined.
//
// The order is that in which the model's modules were declared (mlc-ai/mlc-llm of June 2023; samples/ holds
// an index of such a folder), each quantized weight as codes, then scales, of linears as transposes or not by
// the code:
//   gpt_neox: embedding; of each layer the norm before attention (weight, bias), that before the
//   feed-forward, q, k, v,
//             output, feed-forward in and out, each weight then bias; last norm (weight, bias); final linear,
//             float32 under every code
//   llama:    embedding; of each layer q, k, v, output, gate, down, up (later in 2023: qkv, output, gate and
//   up,
//             down), both norms; last norm; final linear; cosines and sines [positions, head size], until
//             they went
// Records lie in the shards in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "formats/shards.h"

namespace mlc {

// One of today's records, and what it is made of.
struct JoinedRecord {
  TensorRecord record;             // raw; the offset means nothing
  std::vector<std::string> parts;  // of the folder's index, joined along `axis`
  int axis = 0;
  bool is_cast = false;  // a part has another float dtype than the record
};

struct Params2023 {
  std::string model_type;    // "gpt_neox" or "llama"
  std::string quantization;  // today's name of the code
  int64_t vocab = 0, hidden = 0, inner = 0, layers = 0;
  int64_t key_rows = 0;  // outputs of the keys' projection; 0: not told
  int64_t head_dim = 0;  // 0: not told
  std::vector<JoinedRecord> records;
};

// Whether all records are called param_0, param_1, ... without a gap.
bool is_2023(const ShardIndex& index);
// Errors name the index and the first record that is not what the order of either model says.
Result<Params2023> read_params_2023(const ShardIndex& index, const std::string& what);

// The bytes of a record; `part` gives those of the folder's.
std::vector<std::byte> join_2023(const JoinedRecord& joined, const ShardIndex& index,
                                 const std::function<std::span<const std::byte>(const TensorRecord&)>& part);

}  // namespace mlc
