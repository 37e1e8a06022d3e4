// Layout and text of shard indices, and the mapped shards themselves.
#include "formats/shards.h"

#include <charconv>

#include "base/platform/platform.h"
#include "base/strings.h"
#include "formats/checked.h"
#include "formats/params_2023.h"

namespace mlc {
namespace {

constexpr int64_t kShardCap = 32 << 20;  // 33,554,432 bytes

std::string_view format_name(RecordFormat format) {
  return format == RecordFormat::kRaw ? "raw" : "f32-to-bf16";
}

// As Python prints a float: shortest digits that read back the same, and ".0" after a whole number.
std::string float_text(double value) { return json_text(value); }

void append_field(std::string& text, int indent, std::string_view key, const std::string& value,
                  bool last = false) {
  text.append(static_cast<size_t>(indent), ' ');
  text += str("\"", key, "\": ", value, last ? "\n" : ",\n");
}

std::string quoted(const std::string& text) { return json_text(text, -1, true); }

void append_tensor(std::string& text, const TensorRecord& t, bool last) {
  text += "                {\n";
  append_field(text, 20, "name", quoted(t.name));
  std::string shape = "[";
  for (size_t i = 0; i < t.shape.size(); ++i)
    shape += str(i == 0 ? "\n" : ",\n", std::string(24, ' '), t.shape[i]);
  shape += t.shape.empty() ? "]" : "\n" + std::string(20, ' ') + "]";
  append_field(text, 20, "shape", shape);
  append_field(text, 20, "dtype", quoted(std::string(long_name(t.dtype))));
  append_field(text, 20, "format", quoted(std::string(format_name(t.format))));
  append_field(text, 20, "nbytes", std::to_string(t.size));
  append_field(text, 20, "byteOffset", std::to_string(t.offset), true);
  text += last ? "                }\n" : "                },\n";
}

// Holds a flag while it lives, as a lock of a mutex does; not every library has mutexes where we run.
class Held {
 public:
  explicit Held(std::atomic_flag& flag) : flag_(flag) {
    while (flag_.test_and_set(std::memory_order_acquire)) flag_.wait(true);
  }
  ~Held() {
    flag_.clear(std::memory_order_release);
    flag_.notify_one();
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  std::atomic_flag& flag_;
};

}  // namespace

Result<int64_t> stored_size(const TensorRecord& tensor, const std::string& what) {
  auto count = element_count(tensor.shape);
  auto size =
      count ? checked_multiply(*count, static_cast<uint64_t>(size_of(tensor.stored_dtype()))) : std::nullopt;
  if (!size || *size > INT64_MAX)
    return Status::error(str(what, ": tensor ", shown_name(tensor.name), " has the impossible shape ",
                             shown_shape(tensor.shape)));
  return static_cast<int64_t>(*size);
}

std::vector<ShardRecord> lay_out_shards(std::vector<TensorRecord> tensors) {
  std::vector<ShardRecord> shards;
  ShardRecord pending;
  auto flush = [&](ShardRecord shard) {
    shard.file = str("params_shard_", shards.size(), ".bin");
    shards.push_back(std::move(shard));
  };
  for (TensorRecord& tensor : tensors) {
    if (pending.size + tensor.size >= kShardCap) {
      if (2 * tensor.size >= kShardCap) {
        tensor.offset = 0;
        ShardRecord alone;
        alone.size = tensor.size;
        alone.tensors.push_back(std::move(tensor));
        flush(std::move(alone));
        continue;
      }
      flush(std::move(pending));
      pending = {};
    }
    tensor.offset = pending.size;
    pending.size += tensor.size;
    pending.tensors.push_back(std::move(tensor));
  }
  if (!pending.tensors.empty()) flush(std::move(pending));
  return shards;
}

std::string shard_index_text(const ShardIndex& index) {
  std::string text = "{\n    \"metadata\": {\n";
  bool old = index.param_bytes < 0;
  append_field(text, 8, "ParamSize", std::to_string(index.param_count), old);
  if (!old) {
    append_field(text, 8, "ParamBytes", float_text(index.param_bytes));
    append_field(text, 8, "BitsPerParam", float_text(index.bits_per_param), true);
  }
  text += index.shards.empty() ? "    },\n    \"records\": []\n}" : "    },\n    \"records\": [\n";
  if (index.shards.empty()) return text;
  for (size_t s = 0; s < index.shards.size(); ++s) {
    const ShardRecord& shard = index.shards[s];
    text += "        {\n";
    append_field(text, 12, "dataPath", quoted(shard.file));
    append_field(text, 12, "format", "\"raw-shard\"");
    append_field(text, 12, "nbytes", std::to_string(shard.size));
    text += shard.tensors.empty() ? "            \"records\": [" : "            \"records\": [\n";
    for (size_t t = 0; t < shard.tensors.size(); ++t)
      append_tensor(text, shard.tensors[t], t + 1 == shard.tensors.size());
    text += shard.tensors.empty() ? "]" : "            ]";
    text += shard.md5.empty() ? "\n" : str(",\n            \"md5sum\": \"", shard.md5, "\"\n");
    text += s + 1 == index.shards.size() ? "        }\n" : "        },\n";
  }
  return text + "    ]\n}";
}

ShardIndex bf16_twin(const ShardIndex& index, bool& needed) {
  ShardIndex twin = index;
  needed = false;
  for (ShardRecord& shard : twin.shards)
    for (TensorRecord& tensor : shard.tensors)
      if (tensor.stored_dtype() != tensor.dtype) {
        tensor.dtype = DType::kBF16;
        tensor.format = RecordFormat::kRaw;
        needed = true;
      }
  return twin;
}

Status write_shard_index(const std::string& folder, const ShardIndex& index) {
  bool needed = false;
  std::string text = shard_index_text(index), twin_text = shard_index_text(bf16_twin(index, needed));
  for (std::string name : {kTensorCacheFile, kNdarrayCacheFile}) {
    std::string path = path_join(folder, name),
                twin = path_join(folder, name.substr(0, name.size() - 5) + "-b16.json");
    if (needed) {
      RETURN_IF_ERROR(write_file(twin, twin_text));
    } else if (file_exists(twin)) {
      platform::remove_file(twin.c_str());
    }
    RETURN_IF_ERROR(write_file(path, text));
  }
  return Status::ok();
}

Result<std::string> find_shard_index(const std::string& folder) {
  for (const std::string& place : {folder, path_join(folder, "params")})
    for (const char* name : {kTensorCacheFile, kNdarrayCacheFile})
      if (std::string path = path_join(place, name); file_exists(path)) return path;
  return Status::error(str(folder, ": holds neither ", kTensorCacheFile, " nor ", kNdarrayCacheFile,
                           "; expected a folder written by convert_weight"));
}

Result<std::unique_ptr<Shards>> Shards::open(const std::string& folder, bool map) {
  ASSIGN_OR_RETURN(std::string path, find_shard_index(folder));
  ASSIGN_OR_RETURN(std::string text, read_file(path));
  auto shards = std::make_unique<Shards>();
  ASSIGN_OR_RETURN(shards->index_, parse_shard_index(text, path));
  shards->path_ = path;
  std::string place = path.substr(0, path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1);
  for (size_t s = 0; s < shards->index_.shards.size(); ++s) {
    const ShardRecord& shard = shards->index_.shards[s];
    std::string shard_path = path_join(place, shard.file);
    if (!file_exists(shard_path))
      return Status::error(
          str(path, ": shard ", shard.file, " is not beside the index; was the download interrupted?"));
    RETURN_IF_ERROR(shards->open_file(shard, shard_path, map));
    for (size_t t = 0; t < shard.tensors.size(); ++t) shards->places_[shard.tensors[t].name] = {s, t};
  }
  if (is_2023(shards->index_)) RETURN_IF_ERROR(shards->name_2023());
  return shards;
}

Shards::Shards() = default;
Shards::~Shards() {
  for (const File& file : files_)
    if (file.open != platform::kNoFile) platform::close_file(file.open);
}

Status Shards::open_file(const ShardRecord& shard, const std::string& path, bool map) {
  File& file = files_.emplace_back(path);
  int64_t bytes = 0;
  if (map) {
    ASSIGN_OR_RETURN(file.map, MappedFile::open(path));
    bytes = static_cast<int64_t>(file.map->bytes().size());
  } else {
    RETURN_IF_ERROR(open_regular_file(path, file.open));
    bytes = platform::file_state(file.open).bytes;
  }
  if (bytes == shard.size) return Status::ok();
  return Status::error(str(path, ": has ", bytes, " bytes, the index says ", shard.size,
                           "; was the download or conversion interrupted?"));
}

// One shard of no file stands for all records of today: each has its bytes by its parts.
Status Shards::name_2023() {
  ASSIGN_OR_RETURN(Params2023 params, read_params_2023(index_, path_));
  stored_ = std::move(index_);
  index_ = {.param_count = static_cast<int64_t>(params.records.size()), .shards = {ShardRecord{}}};
  ShardRecord& all = index_.shards[0];
  for (JoinedRecord& joined : params.records) {
    all.size += joined.record.size;
    all.tensors.push_back(joined.record);
    joined_[joined.record.name] = std::move(joined);
  }
  return Status::ok();
}

const TensorRecord* Shards::find(std::string_view name) const {
  if (!joined_.empty()) {
    auto it = joined_.find(name);
    return it == joined_.end() ? nullptr : &it->second.record;
  }
  auto it = places_.find(name);
  return it == places_.end() ? nullptr : &index_.shards[it->second.shard].tensors[it->second.tensor];
}

const Shards::Place& Shards::place(const std::string& name) const {
  auto it = places_.find(name);
  internal_check(it != places_.end(), "a tensor of another index");
  return it->second;
}

std::span<const std::byte> Shards::mapped(size_t shard, const TensorRecord& tensor) const {
  internal_check(files_[shard].map != nullptr, "the shards are not mapped");
  return files_[shard].map->bytes().subspan(static_cast<size_t>(tensor.offset),
                                            static_cast<size_t>(tensor.size));
}

std::span<const std::byte> Shards::bytes(const TensorRecord& tensor) const {
  if (auto it = joined_.find(tensor.name); it != joined_.end()) return joined_bytes(it->second);
  return mapped(place(tensor.name).shard, tensor);
}

std::span<const std::byte> Shards::joined_bytes(const JoinedRecord& joined) const {
  auto stored = [&](const TensorRecord& part) { return mapped(place(part.name).shard, part); };
  if (joined.parts.size() == 1 && !joined.is_cast) {
    const Place& at = place(joined.parts[0]);
    return stored(stored_.shards[at.shard].tensors[at.tensor]);
  }
  Held held(making_);
  std::vector<std::byte>& made = made_[joined.record.name];
  if (made.empty()) made = join_2023(joined, stored_, stored);
  return made;
}

Result<std::span<const std::byte>> Shards::read(const TensorRecord& tensor,
                                                std::vector<std::byte>& storage) const {
  if (!files_.empty() && files_[0].map) return bytes(tensor);
  if (auto it = joined_.find(tensor.name); it != joined_.end()) return read_joined(it->second, storage);
  return read_range(place(tensor.name).shard, tensor, storage);
}

Result<std::span<const std::byte>> Shards::read_range(size_t shard, const TensorRecord& tensor,
                                                      std::vector<std::byte>& storage) const {
  const File& file = files_[shard];
  if (static_cast<uint64_t>(tensor.size) > PTRDIFF_MAX)
    return Status::error(str(file.path, ": tensor ", tensor.name, " has ", tensor.size,
                             " bytes, more than this system has addresses for"));
  storage.resize(static_cast<size_t>(tensor.size));
  for (std::span<std::byte> left = storage; !left.empty();) {
    const int64_t n = platform::read_bytes(file.open, left,
                                           tensor.offset + tensor.size - static_cast<int64_t>(left.size()));
    if (n <= 0)
      return Status::error(str(file.path, ": cannot read tensor ", tensor.name, ": ",
                               n < 0 ? platform::last_error() : "the file has become shorter"));
    left = left.subspan(static_cast<size_t>(n));
  }
  return std::span<const std::byte>(storage);
}

// One file's part after the other, then all of them as one.
Result<std::span<const std::byte>> Shards::read_joined(const JoinedRecord& joined,
                                                       std::vector<std::byte>& storage) const {
  std::map<std::string, std::vector<std::byte>> parts;
  for (const std::string& name : joined.parts) {
    const Place& at = place(name);
    RETURN_IF_ERROR(read_range(at.shard, stored_.shards[at.shard].tensors[at.tensor], parts[name]).status());
  }
  if (joined.parts.size() == 1 && !joined.is_cast)
    storage = std::move(parts[joined.parts[0]]);
  else
    storage = join_2023(joined, stored_, [&](const TensorRecord& part) {
      return std::span<const std::byte>(parts[part.name]);
    });
  return std::span<const std::byte>(storage);
}

void Shards::release(const TensorRecord& tensor) const {
  auto give_back = [&](const Place& at, const TensorRecord& t) {
    if (const File& file = files_[at.shard]; file.map)
      file.map->release(static_cast<size_t>(t.offset), static_cast<size_t>(t.size));
  };
  auto it = joined_.find(tensor.name);
  if (it == joined_.end()) return give_back(place(tensor.name), tensor);
  for (const std::string& part : it->second.parts) {
    const Place& at = place(part);
    give_back(at, stored_.shards[at.shard].tensors[at.tensor]);
  }
  Held held(making_);
  made_.erase(tensor.name);
}

}  // namespace mlc
