// Reads, rounds and packs the rows of a block.
#include "weights/block.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "formats/quant/float8.h"
#include "formats/quant/group.h"
#include "formats/quant/plain.h"
#include "formats/quant/repack.h"

namespace mlc::weights {
namespace {

constexpr int64_t kCachedElements = 4096;  // as f32 half of a small first-level cache
constexpr int64_t kBlock = 32;             // elements of a block of GGUF's Q4_0 and Q8_0

size_t bytes_of(int64_t n) { return static_cast<size_t>(n); }

// Whether the groups can be taken over from GGUF blocks without unpacking them.
bool is_exact_blocks(const ParameterPlan& plan, const Checkpoint& checkpoint,
                     const std::vector<SourceRun>& runs) {
  const bool four = plan.format.bits == 4;
  if ((!four && plan.format.bits != 8) || plan.format.dtype != DType::kF16 || !plan.format.is_centered())
    return false;
  return std::ranges::all_of(runs, [&](const SourceRun& run) {
    const SourceLeaf& leaf = plan.leaves[static_cast<size_t>(run.leaf)];
    auto blocks = checkpoint.blocks(leaf.tensor);
    return blocks && blocks->type == (four ? GgufType::kQ4_0 : GgufType::kQ8_0) && leaf.steps.empty() &&
           run.stride == 1 && run.begin % kBlock == 0 && run.count % kBlock == 0;
  });
}

// Whether the codes of packed weights can be taken over: whole groups, each in columns of one row.
bool is_exact_packed(const ParameterPlan& plan, const Checkpoint& checkpoint,
                     const std::vector<SourceRun>& runs) {
  for (const SourceLeaf& leaf : plan.leaves) {
    const PackedWeight* weight = checkpoint.packed(leaf.tensor);
    if (!weight || checkpoint.transposed(leaf.tensor) >= 0 || !leaf.steps.empty()) return false;
    for (int64_t i = 0; i < weight->count(); ++i)
      if (!can_repack(weight->reader(i), plan.format)) return false;
  }
  return !runs.empty() && std::ranges::all_of(runs, [&](const SourceRun& run) {
    const int64_t row = plan.leaves[static_cast<size_t>(run.leaf)].shape.back(), group = plan.format.group;
    auto aligned = [&](int64_t at) { return at % row % group == 0; };
    return run.stride == 1 && row == plan.row_size && aligned(run.begin) && aligned(run.begin + run.count);
  });
}

// Whether the codes of 8-bit floats and their blocks' scales can be taken over: tensors in the same blocks,
// one below the other, each of whole blocks but for the last.
bool is_exact_float8(const ParameterPlan& plan, const Checkpoint& checkpoint,
                     const std::vector<SourceRun>& runs) {
  const int64_t k = plan.row_size, height = plan.format.group_n;
  if (!plan.format.is_float8() || height <= 1) return false;
  for (const SourceLeaf& leaf : plan.leaves) {
    const PackedWeight* weight = checkpoint.packed(leaf.tensor);
    if (!weight || checkpoint.transposed(leaf.tensor) >= 0 || !leaf.steps.empty() || weight->k() != k ||
        !has_same_blocks(weight->format, plan.format) || (weight->count() > 1 && weight->n() % height != 0))
      return false;
  }
  int64_t row = 0;  // of the parameter
  for (const SourceRun& run : runs) {
    if (run.stride != 1 || run.begin % (k * height) != 0 || run.count % k != 0 || row % height != 0)
      return false;
    row += run.count / k;
  }
  return !runs.empty();
}

void add_irregular(std::map<int, NonFinite>& irregular, int index, const NonFinite& found) {
  if (found.any()) irregular[index].add(found);
}

void repack_blocks(const ParameterPlan& plan, const Checkpoint& checkpoint,
                   const std::vector<SourceRun>& runs, BlockBuffers& buffers) {
  uint32_t* words = reinterpret_cast<uint32_t*>(buffers.weight.data());
  std::byte* scales = buffers.scale.data();
  for (const SourceRun& run : runs) {
    const SourceLeaf& leaf = plan.leaves[static_cast<size_t>(run.leaf)];
    const GgufBlocks source = *checkpoint.blocks(leaf.tensor);
    const int64_t row_size = leaf.shape.back(), block_bytes = source.row_bytes * kBlock / row_size;
    const std::byte* first = scales;
    for (int64_t at = run.begin; at < run.begin + run.count;) {
      const int64_t column = at % row_size, count = std::min(row_size - column, run.begin + run.count - at);
      const int64_t begin =
          source.stored_row(at / row_size) * source.row_bytes + column / kBlock * block_bytes;
      const auto repack = plan.format.bits == 4 ? repack_q4_0_row : repack_q8_0_row;
      repack(source.bytes.subspan(bytes_of(begin), bytes_of(count / kBlock * block_bytes)), words, scales);
      words += plan.format.words(count);
      scales += 2 * plan.format.groups(count);
      at += count;
    }
    add_irregular(buffers.irregular, leaf.tensor, count_non_finite_blocks({first, scales}));
  }
}

void repack_packed(const ParameterPlan& plan, const Checkpoint& checkpoint,
                   const std::vector<SourceRun>& runs, BlockBuffers& buffers) {
  uint32_t* words = reinterpret_cast<uint32_t*>(buffers.weight.data());
  std::byte* scales = buffers.scale.data();
  const int64_t scale_bytes = plan.format.zero == WeightFormat::Zero::kPaired ? 4 : 2;
  for (const SourceRun& run : runs) {
    const SourceLeaf& leaf = plan.leaves[static_cast<size_t>(run.leaf)];
    const PackedWeight& weight = *checkpoint.packed(leaf.tensor);
    const int64_t row_size = weight.k();
    for (int64_t at = run.begin; at < run.begin + run.count;) {
      const int64_t line = at / row_size, column = at % row_size;
      const int64_t count = std::min(row_size - column, run.begin + run.count - at);
      repack_row(weight.reader(line / weight.n()), line % weight.n(), column, column + count, plan.format,
                 words, scales);
      words += plan.format.words(count);
      scales += scale_bytes * plan.format.groups(count);
      at += count;
    }
  }
}

void store_bf16(std::vector<std::byte>& to, float value) {
  to.resize(to.size() + 2);
  encode_floats(DType::kBF16, {&value, 1}, to.data() + to.size() - 2);
}

// Codes and scales of a block of rows that is_exact_float8() holds for.
void repack_float8(const ParameterPlan& plan, const Checkpoint& checkpoint,
                   const std::vector<SourceRun>& runs, BlockBuffers& buffers) {
  const int64_t k = plan.row_size;
  int64_t row = 0;  // of the block
  buffers.scale.clear();
  for (const SourceRun& run : runs) {
    const PackedWeight& weight = *checkpoint.packed(plan.leaves[static_cast<size_t>(run.leaf)].tensor);
    for (int64_t line = run.begin / k; line < (run.begin + run.count) / k; ++line, ++row) {
      const WeightReader reader = weight.reader(line / weight.n());
      const int64_t its_row = line % weight.n();
      reader.codes(its_row, 0, {reinterpret_cast<uint8_t*>(buffers.weight.data()) + row * k, bytes_of(k)});
      for (int64_t g = 0; row % plan.format.group_n == 0 && g < reader.groups(); ++g)
        store_bf16(buffers.scale, reader.scale(its_row, g));
    }
  }
}

// Packed with f32 scales, which are stored as bfloat16.
bool has_wide_scales(const WeightFormat& format) {
  return format.dtype == DType::kF32 && format.zero != WeightFormat::Zero::kPaired;
}

void pack_rows(const ParameterPlan& plan, const Block& block, const RowQuantizer* quantizer,
               BlockBuffers& buffers) {
  const int64_t rows = block.row_end - block.row_begin;
  int64_t scale_bytes = plan.format.groups(plan.row_size) * size_of(plan.format.dtype);
  bool wide = has_wide_scales(plan.format);
  if (wide) buffers.scale_bits.resize(bytes_of(rows * scale_bytes));
  std::byte* scales = wide ? buffers.scale_bits.data() : buffers.scale.data();
  uint32_t* words = reinterpret_cast<uint32_t*>(buffers.weight.data());
  if (quantizer) buffers.status = quantizer->pack(plan, block.row_begin, buffers.values, words, scales);
  for (int64_t row = 0; !quantizer && row < rows; ++row) {
    std::span<const float> values(buffers.values.data() + row * plan.row_size, bytes_of(plan.row_size));
    quantize_row(plan.format, values, words, scales);
    words += plan.format.row_bytes(plan.row_size) / 4;
    scales += scale_bytes;
  }
  if (wide)
    encode_floats(DType::kBF16,
                  {reinterpret_cast<const float*>(buffers.scale_bits.data()), buffers.scale_bits.size() / 4},
                  buffers.scale.data());
}

// Codes of 8-bit floats and the scales that stand in the file's rows of this block; those of a block's
// columns side by side.
void pack_float8_rows(const ParameterPlan& plan, const Block& block, float largest, BlockBuffers& buffers) {
  const WeightFormat& f = plan.format;
  const int64_t k = plan.row_size, rows = block.row_end - block.row_begin;
  const int64_t width = f.group ? f.group : k, height = f.group_n ? f.group_n : rows;
  buffers.scale.clear();
  for (int64_t first = 0; first < rows; first += height)
    for (int64_t begin = 0; begin < k; begin += width) {
      const int64_t last = std::min(rows, first + height), count = std::min(width, k - begin);
      auto part = [&](int64_t row) {
        return std::span<const float>(buffers.values.data() + row * k + begin, bytes_of(count));
      };
      float its_largest = largest;
      for (int64_t row = first; f.group_n && row < last; ++row)
        its_largest = std::max(its_largest, largest_magnitude(part(row)));
      const float scale = float8_scale(f, its_largest);
      for (int64_t row = first; row < last; ++row)
        encode_float8(f, scale, part(row), buffers.weight.data() + row * k + begin);
      const bool has_scale = f.scale_code != WeightFormat::ScaleCode::kNone;
      if (has_scale && (f.group_n || block.row_begin == 0)) store_bf16(buffers.scale, scale);
    }
}

// Copies `count` elements of `size` bytes that lie `stride` apart.
void gather(const std::byte* from, int size, int64_t stride, int64_t count, std::byte* to) {
  auto copy = [&]<typename T>(T item) {
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(&item, from + i * stride * size, sizeof(T));
      std::memcpy(to + i * size, &item, sizeof(T));
    }
  };
  if (size == 2) return copy(uint16_t{});
  if (size == 4) return copy(uint32_t{});
  copy(uint64_t{});
}

void apply(const SourceLeaf::Step& step, DType read_as, DType dtype, std::span<float> values) {
  switch (step.kind) {
    case SourceExpr::Kind::kPlusOne:
      for (float& v : values) v += 1;
      if (read_as != DType::kF64) round_floats(read_as, values);
      break;
    case SourceExpr::Kind::kExpNegExp:
      for (float& v : values) v = std::exp(-std::exp(v));
      break;
    case SourceExpr::Kind::kScale:
      round_floats(dtype, values);
      for (float& v : values) v *= static_cast<float>(step.factor);
      break;
    default: internal_error("a step of an expression without a meaning");
  }
}

// The first runs that are read at once: a run of whole rows, or neighbours of one tensor that are less.
struct RunGroup {
  size_t runs = 0;
  int64_t row_begin = 0, row_end = 0;  // lines of the tensor
};

RunGroup first_group(const ParameterPlan& plan, std::span<const SourceRun> runs) {
  const SourceLeaf& leaf = plan.leaves[static_cast<size_t>(runs[0].leaf)];
  const int64_t row = leaf.line_size();
  RunGroup group{0, INT64_MAX, 0};
  for (const SourceRun& run : runs) {
    const bool whole = run.stride == 1 && run.begin % row == 0 && run.count % row == 0;
    if (run.leaf != runs[0].leaf || (whole && group.runs > 0)) break;
    group.row_begin = std::min(group.row_begin, run.begin / row);
    group.row_end = std::max(group.row_end, (run.begin + (run.count - 1) * run.stride) / row + 1);
    ++group.runs;
    if (whole) break;
  }
  return group;
}

// Decodes the runs of a leaf; `bytes` are the tensor's from element `first` on. A few elements at a time,
// looked through while the cache has them.
void decode_runs(const SourceLeaf& leaf, DType read_as, DType dtype, std::span<const SourceRun> runs,
                 const std::byte* bytes, int64_t first, std::span<float> values, NonFinite* irregular) {
  const int size = size_of(read_as);
  std::byte gathered[8 * kCachedElements];
  for (const SourceRun& run : runs)
    for (int64_t done = 0; done < run.count;) {
      const int64_t count = std::min(run.count - done, kCachedElements);
      const std::byte* from = bytes + (run.begin + done * run.stride - first) * size;
      std::span<float> part = values.first(bytes_of(count));
      if (run.stride > 1) gather(from, size, run.stride, count, gathered);
      decode_floats(read_as, run.stride > 1 ? gathered : from, part);
      for (const SourceLeaf::Step& step : leaf.steps) apply(step, read_as, dtype, part);
      if (irregular) irregular->add(count_non_finite(part, dtype));
      values = values.subspan(bytes_of(count));
      done += count;
    }
}

// The elements as they are.
void copy_words(const ParameterPlan& plan, const Checkpoint& checkpoint, const Block& block,
                BlockBuffers& buffers) {
  const int size = size_of(plan.dtype);
  buffers.weight.resize(bytes_of((block.row_end - block.row_begin) * plan.row_size * size));
  buffers.scale.clear();
  std::byte* to = buffers.weight.data();
  for (const SourceRun& run :
       source_runs(plan.source, block.row_begin * plan.row_size, block.row_end * plan.row_size)) {
    const SourceLeaf& leaf = plan.leaves[static_cast<size_t>(run.leaf)];
    const int64_t line = leaf.line_size(), first = run.begin / line;
    const int64_t last = (run.begin + (run.count - 1) * run.stride) / line + 1;
    std::span<const std::byte> bytes = checkpoint.read_lines(leaf.tensor, first, last, buffers.source);
    gather(bytes.data() + (run.begin - first * line) * size, size, run.stride, run.count, to);
    to += run.count * size;
  }
}

void read_runs(const ParameterPlan& plan, const Checkpoint& checkpoint, std::span<const SourceRun> runs,
               std::vector<std::byte>& scratch, std::vector<float>& values,
               std::map<int, NonFinite>* irregular) {
  std::span<float> rest(values);
  bool round = false;
  while (!runs.empty()) {
    const RunGroup group = first_group(plan, runs);
    const SourceLeaf& leaf = plan.leaves[static_cast<size_t>(runs[0].leaf)];
    const DType read_as = checkpoint.tensors()[static_cast<size_t>(leaf.tensor)].dtype;
    std::span<const std::byte> bytes =
        checkpoint.read_lines(leaf.tensor, group.row_begin, group.row_end, scratch);
    NonFinite found;
    decode_runs(leaf, read_as, plan.dtype, runs.first(group.runs), bytes.data(),
                group.row_begin * leaf.line_size(), rest, irregular ? &found : nullptr);
    if (irregular) add_irregular(*irregular, leaf.tensor, found);
    for (const SourceRun& run : runs.first(group.runs)) rest = rest.subspan(bytes_of(run.count));
    runs = runs.subspan(group.runs);
    round |= read_as != plan.dtype || !leaf.steps.empty();
  }
  if (round) round_floats(plan.dtype, values);
}

}  // namespace

