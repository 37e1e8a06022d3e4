// Opens any source checkpoint and hands out its tensors in the order that the original tool meets them.
#include "formats/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <unordered_set>

#include "base/half.h"
#include "base/strings.h"
#include "formats/checked.h"
#include "formats/safetensors.h"
#include "formats/weight_index.h"

namespace mlc {
namespace {

enum class FileKind { kIndex, kSafetensors, kTorch, kGguf, kUnknown };

FileKind file_kind(std::string_view path) {
  if (path.ends_with(".index.json")) return FileKind::kIndex;
  if (path.ends_with(".safetensors")) return FileKind::kSafetensors;
  if (path.ends_with(".bin") || path.ends_with(".pt") || path.ends_with(".pth")) return FileKind::kTorch;
  if (path.ends_with(".gguf")) return FileKind::kGguf;
  return FileKind::kUnknown;
}

// The only *.gguf in a folder; "" when there is none.
Result<std::string> find_gguf_file(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code code;
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    std::string name = it->path().filename().string();
    if (name.ends_with(".gguf")) found.push_back(name);
  }
  std::sort(found.begin(), found.end());
  if (found.size() > 1)
    return Status::error(str(folder, ": ", found.size(), " GGUF files (", found[0], ", ", found[1],
                             "...); expected one, name the file itself"));
  return found.empty() ? std::string() : path_join(folder, found[0]);
}

Result<std::string> find_in_folder(const std::string& folder, SourceFormat format) {
  struct Candidate {
    const char* name;
    SourceFormat format;
  };
  constexpr Candidate candidates[] = {
      {"pytorch_model.bin.index.json", SourceFormat::kTorch},
      {"pytorch_model.bin", SourceFormat::kTorch},
      {"model.safetensors.index.json", SourceFormat::kSafetensors},
      {"model.safetensors", SourceFormat::kSafetensors},
  };
  std::vector<std::string> tried;
  for (const Candidate& c : candidates) {
    if (format != SourceFormat::kAuto && format != c.format) continue;
    std::string path = path_join(folder, c.name);
    if (file_exists(path)) return path;
    tried.emplace_back(c.name);
  }
  if (format == SourceFormat::kAuto || format == SourceFormat::kGguf) {
    ASSIGN_OR_RETURN(std::string path, find_gguf_file(folder));
    if (!path.empty()) return path;
    tried.emplace_back("*.gguf");
  }
  return Status::error(str(folder, ": no weights; expected one of ", join(tried, ", ")));
}

int64_t product(std::span<const int64_t> shape) { return static_cast<int64_t>(*element_count(shape)); }

// Copies the elements of a strided view to C order. `source` is element 0.
void copy_strided(const std::byte* source, std::span<const int64_t> shape, std::span<const int64_t> strides,
                  size_t item, std::byte* out) {
  std::vector<int64_t> at(shape.size(), 0);
  int64_t position = 0;  // of the current element, in elements
  int64_t inner = shape.back(), inner_stride = strides.back();
  for (int64_t left = product(shape) / inner; left > 0; --left) {
    for (int64_t i = 0; i < inner; ++i, out += item)
      std::memcpy(out, source + static_cast<size_t>(position + i * inner_stride) * item, item);
    for (size_t d = shape.size() - 1; d-- > 0;) {
      position += strides[d];
      if (++at[d] < shape[d]) break;
      position -= at[d] * strides[d];
      at[d] = 0;
    }
  }
}

// bf16 at the front of a buffer sized for f32 becomes f32, back to front so that no value is overwritten
// before its turn.
void widen_bf16(std::vector<std::byte>& buffer, int64_t count) {
  for (int64_t i = count; i-- > 0;) {
    uint16_t half;
    std::memcpy(&half, buffer.data() + 2 * i, 2);
    float value = bf16_to_f32(half);
    std::memcpy(buffer.data() + 4 * i, &value, 4);
  }
}

}  // namespace

Result<SourceFormat> parse_source_format(std::string_view flag_value) {
  if (flag_value == "auto" || flag_value == "awq") return SourceFormat::kAuto;
  if (flag_value == "huggingface-torch") return SourceFormat::kTorch;
  if (flag_value == "huggingface-safetensor") return SourceFormat::kSafetensors;
  if (flag_value == "gguf") return SourceFormat::kGguf;
  std::vector<std::string> known{"auto", "huggingface-torch", "huggingface-safetensor", "awq", "gguf"};
  return Status::error(str("--source-format: ", shown_name(flag_value), " is unknown; expected one of ",
                           join(known, ", "), did_you_mean(flag_value, known)));
}

