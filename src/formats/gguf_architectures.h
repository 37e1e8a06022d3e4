// The table row behind gguf_names.h: one architecture of GGUF in Hugging Face's words.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "formats/gguf.h"
#include "formats/gguf_names.h"

namespace mlc {

struct GgufNameRow {
  std::string_view gguf, hugging_face;  // without ".weight" or ".bias"
  RowOrder::Kind kind = RowOrder::Kind::kSame;
  bool kv_heads = false;  // rows are heads of K and V, not of Q
};

struct GgufArchitecture {
  std::string_view name;                    // general.architecture, and the prefix of its metadata keys
  std::string_view model_type, class_name;  // of config.json
  std::string_view layer_prefix;            // of Hugging Face's names, before the layer's number
  std::span<const GgufNameRow> top, layer;  // whole names; names after "blk.N."
};

Result<const GgufArchitecture*> find_gguf_architecture(const Gguf& gguf, const std::string& what);

// attention.head_count or attention.head_count_kv (which defaults to the former): 1 to 65,536, the same in
// every layer.
Result<int64_t> gguf_head_count(const Gguf& gguf, const GgufArchitecture& arch, bool kv,
                                const std::string& what);

}  // namespace mlc
