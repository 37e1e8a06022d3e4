// A checkpoint that reads as if a LoRA adapter had been merged into it.
#include <algorithm>

#include "base/strings.h"
#include "formats/checked.h"
#include "formats/checkpoint.h"
#include "formats/quant/plain.h"

namespace mlc {

// The tensor of a module's weights, or -1.
int Checkpoint::find_module(const std::string& module) const {
  const std::string name = module + ".weight";
  if (const int exact = find(name); exact >= 0) return exact;
  const auto found =
      std::ranges::find_if(tensors_, [&](const SourceTensor& t) { return same_module(t.name, name); });
  return found == tensors_.end() ? -1 : static_cast<int>(found - tensors_.begin());
}

Status Checkpoint::merge(std::shared_ptr<const LoraAdapter> adapter) {
  std::unordered_map<int, Merged> merged;
  for (const LoraModule& m : adapter->modules) {
    const int index = find_module(m.name);
    if (index < 0)
      return Status::error(str(adapter->folder, ": the adapter changes ", shown_name(m.name), ", which ",
                               paths_[0], " has not", adapter->made_for()));
    const SourceTensor& t = tensors_[static_cast<size_t>(index)];
    const std::vector<int64_t> wanted =
        adapter->fan_in_fan_out ? std::vector<int64_t>{m.in, m.out} : std::vector<int64_t>{m.out, m.in};
    if (t.shape != wanted)
      return Status::error(str(adapter->folder, ": the adapter changes ", shown_name(m.name), " of shape ",
                               shown_shape(wanted), ", ", paths_[0], " has ", shown_shape(t.shape),
                               adapter->made_for()));
    if (!is_float(t.dtype) || !t.unread.empty())
      return Status::error(str(adapter->folder, ": the adapter changes ", shown_name(m.name), ", which ",
                               paths_[0], " has as ", t.stored_type, "; expected floats"));
    if (!merged.emplace(index, Merged{&m, t}).second)
      return Status::error(
          str(adapter->folder, ": two of the adapter's modules are ", shown_name(t.name), " of ", paths_[0]));
  }
  for (const auto& [index, m] : merged) {
    SourceTensor& t = tensors_[static_cast<size_t>(index)];
    t.dtype = DType::kF32;
    t.byte_size = t.shape[0] * t.shape[1] * size_of(t.dtype);
  }
  add_note(str(adapter->folder, ": merged into ", merged.size(), " tensors, rank ", adapter->rank()));
  merged_ = std::move(merged);
  adapter_ = std::move(adapter);
  return Status::ok();
}

std::vector<std::string> Checkpoint::merged_tensors() const {
  std::vector<std::string> names;
  for (const auto& [index, m] : merged_) names.push_back(m.stored.name);
  std::ranges::sort(names);
  return names;
}

// W + scale * (B A) in f32: of the products of a row first their sum.
std::span<const std::byte> Checkpoint::read_merged(const Merged& merged, int index, int64_t row_begin,
                                                   int64_t row_end, std::vector<std::byte>& buffer) const {
  const LoraModule& m = *merged.module;
  const int64_t columns = merged.stored.shape[1];
  std::vector<std::byte> scratch;
  const std::span<const std::byte> stored = read_stored(merged.stored, index, row_begin, row_end, scratch);
  buffer.resize(static_cast<size_t>((row_end - row_begin) * columns * 4));
  std::span<float> values(reinterpret_cast<float*>(buffer.data()), buffer.size() / 4);
  decode_floats(merged.stored.dtype, stored.data(), values);
  std::vector<float> change(static_cast<size_t>(columns));
  const auto scale = static_cast<float>(m.scale);
  for (int64_t row = row_begin; row < row_end; ++row) {
    std::ranges::fill(change, 0.0f);
    for (int64_t j = 0; j < m.rank; ++j) {
      const bool transposed = adapter_->fan_in_fan_out;
      const float factor =
          transposed ? m.a[static_cast<size_t>(j * m.in + row)] : m.b[static_cast<size_t>(row * m.rank + j)];
      const float* other = transposed ? m.b.data() + j : m.a.data() + j * m.in;
      const int64_t stride = transposed ? m.rank : 1;
      for (int64_t c = 0; c < columns; ++c) change[static_cast<size_t>(c)] += factor * other[c * stride];
    }
    float* to = values.data() + (row - row_begin) * columns;
    for (int64_t c = 0; c < columns; ++c) to[c] += scale * change[static_cast<size_t>(c)];
  }
  return buffer;
}

}  // namespace mlc