Result<std::unique_ptr<Checkpoint>> Checkpoint::open(const std::string& path, SourceFormat format) {
  std::string file = path;
  if (is_directory(path)) {
    ASSIGN_OR_RETURN(file, find_in_folder(path, format));
  } else if (!file_exists(path)) {
    return Status::error(str(path, ": no such file or folder; expected a checkpoint"));
  }
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint());
  FileKind kind = file_kind(file);
  if (kind == FileKind::kUnknown && format == SourceFormat::kGguf) kind = FileKind::kGguf;
  if (kind == FileKind::kUnknown && format == SourceFormat::kTorch) kind = FileKind::kTorch;
  if (kind == FileKind::kUnknown && format == SourceFormat::kSafetensors) kind = FileKind::kSafetensors;
  Status status;
  switch (kind) {
    case FileKind::kIndex:
      status = checkpoint->open_index(file);
      break;
    case FileKind::kSafetensors:
      status = checkpoint->open_safetensors(file, nullptr);
      break;
    case FileKind::kTorch:
      status = checkpoint->open_torch(file, nullptr);
      break;
    case FileKind::kGguf:
      status = checkpoint->open_gguf(file);
      break;
    case FileKind::kUnknown:
      return Status::error(str(
          file, ": unknown kind of checkpoint; expected *.safetensors, *.bin, *.pt, *.index.json or *.gguf"));
  }
  RETURN_IF_ERROR(status);
  if (format != SourceFormat::kAuto && format != checkpoint->format_)
    return Status::error(str(
        file, ": not of the format that --source-format asks for; leave the flag out or name another file"));
  return checkpoint;
}

Status Checkpoint::add_file(const std::string& path) {
  ASSIGN_OR_RETURN(auto map, MappedFile::open(path));
  maps_.push_back(std::move(map));
  paths_.push_back(path);
  return Status::ok();
}

Status Checkpoint::add_tensor(SourceTensor tensor, Place place) {
  tensor.file = static_cast<int>(paths_.size()) - 1;
  tensor.byte_size = product(tensor.shape) * size_of(tensor.dtype);
  if (!index_.emplace(tensor.name, static_cast<int>(tensors_.size())).second)
    return Status::error(
        str(paths_.back(), ": tensor ", shown_name(tensor.name), " stands twice in the checkpoint"));
  tensors_.push_back(std::move(tensor));
  places_.push_back(std::move(place));
  return Status::ok();
}

Status Checkpoint::open_index(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, read_file(path));
  ASSIGN_OR_RETURN(WeightIndex index, parse_weight_index(text, path));
  std::string folder = std::filesystem::path(path).parent_path().string();
  std::vector<std::vector<std::string>> names(index.files.size());
  for (auto& [name, file] : index.tensors) names[static_cast<size_t>(file)].push_back(std::move(name));
  for (size_t i = 0; i < index.files.size(); ++i) {
    std::string file = path_join(folder, index.files[i]);
    if (!file_exists(file))
      return Status::error(
          str(file, ": missing, but ", path, " lists ", names[i].size(), " tensors in it; download it"));
    FileKind kind = file_kind(file);
    if (kind == FileKind::kSafetensors)
      RETURN_IF_ERROR(open_safetensors(file, &names[i]));
    else if (kind == FileKind::kTorch)
      RETURN_IF_ERROR(open_torch(file, &names[i]));
    else
      return Status::error(
          str(path, ": lists the file ", shown_name(index.files[i]), "; expected *.safetensors or *.bin"));
  }
  return Status::ok();
}

namespace {

// The entries named by `wanted` in its order, or all; an error names the first that is missing.
template <typename Entry>
Result<std::vector<const Entry*>> select(const std::vector<Entry>& entries,
                                         const std::vector<std::string>* wanted, const std::string& path) {
  std::vector<const Entry*> selected;
  if (!wanted) {
    for (const Entry& entry : entries) selected.push_back(&entry);
    return selected;
  }
  std::unordered_map<std::string_view, const Entry*> by_name;
  for (const Entry& entry : entries) by_name.emplace(entry.name, &entry);
  for (const std::string& name : *wanted) {
    auto it = by_name.find(name);
    if (it == by_name.end()) {
      std::vector<std::string> candidates;
      for (const Entry& entry : entries)
        if (candidates.size() < 4096) candidates.push_back(entry.name);
      return Status::error(str(path, ": lacks tensor ", shown_name(name), ", which the index places here",
                               did_you_mean(name, candidates)));
    }
    selected.push_back(it->second);
  }
  return selected;
}

}  // namespace

