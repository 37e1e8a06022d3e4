// Reads, rounds and packs the rows of a block.
#include "weights/block.h"

#include <algorithm>

#include "base/check.h"
#include "formats/quant/group.h"
#include "formats/quant/plain.h"

namespace mlc::weights {
namespace {

using Transform = frontend::Parameter::Transform;

constexpr int64_t kCachedElements = 4096;  // as f32 half of a small first-level cache

size_t bytes_of(int64_t n) { return static_cast<size_t>(n); }

// The source row of row `row` of a fused QKV in [3, heads, head_dim] order; the source has [heads, 3,
// head_dim].
int64_t split_head_row(int64_t row, int64_t rows, int64_t heads) {
  int64_t size = rows / (3 * heads), d = row % size, head = row / size % heads, part = row / size / heads;
  return (head * 3 + part) * size + d;
}

// Whether the rows can be taken over from GGUF blocks without unpacking them.
bool is_exact_q4_0(const ParameterPlan& plan, const Checkpoint& checkpoint) {
  if (!plan.format.is_quantized() || plan.format.bits != 4 || plan.format.dtype != DType::kF16) return false;
  return std::all_of(plan.sources.begin(), plan.sources.end(), [&](int index) {
    auto blocks = checkpoint.blocks(index);
    return blocks && blocks->type == GgufType::kQ4_0;
  });
}

void add_irregular(std::map<int, NonFinite>& irregular, int index, const NonFinite& found) {
  if (found.any()) irregular[index].add(found);
}

void repack_rows(const ParameterPlan& plan, const Checkpoint& checkpoint, const Block& block,
                 BlockBuffers& buffers) {
  uint32_t* words = reinterpret_cast<uint32_t*>(buffers.weight.data());
  std::byte* scales = buffers.scale.data();
  for (const RowRun& run : source_rows(plan, block.row_begin, block.row_end)) {
    const int index = plan.sources[static_cast<size_t>(run.source)];
    GgufBlocks source = *checkpoint.blocks(index);
    const std::byte* first = scales;
    for (int64_t row = run.row_begin; row < run.row_begin + run.count; ++row) {
      int64_t begin = source.stored_row(row) * source.row_bytes +
                      source.row_bytes * plan.column / plan.whole_row_size,
              size = source.row_bytes * plan.row_size / plan.whole_row_size;
      repack_q4_0_row(source.bytes.subspan(bytes_of(begin), bytes_of(size)), words, scales);
      words += plan.format.words(plan.row_size);
      scales += 2 * plan.format.groups(plan.row_size);
    }
    add_irregular(buffers.irregular, index, count_non_finite_blocks({first, scales}));
  }
}

void pack_rows(const ParameterPlan& plan, int64_t rows, BlockBuffers& buffers) {
  int64_t scale_bytes = plan.format.groups(plan.row_size) * size_of(plan.format.dtype);
  bool wide = plan.format.dtype == DType::kF32;  // packed with f32 scales, stored as bfloat16
  if (wide) buffers.scale_bits.resize(bytes_of(rows * scale_bytes));
  std::byte* scales = wide ? buffers.scale_bits.data() : buffers.scale.data();
  uint32_t* words = reinterpret_cast<uint32_t*>(buffers.weight.data());
  for (int64_t row = 0; row < rows; ++row) {
    std::span<const float> values(buffers.values.data() + row * plan.row_size, bytes_of(plan.row_size));
    quantize_row(plan.format, values, words, scales);
    words += plan.format.words(plan.row_size);
    scales += scale_bytes;
  }
  if (wide)
    encode_floats(DType::kBF16,
                  {reinterpret_cast<const float*>(buffers.scale_bits.data()), buffers.scale_bits.size() / 4},
                  buffers.scale.data());
}

// Appends where rows [row_begin, row_end) of the whole parameter come from.
void add_runs(const ParameterPlan& plan, int64_t row_begin, int64_t row_end, std::vector<RowRun>& runs) {
  if (plan.parameter.transform == Transform::kSplitHeadQkv) {
    internal_check(plan.source_rows.size() == 1, "a fused QKV has one source");
    int64_t rows = plan.source_rows[0], size = rows / (3 * plan.parameter.heads);
    for (int64_t row = row_begin; row < row_end;) {
      int64_t count = std::min(row_end - row, size - row % size);
      runs.push_back({0, split_head_row(row, rows, plan.parameter.heads), count});
      row += count;
    }
    return;
  }
  int64_t first = 0;
  for (size_t s = 0; s < plan.source_rows.size(); ++s) {
    int64_t begin = std::max(row_begin, first), end = std::min(row_end, first + plan.source_rows[s]);
    if (begin < end) runs.push_back({static_cast<int>(s), begin - first, end - begin});
    first += plan.source_rows[s];
  }
}

// Decodes this part's columns of `count` whole rows.
void decode_rows(const ParameterPlan& plan, DType dtype, const std::byte* bytes, int64_t count,
                 std::span<float> values) {
  if (plan.row_size == plan.whole_row_size) return decode_floats(dtype, bytes, values);
  for (int64_t row = 0; row < count; ++row)
    decode_floats(dtype, bytes + (row * plan.whole_row_size + plan.column) * size_of(dtype),
                  values.subspan(bytes_of(row * plan.row_size), bytes_of(plan.row_size)));
}

}  // namespace

std::vector<RowRun> source_rows(const ParameterPlan& plan, int64_t row_begin, int64_t row_end) {
  std::vector<RowRun> runs;
  int64_t first = 0;
  for (const RowRange& range : plan.ranges) {
    int64_t begin = std::max(row_begin, first), end = std::min(row_end, first + range.count);
    if (begin < end) add_runs(plan, range.begin + begin - first, range.begin + end - first, runs);
    first += range.count;
  }
  return runs;
}

void read_values(const ParameterPlan& plan, const Checkpoint& checkpoint, int64_t row_begin, int64_t row_end,
                 std::vector<std::byte>& scratch, std::vector<float>& values,
                 std::map<int, NonFinite>* irregular) {
  values.resize(bytes_of((row_end - row_begin) * plan.row_size));
  std::span<float> rest(values);
  bool round = false;
  for (const RowRun& run : source_rows(plan, row_begin, row_end)) {
    int index = plan.sources[static_cast<size_t>(run.source)];
    DType dtype = checkpoint.tensors()[static_cast<size_t>(index)].dtype;
    std::span<const std::byte> bytes =
        checkpoint.read_rows(index, run.row_begin, run.row_begin + run.count, scratch);
    size_t count = bytes_of(run.count * plan.row_size);
    // A few rows at a time, looked through while the cache has them.
    const int64_t step = std::max<int64_t>(1, kCachedElements / std::max<int64_t>(1, plan.row_size)),
                  row_bytes = plan.whole_row_size * size_of(dtype);
    for (int64_t row = 0; row < run.count; row += step) {
      const int64_t rows = std::min(step, run.count - row);
      std::span<float> part = rest.subspan(bytes_of(row * plan.row_size), bytes_of(rows * plan.row_size));
      decode_rows(plan, dtype, bytes.data() + row * row_bytes, rows, part);
      if (irregular) add_irregular(*irregular, index, count_non_finite(part, plan.dtype));
    }
    rest = rest.subspan(count);
    round |= dtype != plan.dtype;
  }
  if (round) round_floats(plan.dtype, values);
}

void convert_block(const ParameterPlan& plan, const Checkpoint& checkpoint, const Block& block,
                   BlockBuffers& buffers) {
  int64_t rows = block.row_end - block.row_begin;
  buffers.irregular.clear();
  if (!plan.format.is_quantized()) {
    DType stored = plan.dtype == DType::kF32 && !plan.raw_f32 ? DType::kBF16 : plan.dtype;
    read_values(plan, checkpoint, block.row_begin, block.row_end, buffers.source, buffers.values,
                &buffers.irregular);
    buffers.weight.resize(buffers.values.size() * bytes_of(size_of(stored)));
    encode_floats(stored, buffers.values, buffers.weight.data());
    buffers.scale.clear();
    return;
  }
  int scale_size = plan.format.dtype == DType::kF32 ? 2 : size_of(plan.format.dtype);
  buffers.weight.resize(bytes_of(rows * plan.format.words(plan.row_size) * 4));
  buffers.scale.resize(bytes_of(rows * plan.format.groups(plan.row_size) * scale_size));
  if (is_exact_q4_0(plan, checkpoint)) return repack_rows(plan, checkpoint, block, buffers);
  read_values(plan, checkpoint, block.row_begin, block.row_end, buffers.source, buffers.values,
              &buffers.irregular);
  pack_rows(plan, rows, buffers);
}

}  // namespace mlc::weights
