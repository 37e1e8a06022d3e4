// Tensors that are made of packed weights when they are read, and reading by lines.
#include <algorithm>
#include <map>

#include "base/check.h"
#include "formats/checked.h"
#include "formats/checkpoint.h"
#include "formats/quant/repack.h"

namespace mlc {
namespace {

size_t bytes_of(int64_t n) { return static_cast<size_t>(n); }

int64_t product(std::span<const int64_t> shape) { return static_cast<int64_t>(*element_count(shape)); }

// Lines of one row of the first axis.
int64_t lines_of_row(const SourceTensor& tensor) {
  return tensor.shape.size() < 3 ? 1 : product(std::span(tensor.shape).subspan(1)) / tensor.shape.back();
}

SourceTensor view_of(const SourceTensor& codes, std::string name, DType dtype, std::vector<int64_t> shape) {
  SourceTensor view = codes;
  view.name = std::move(name), view.dtype = dtype, view.shape = std::move(shape);
  view.byte_size = product(view.shape) * size_of(dtype);
  view.unread.clear();
  view.role = SourceTensor::Role::kView;
  return view;
}

// The group of AWQ's records that hold the weight, or 0.
int group_in_awq(const PackedWeight& weight) {
  const WeightFormat& f = weight.format;
  if (weight.shape.size() != 2 || f.names == WeightFormat::Names::kAwq ||
      f.zero != WeightFormat::Zero::kCodes)
    return 0;
  const bool known = f.group == 32 || f.group == 64 || f.group == 128;
  return known && can_repack_awq(weight.reader(), f.group) ? f.group : 0;
}

}  // namespace

// Appends the tensors of packed_[number].
void Checkpoint::add_views(int number, std::vector<SourceTensor>& tensors, std::vector<Place>& places) {
  const PackedWeight& weight = packed_[bytes_of(number)];
  const SourceTensor& codes = tensors_[bytes_of(weight.parts[0])];
  auto add = [&](std::string name, DType dtype, std::vector<int64_t> shape, Place place) {
    place.packed = number;
    tensors.push_back(view_of(codes, std::move(name), dtype, std::move(shape)));
    places.push_back(std::move(place));
  };
  if (weight.shape.size() == 3) {
    add(weight.name + " (outputs, inputs)", DType::kF32, weight.shape, {});
    Place turned;
    turned.turned = static_cast<int>(tensors.size()) - 1;
    return add(weight.name, DType::kF32, {weight.count(), weight.k(), weight.n()}, std::move(turned));
  }
  add(weight.name, DType::kF32, weight.shape, {});
  const int group = group_in_awq(weight);
  if (group == 0) return;
  const std::vector<FormatRecord> records = format_records(WeightFormat::awq(group), weight.shape);
  for (size_t i = 0; i < records.size(); ++i) {
    Place place;
    place.record = static_cast<int>(i);
    add(weight.name.substr(0, weight.name.size() - 6) + records[i].name, records[i].dtype, records[i].shape,
        std::move(place));
  }
}

Status Checkpoint::add_packed(const Packing& packing) {
  ASSIGN_OR_RETURN(packed_, find_packed(*this, packing));
  packer_ = packing.name;
  std::map<int, int> weights;  // by the tensor of their codes
  for (size_t w = 0; w < packed_.size(); ++w) {
    weights[packed_[w].parts[0]] = static_cast<int>(w);
    for (int part : packed_[w].parts) tensors_[bytes_of(part)].role = SourceTensor::Role::kPart;
  }
  std::vector<SourceTensor> tensors;
  std::vector<Place> places;
  std::vector<int> moved;  // where each tensor is now
  for (size_t i = 0; i < tensors_.size(); ++i) {
    moved.push_back(static_cast<int>(tensors.size()));
    tensors.push_back(tensors_[i]);
    places.push_back(places_[i]);
    if (auto found = weights.find(static_cast<int>(i)); found != weights.end())
      add_views(found->second, tensors, places);
  }
  for (PackedWeight& weight : packed_)
    for (int& part : weight.parts) part = moved[bytes_of(part)];
  tensors_ = std::move(tensors), places_ = std::move(places);
  index_.clear();
  for (bool views : {true, false})  // which of two that share a name is found
    for (size_t i = 0; i < tensors_.size(); ++i)
      if ((tensors_[i].role == SourceTensor::Role::kView) == views)
        index_.emplace(tensors_[i].name, static_cast<int>(i));
  return Status::ok();
}

const PackedWeight* Checkpoint::packed(int index) const {
  const Place& place = places_.at(bytes_of(index));
  return place.packed < 0 || place.record >= 0 ? nullptr : &packed_[bytes_of(place.packed)];
}

int Checkpoint::transposed(int index) const { return places_.at(bytes_of(index)).turned; }

int64_t Checkpoint::mapped_bytes(int index) const {
  const Place& place = places_.at(bytes_of(index));
  if (place.gguf_type) return static_cast<int64_t>(place.size);
  if (place.packed < 0) return tensors_[bytes_of(index)].byte_size;
  int64_t bytes = 0;
  for (int part : packed_[bytes_of(place.packed)].parts) bytes += tensors_[bytes_of(part)].byte_size;
  return bytes;
}

std::span<const std::byte> Checkpoint::read_view(int index, int64_t line_begin, int64_t line_end,
                                                 std::vector<std::byte>& buffer) const {
  const SourceTensor& tensor = tensors_[bytes_of(index)];
  const Place& place = places_[bytes_of(index)];
  const PackedWeight& weight = packed_[bytes_of(place.packed)];
  const int64_t width = tensor.shape.back();
  buffer.resize(bytes_of((line_end - line_begin) * width * size_of(tensor.dtype)));
  if (place.record >= 0) {
    const int group = group_in_awq(weight);
    const std::vector<FormatRecord> records = format_records(WeightFormat::awq(group), weight.shape);
    repack_awq(weight.reader(), records[bytes_of(place.record)], group, line_begin, line_end, buffer);
    return buffer;
  }
  float* values = reinterpret_cast<float*>(buffer.data());
  std::vector<float> row(bytes_of(weight.k()));
  const int64_t lines = place.turned < 0 ? weight.n() : weight.k();  // of one of those stacked
  for (int64_t line = line_begin; line < line_end;) {
    const int64_t one = line / lines, first = line % lines, last = std::min(lines, first + line_end - line);
    const WeightReader reader = weight.reader(one);
    if (place.turned < 0)
      for (int64_t r = first; r < last; ++r, values += width) reader.read_row(r, {values, bytes_of(width)});
    else
      for (int64_t r = 0; r < weight.n(); ++r) {
        reader.read_row(r, row);
        for (int64_t c = first; c < last; ++c)
          values[(line - line_begin + c - first) * width + r] = row[bytes_of(c)];
      }
    line += last - first;
  }
  return buffer;
}

std::span<const std::byte> Checkpoint::read_lines(int index, int64_t line_begin, int64_t line_end,
                                                  std::vector<std::byte>& buffer) const {
  const SourceTensor& tensor = tensors_.at(bytes_of(index));
  const Place& place = places_[bytes_of(index)];
  if (tensor.shape.size() < 3 || line_begin == line_end)
    return read_rows(index, line_begin, line_end, buffer);
  if (place.packed >= 0) return read_view(index, line_begin, line_end, buffer);
  const int64_t per_row = lines_of_row(tensor);
  internal_check(0 <= line_begin && line_begin <= line_end && line_end <= per_row * tensor.shape[0],
                 "read_lines: lines outside the tensor");
  const int64_t size = tensor.shape.back() * size_of(tensor.dtype);
  if (place.gguf_type && !merged_.contains(index) && place.order.kind == RowOrder::Kind::kSame &&
      !gguf_type_info(*place.gguf_type).plain) {
    const GgufBlocks stored = *blocks(index);
    buffer.resize(bytes_of((line_end - line_begin) * size));
    dequantize_gguf(stored.type,
                    stored.bytes.subspan(bytes_of(line_begin * stored.row_bytes),
                                         bytes_of((line_end - line_begin) * stored.row_bytes)),
                    {reinterpret_cast<float*>(buffer.data()), buffer.size() / 4});
    return buffer;
  }
  const int64_t first = line_begin / per_row, last = (line_end + per_row - 1) / per_row;
  return read_rows(index, first, last, buffer)
      .subspan(bytes_of((line_begin - first * per_row) * size), bytes_of((line_end - line_begin) * size));
}

}  // namespace mlc