Status Checkpoint::open_safetensors(const std::string& path, const std::vector<std::string>* wanted) {
  format_ = SourceFormat::kSafetensors;
  RETURN_IF_ERROR(add_file(path));
  ASSIGN_OR_RETURN(SafetensorsHeader header, parse_safetensors(maps_.back()->bytes(), path));
  ASSIGN_OR_RETURN(auto selected, select(header.entries, wanted, path));
  for (const SafetensorsEntry* e : selected) {
    SourceTensor tensor{.name = e->name,
                        .dtype = e->dtype,
                        .shape = e->shape,
                        .stored_name = e->name,
                        .stored_type = std::string(long_name(e->dtype))};
    RETURN_IF_ERROR(
        add_tensor(std::move(tensor), {.offset = e->offset, .size = e->size, .stored_dtype = e->dtype}));
  }
  return Status::ok();
}

Status Checkpoint::open_torch(const std::string& path, const std::vector<std::string>* wanted) {
  format_ = SourceFormat::kTorch;
  RETURN_IF_ERROR(add_file(path));
  ASSIGN_OR_RETURN(std::vector<TorchTensor> all, parse_torch_zip(maps_.back()->bytes(), path));
  ASSIGN_OR_RETURN(auto selected, select(all, wanted, path));
  for (const TorchTensor* t : selected) {
    SourceTensor tensor{.name = t->name,
                        .dtype = t->dtype == DType::kBF16 ? DType::kF32 : t->dtype,
                        .shape = t->shape,
                        .stored_name = t->name,
                        .stored_type = std::string(long_name(t->dtype))};
    RETURN_IF_ERROR(
        add_tensor(std::move(tensor),
                   {.offset = t->offset, .size = t->size, .stored_dtype = t->dtype, .strides = t->strides}));
  }
  return Status::ok();
}

Status Checkpoint::open_gguf(const std::string& path) {
  format_ = SourceFormat::kGguf;
  RETURN_IF_ERROR(add_file(path));
  ASSIGN_OR_RETURN(gguf_, parse_gguf(maps_.back()->bytes(), path));
  const GgufValue* parts = gguf_.find("split.count");
  if (parts && parts->is_integer() && parts->integer > 1)
    return Status::error(
        str(path, ": one of ", parts->integer,
            " parts of a split GGUF; expected one file, join them with llama-gguf-split --merge"));
  RETURN_IF_ERROR(check_gguf_architecture(gguf_, path));
  for (const GgufTensor& t : gguf_.tensors) {
    ASSIGN_OR_RETURN(std::optional<GgufName> name, translate_gguf_tensor(gguf_, t, path));
    if (!name) continue;
    const GgufTypeInfo& info = gguf_type_info(t.type);
    SourceTensor tensor{.name = name->name,
                        .dtype = info.plain.value_or(DType::kF32),
                        .shape = t.shape,
                        .stored_name = std::string(t.name),
                        .stored_type = std::string(info.name)};
    RETURN_IF_ERROR(add_tensor(
        std::move(tensor), {.offset = t.offset, .size = t.size, .gguf_type = t.type, .order = name->order}));
  }
  return Status::ok();
}

int Checkpoint::find(std::string_view name) const {
  auto it = index_.find(std::string(name));
  return it == index_.end() ? -1 : it->second;
}

std::optional<GgufBlocks> Checkpoint::blocks(int index) const {
  const Place& place = places_.at(static_cast<size_t>(index));
  if (!place.gguf_type) return std::nullopt;
  const SourceTensor& tensor = tensors_[static_cast<size_t>(index)];
  const GgufTypeInfo& info = gguf_type_info(*place.gguf_type);
  // A vector is one row, unless its elements were moved: then each is a row.
  bool elements = tensor.shape.size() == 1 && place.order.kind != RowOrder::Kind::kSame;
  int64_t columns = elements || tensor.shape.empty() ? 1 : tensor.shape.back();
  int64_t rows = columns == 0 ? 0 : product(tensor.shape) / columns;
  return GgufBlocks{
      .type = *place.gguf_type,
      .bytes = maps_[static_cast<size_t>(tensor.file)]->bytes().subspan(place.offset, place.size),
      .rows = rows,
      .row_bytes = columns / info.block_elements * info.block_bytes,
      .order = place.order};
}

std::span<const std::byte> Checkpoint::read(int index, std::vector<std::byte>& buffer) const {
  const SourceTensor& tensor = tensors_.at(static_cast<size_t>(index));
  return read_rows(index, 0, tensor.shape.empty() ? 1 : tensor.shape[0], buffer);
}