void read_values(const ParameterPlan& plan, const Checkpoint& checkpoint, int64_t row_begin, int64_t row_end,
                 std::vector<std::byte>& scratch, std::vector<float>& values,
                 std::map<int, NonFinite>* irregular) {
  const int64_t begin = row_begin * plan.row_size, end = row_end * plan.row_size;
  values.resize(bytes_of(end - begin));
  read_runs(plan, checkpoint, source_runs(plan.source, begin, end), scratch, values, irregular);
}

bool is_exact(const ParameterPlan& plan, const Checkpoint& checkpoint) {
  if (!plan.format.is_quantized()) return false;
  const std::vector<SourceRun> runs = source_runs(plan.source, 0, plan.rows * plan.row_size);
  return is_exact_blocks(plan, checkpoint, runs) || is_exact_packed(plan, checkpoint, runs) ||
         is_exact_float8(plan, checkpoint, runs);
}

bool needs_largest(const ParameterPlan& plan) {
  return plan.format.is_quantized() && plan.format.group_n == 0 &&
         plan.format.scale_code == WeightFormat::ScaleCode::kFloat;
}

float find_largest(const ParameterPlan& plan, const Checkpoint& checkpoint) {
  std::vector<std::byte> scratch;
  std::vector<float> values;
  float largest = 0;
  for (int64_t row = 0; row < plan.rows; row += plan.block_rows) {
    read_values(plan, checkpoint, row, std::min(row + plan.block_rows, plan.rows), scratch, values);
    largest = std::max(largest, largest_magnitude(values));
  }
  return largest;
}

