// A folder of converted weights: the index (tensor-cache.json, before 2025-09 ndarray-cache.json) and the
// shards it lists.
//
// Layout of the index (JSON, indent 4, no newline at the end; mlc-facts 2.2):
//   1. {"metadata": {"ParamSize": count, "ParamBytes": float, "BitsPerParam": float},   2023: ParamSize only
//   2.  "records": [{"dataPath": FILE, "format": "raw-shard", "nbytes": bytes of FILE,
//   3.               "records": [{"name", "shape", "dtype", "format", "nbytes", "byteOffset"}...],
//   4.               "md5sum": 32 hex digits (may be absent)}...]}
// Record formats: "raw" = shape * dtype, little-endian; "f32-to-bf16" = the same, but float32 is stored as
// bfloat16. If any record is so stored, TWIN-b16.json lists those as dtype bfloat16, format raw, over the
// same shards.
//
// Refused by the reader, each in one sentence with file, shard or tensor, found and expected: any other form;
// a dataPath that is not a plain file name; names, or files, listed twice; unknown dtypes and formats; sizes
// that are not shape * dtype; records outside their shard or overlapping; shards whose file has another size;
// more than 2^20 records.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/file.h"
#include "base/json.h"
#include "base/platform/platform.h"
#include "base/status.h"

namespace mlc {

constexpr const char* kTensorCacheFile = "tensor-cache.json";    // since 2025-09
constexpr const char* kNdarrayCacheFile = "ndarray-cache.json";  // the same content under its name before

enum class RecordFormat : uint8_t { kRaw, kF32ToBF16 };

struct TensorRecord {
  std::string name;
  std::vector<int64_t> shape;  // outermost first
  DType dtype = DType::kF32;   // of the decoded tensor
  RecordFormat format = RecordFormat::kF32ToBF16;
  int64_t size = 0;    // bytes in the shard
  int64_t offset = 0;  // from the start of the shard

  // The dtype of the bytes in the shard.
  DType stored_dtype() const {
    return format == RecordFormat::kF32ToBF16 && dtype == DType::kF32 ? DType::kBF16 : dtype;
  }
};

struct ShardRecord {
  std::string file;  // plain name, beside the index
  int64_t size = 0;  // bytes
  std::string md5;   // 32 hex digits, "" when not known
  std::vector<TensorRecord> tensors;
};

struct ShardIndex {
  // The `metadata` object. param_bytes counts decoded dtypes; the last two are absent (negative) in 2023
  // files.
  int64_t param_count = 0;
  double param_bytes = -1, bits_per_param = -1;
  std::vector<ShardRecord> shards;
};

// Bytes that a tensor takes in a shard; an error when its shape is absurd.
Result<int64_t> stored_size(const TensorRecord& tensor, const std::string& what);

// Cuts tensors (size set, in arrival order) into params_shard_{i}.bin files by the original's rule with its
// cap of 32 MiB (mlc-facts 2.4): a tensor that would reach the cap and is at least half of it goes alone into
// the next file at once, ahead of what is pending; else the pending file is closed first. Sets offsets.
std::vector<ShardRecord> lay_out_shards(std::vector<TensorRecord> tensors);

// The text of the index, byte for byte as the original writes it.
std::string shard_index_text(const ShardIndex& index);
// The -b16 twin: float32 records stored as bfloat16 appear as that; `needed` = there are any.
ShardIndex bf16_twin(const ShardIndex& index, bool& needed);
// Writes both index names, and both twins if needed, each complete or not at all; stale twins are removed.
Status write_shard_index(const std::string& folder, const ShardIndex& index);

Result<ShardIndex> parse_shard_index(std::string_view text, const std::string& what);

// The path of the index in a folder: tensor-cache.json, else ndarray-cache.json, also in FOLDER/params
// (2023); an error says what was looked for.
Result<std::string> find_shard_index(const std::string& folder);

struct JoinedRecord;  // formats/params_2023.h

// The weights of a folder, mapped, or read range by range where mappings are copies (WebAssembly). Tensors
// are found by name. Those of a folder of 2023 (param_0, ...) have
// today's names; what is joined of several is made in memory when it is asked for, until it is released.
class Shards {
 public:
  static Result<std::unique_ptr<Shards>> open(const std::string& folder, bool map = platform::maps_files());
  Shards();
  ~Shards();
  Shards(const Shards&) = delete;
  Shards& operator=(const Shards&) = delete;

  const ShardIndex& index() const { return index_; }
  const std::string& path() const { return path_; }  // of the index
  // nullptr when absent.
  const TensorRecord* find(std::string_view name) const;
  // The stored bytes of a tensor of this index; valid as long as this object, joined ones until released.
  // Precondition: mapped.
  std::span<const std::byte> bytes(const TensorRecord& tensor) const;
  // The same, mapped or not; valid as long as `storage` is as it was left, too. Errors: the file cannot be
  // read, or no longer holds the range.
  Result<std::span<const std::byte>> read(const TensorRecord& tensor, std::vector<std::byte>& storage) const;
  // The tensor's pages will not be needed again soon.
  void release(const TensorRecord& tensor) const;

 private:
  struct Place {
    size_t shard, tensor;
  };
  // A shard's file: its mapping, or the file itself.
  struct File {
    std::string path;
    std::shared_ptr<const MappedFile> map;
    platform::File open = platform::kNoFile;
  };
  std::string path_;
  ShardIndex index_;
  Status open_file(const ShardRecord& shard, const std::string& path, bool map);
  std::span<const std::byte> mapped(size_t shard, const TensorRecord& tensor) const;
  Result<std::span<const std::byte>> read_range(size_t shard, const TensorRecord& tensor,
                                                std::vector<std::byte>& storage) const;
  Result<std::span<const std::byte>> read_joined(const JoinedRecord& joined,
                                                 std::vector<std::byte>& storage) const;
  Status name_2023();
  const Place& place(const std::string& name) const;
  std::span<const std::byte> joined_bytes(const JoinedRecord& joined) const;

  std::vector<File> files_;
  std::map<std::string, Place, std::less<>> places_;
  // Of a folder of 2023: its own index, and what of this one is made of its records.
  ShardIndex stored_;
  std::map<std::string, JoinedRecord, std::less<>> joined_;
  mutable std::map<std::string, std::vector<std::byte>, std::less<>> made_;
  mutable std::atomic_flag making_;  // held by who changes made_
};

}  // namespace mlc