std::span<const std::byte> Checkpoint::read_rows(int index, int64_t row_begin, int64_t row_end,
                                                 std::vector<std::byte>& buffer) const {
  const SourceTensor& tensor = tensors_.at(static_cast<size_t>(index));
  int64_t rows = tensor.shape.empty() ? 1 : tensor.shape[0];
  internal_check(0 <= row_begin && row_begin <= row_end && row_end <= rows,
                 "read_rows: rows outside the tensor");
  if (tensor.byte_size == 0 || row_begin == row_end) return {};
  const Place& place = places_[static_cast<size_t>(index)];
  if (place.gguf_type) return read_gguf(index, row_begin, row_end, buffer);
  std::vector<int64_t> shape = tensor.shape;
  if (!shape.empty()) shape[0] = row_end - row_begin;
  int64_t count = product(shape), per_row = count / (row_end - row_begin);
  auto item = static_cast<size_t>(size_of(place.stored_dtype));
  int64_t first = row_begin * (place.strides.empty() ? per_row : place.strides[0]);
  auto file = maps_[static_cast<size_t>(tensor.file)]->bytes();
  const std::byte* source = file.data() + place.offset + static_cast<size_t>(first) * item;
  bool widen = place.stored_dtype != tensor.dtype;
  auto bytes = static_cast<size_t>(count) * item;
  if (place.strides.empty() && !widen) return {source, bytes};
  buffer.resize(static_cast<size_t>(count) * static_cast<size_t>(size_of(tensor.dtype)));
  if (place.strides.empty())
    std::memcpy(buffer.data(), source, bytes);
  else
    copy_strided(source, shape, place.strides, item, buffer.data());
  if (widen) widen_bf16(buffer, count);
  return buffer;
}

std::span<const std::byte> Checkpoint::read_gguf(int index, int64_t row_begin, int64_t row_end,
                                                 std::vector<std::byte>& buffer) const {
  const SourceTensor& tensor = tensors_[static_cast<size_t>(index)];
  GgufBlocks stored = *blocks(index);
  const GgufTypeInfo& info = gguf_type_info(stored.type);
  int64_t rows = tensor.shape.empty() ? 1 : tensor.shape[0];
  auto slice = [&](std::span<const std::byte> all) {
    auto row = all.size() / static_cast<size_t>(rows);
    return all.subspan(static_cast<size_t>(row_begin) * row, static_cast<size_t>(row_end - row_begin) * row);
  };
  bool moved = stored.order.kind != RowOrder::Kind::kSame;
  if (!moved && info.plain) return slice(stored.bytes);
  if (!moved && tensor.shape.size() < 2) {  // blocks may straddle the elements asked for
    buffer.resize(static_cast<size_t>(tensor.byte_size));
    dequantize_gguf(stored.type, stored.bytes, {reinterpret_cast<float*>(buffer.data()), buffer.size() / 4});
    return slice(buffer);
  }
  auto out_row = static_cast<size_t>(tensor.byte_size / rows),
       stored_row = stored.bytes.size() / static_cast<size_t>(rows);
  buffer.resize(out_row * static_cast<size_t>(row_end - row_begin));
  for (int64_t row = row_begin; row < row_end; ++row) {
    auto from = stored.bytes.subspan(static_cast<size_t>(moved ? stored.stored_row(row) : row) * stored_row,
                                     stored_row);
    std::byte* to = buffer.data() + static_cast<size_t>(row - row_begin) * out_row;
    if (info.plain)
      std::memcpy(to, from.data(), from.size());
    else
      dequantize_gguf(stored.type, from, {reinterpret_cast<float*>(to), out_row / 4});
  }
  return buffer;
}

void Checkpoint::release(int index) const {
  const Place& place = places_.at(static_cast<size_t>(index));
  maps_[static_cast<size_t>(tensors_[static_cast<size_t>(index)].file)]->release(place.offset, place.size);
}

Result<Json> Checkpoint::gguf_config() const {
  if (!gguf()) return Status::error("gguf_config: this checkpoint is not a GGUF file");
  return mlc::gguf_config(gguf_, maps_[0]->bytes(), paths_[0]);
}

Result<GgufTokenizer> Checkpoint::gguf_tokenizer() const {
  if (!gguf()) return Status::error("gguf_tokenizer: this checkpoint is not a GGUF file");
  return mlc::gguf_tokenizer(gguf_, paths_[0]);
}

}  // namespace mlc
