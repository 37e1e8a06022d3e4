// Hands out the tensors of a source checkpoint, in whole or by rows.
#include "formats/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "base/strings.h"
#include "formats/checked.h"

namespace mlc {
namespace {

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

int Checkpoint::find(std::string_view name) const {
  auto it = index_.find(std::string(name));
  return it == index_.end() ? -1 : it->second;
}

std::optional<GgufBlocks> Checkpoint::blocks(int index) const {
  return merged_.contains(index) ? std::nullopt : stored_blocks(index);
}

std::optional<GgufBlocks> Checkpoint::stored_blocks(int index) const {
  const Place& place = places_.at(static_cast<size_t>(index));
  if (!place.gguf_type) return std::nullopt;
  const SourceTensor& tensor = tensors_[static_cast<size_t>(index)];
  const GgufTypeInfo& info = gguf_type_info(*place.gguf_type);
  // A vector is one row, unless its elements were moved: then each is a row.
  bool elements = tensor.shape.size() == 1 && place.order.kind != RowOrder::Kind::kSame;
  const int64_t count = product(tensor.shape);  // 0 says nothing of the other dimensions
  int64_t columns = elements || tensor.shape.empty() ? 1 : count == 0 ? 0 : tensor.shape.back();
  int64_t rows = columns == 0 ? 0 : count / columns;
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
  const auto merged = merged_.find(index);
  if (merged != merged_.end()) return read_merged(merged->second, index, row_begin, row_end, buffer);
  return read_stored(tensor, index, row_begin, row_end, buffer);
}

std::span<const std::byte> Checkpoint::read_stored(const SourceTensor& tensor, int index, int64_t row_begin,
                                                   int64_t row_end, std::vector<std::byte>& buffer) const {
  const Place& place = places_[static_cast<size_t>(index)];
  if (place.gguf_type) return read_gguf(tensor, index, row_begin, row_end, buffer);
  if (place.packed >= 0) {
    const int64_t lines =
        tensor.shape.size() < 3 ? 1 : product(tensor.shape) / tensor.shape[0] / tensor.shape.back();
    return read_view(index, row_begin * lines, row_end * lines, buffer);
  }
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

std::span<const std::byte> Checkpoint::read_gguf(const SourceTensor& tensor, int index, int64_t row_begin,
                                                 int64_t row_end, std::vector<std::byte>& buffer) const {
  GgufBlocks stored = *stored_blocks(index);
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
  if (place.packed >= 0) {
    for (int part : packed_[static_cast<size_t>(place.packed)].parts) release(part);
    return;
  }
  maps_[static_cast<size_t>(tensors_[static_cast<size_t>(index)].file)]->release(place.offset, place.size);
}

Result<Json> Checkpoint::gguf_config() const {
  if (!gguf()) return Status::error("gguf_config: this checkpoint is not a GGUF file");
  // The only tensor whose values are asked for.
  auto file = std::find_if(gguf_.tensors.begin(), gguf_.tensors.end(),
                           [](const GgufTensor& t) { return t.name == "rope_freqs.weight"; });
  size_t part = file == gguf_.tensors.end() ? 0 : static_cast<size_t>(file->part);
  return mlc::gguf_config(gguf_, maps_[part]->bytes(), paths_[0]);
}

Result<GgufTokenizer> Checkpoint::gguf_tokenizer() const {
  if (!gguf()) return Status::error("gguf_tokenizer: this checkpoint is not a GGUF file");
  return mlc::gguf_tokenizer(gguf_, paths_[0]);
}

}  // namespace mlc