void convert_block(const ParameterPlan& plan, const Checkpoint& checkpoint, const Block& block,
                   BlockBuffers& buffers, const RowQuantizer* quantizer, float largest) {
  int64_t rows = block.row_end - block.row_begin;
  buffers.irregular.clear(), buffers.status = Status::ok();
  if (!is_float(plan.dtype)) return copy_words(plan, checkpoint, block, buffers);
  if (!plan.format.is_quantized()) {
    DType stored = plan.dtype == DType::kF32 && !plan.raw_f32 ? DType::kBF16 : plan.dtype;
    read_values(plan, checkpoint, block.row_begin, block.row_end, buffers.source, buffers.values,
                &buffers.irregular);
    buffers.weight.resize(buffers.values.size() * bytes_of(size_of(stored)));
    encode_floats(stored, buffers.values, buffers.weight.data());
    buffers.scale.clear();
    return;
  }
  if (plan.format.is_float8()) {
    buffers.weight.resize(bytes_of(rows * plan.row_size));
    if (plan.exact)
      return repack_float8(
          plan, checkpoint,
          source_runs(plan.source, block.row_begin * plan.row_size, block.row_end * plan.row_size), buffers);
    read_values(plan, checkpoint, block.row_begin, block.row_end, buffers.source, buffers.values,
                &buffers.irregular);
    return pack_float8_rows(plan, block, largest, buffers);
  }
  int scale_size = has_wide_scales(plan.format) ? 2 : size_of(plan.format.dtype);
  buffers.weight.resize(bytes_of(rows * plan.format.row_bytes(plan.row_size)));
  buffers.scale.resize(bytes_of(rows * plan.format.groups(plan.row_size) * scale_size));
  const std::vector<SourceRun> runs =
      source_runs(plan.source, block.row_begin * plan.row_size, block.row_end * plan.row_size);
  if (is_exact_blocks(plan, checkpoint, runs)) return repack_blocks(plan, checkpoint, runs, buffers);
  if (plan.exact) return repack_packed(plan, checkpoint, runs, buffers);
  read_values(plan, checkpoint, block.row_begin, block.row_end, buffers.source, buffers.values,
              &buffers.irregular);
  pack_rows(plan, block, quantizer, buffers);
}

}  // namespace mlc::weights
