// Packs chosen codes and keeps them.
#include "weights/quantize/chosen_rows.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/file.h"
#include "base/half.h"
#include "base/strings.h"
#include "base/threads.h"
#include "formats/quant/group.h"
#include "formats/quant/kernels.h"
#include "weights/quantize/kernels.h"

namespace mlc::weights {
namespace {

constexpr const char* kFile = "convert_weight.chosen";

int64_t words_of_group(const WeightFormat& f) { return f.words(f.group); }

// Of the scale dtype as a row of packed scales has it.
float load_scale(DType dtype, const std::byte* scales, int64_t index) {
  float scale = 0;
  if (dtype == DType::kF32) {
    std::memcpy(&scale, scales + 4 * index, 4);
    return scale;
  }
  uint16_t half = 0;
  std::memcpy(&half, scales + 2 * index, 2);
  return dtype == DType::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
}

bool is_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float v) { return std::isfinite(v); });
}

}  // namespace

bool can_choose(const WeightFormat& f) {
  return f.is_quantized() && f.is_centered() && f.names == WeightFormat::Names::kMlc &&
         f.code == WeightFormat::Code::kUnsigned && f.container == DType::kU32 && f.group > 0 &&
         f.group <= kLargestGroup;
}

Codes choose_codes(int threads, const WeightFormat& format, int64_t columns, std::span<const float> values,
                   const float* importance, const Feedback* feedback) {
  RowsJob job;
  job.rows = static_cast<int64_t>(values.size()) / columns, job.columns = columns;
  job.group = format.group, job.bits = format.bits;
  job.bf16_scales = format.dtype != DType::kF16;  // also of f32: the file keeps bfloat16
  job.values = values.data(), job.importance = importance;
  if (feedback) {
    job.importance = feedback->importance.data();
    job.moments = feedback->moments.data(), job.factor = feedback->factor.data();
  }
  Codes result;
  result.codes.resize(values.size());
  result.scales.resize(static_cast<size_t>(job.rows * format.groups(columns)));
  job.codes = result.codes.data(), job.scales = result.scales.data();
  const QuantizeKernels& kernels = quantize_kernels();
  parallel_for(threads, (job.rows + kernels.lanes - 1) / kernels.lanes,
               [&](int64_t i) { kernels.quantize_rows(job, i * kernels.lanes); });
  return result;
}

void pack_codes(int threads, const WeightFormat& format, int64_t columns, const Codes& codes, uint32_t* words,
                std::byte* scales) {
  const int64_t rows = static_cast<int64_t>(codes.codes.size()) / columns, row_words = format.words(columns),
                groups = format.groups(columns);
  const int per_word = format.codes_per_word();
  parallel_for(threads, rows, [&](int64_t r) {
    const uint8_t* from = codes.codes.data() + r * columns;
    std::fill_n(words + r * row_words, row_words, 0u);
    for (int64_t g = 0; g < groups; ++g) {
      uint32_t* to = words + r * row_words + g * words_of_group(format);
      const int64_t width = std::min<int64_t>(format.group, columns - g * format.group);
      for (int64_t k = 0; k < width; to++)
        for (int i = 0; i < per_word && k < width; ++i, ++k) *to |= uint32_t{*from++} << (i * format.bits);
      store_scale(format.dtype, codes.scales[size_t(r * groups + g)], scales, r * groups + g);
    }
  });
}

void unpack_rows(int threads, const WeightFormat& format, int64_t columns, const uint32_t* words,
                 const std::byte* scales, std::span<float> values) {
  const int64_t rows = static_cast<int64_t>(values.size()) / columns, row_words = format.words(columns),
                groups = format.groups(columns);
  const int per_word = format.codes_per_word();
  const uint32_t mask = (1u << format.bits) - 1;
  parallel_for(threads, rows, [&](int64_t r) {
    float* to = values.data() + r * columns;
    for (int64_t g = 0; g < groups; ++g) {
      const uint32_t* from = words + r * row_words + g * words_of_group(format);
      const int64_t width = std::min<int64_t>(format.group, columns - g * format.group);
      const float scale = load_scale(format.dtype, scales, r * groups + g);
      for (int64_t k = 0; k < width; ++from)
        for (int i = 0; i < per_word && k < width; ++i, ++k)
          *to++ =
              static_cast<float>(static_cast<int>(*from >> (i * format.bits) & mask) - format.zero_point()) *
              scale;
    }
  });
}

Result<std::unique_ptr<ChosenFile>> ChosenFile::open(const std::string& folder,
                                                     const std::string& fingerprint) {
  RETURN_IF_ERROR(make_directories(folder));
  const std::string path = path_join(folder, kFile);
  const platform::File opened = platform::open_file(path, platform::Access::kUpdate);
  if (opened == platform::kNoFile)
    return Status::error(str(path, ": cannot write: ", platform::last_error()));
  std::unique_ptr<ChosenFile> file(new ChosenFile(path, opened));
  RETURN_IF_ERROR(file->find_finished(fingerprint + "\n"));
  return file;
}

ChosenFile::~ChosenFile() { platform::close_file(file_); }

Status ChosenFile::write(std::span<const std::byte> bytes, int64_t at) {
  while (!bytes.empty()) {
    const int64_t count = platform::write_bytes(file_, bytes, at);
    if (count <= 0) return Status::error(str(path_, ": cannot write: ", platform::last_error()));
    bytes = bytes.subspan(static_cast<size_t>(count));
    at += count;
  }
  return Status::ok();
}

Status ChosenFile::find_finished(const std::string& first_line) {
  const int64_t size = platform::file_state(file_).bytes;
  std::string text;
  auto load = [&](int64_t at) {
    text.resize(4096);
    const int64_t count = platform::read_bytes(file_, std::as_writable_bytes(std::span(text)), at);
    text.resize(count > 0 ? static_cast<size_t>(count) : 0);
  };
  load(0);
  if (text.starts_with(first_line)) end_ = static_cast<int64_t>(first_line.size());
  while (end_ > 0) {
    load(end_);
    const size_t line = text.find('\n'), space = text.rfind(' ', line);
    if (line == std::string::npos || space == std::string::npos) break;
    int64_t bytes = -1;
    std::from_chars(text.data() + space + 1, text.data() + line, bytes);
    const int64_t begin = end_ + static_cast<int64_t>(line) + 1;
    if (bytes < 0 || bytes > size - begin) break;
    offsets_[text.substr(0, space)] = begin;
    end_ = begin + bytes;
  }
  // What was not finished must not be taken for a line once others stand before it.
  const std::vector<std::byte> zeros(1 << 16);
  for (int64_t at = end_; at < size; at += static_cast<int64_t>(zeros.size()))
    RETURN_IF_ERROR(
        write(std::span(zeros).first(std::min(zeros.size(), static_cast<size_t>(size - at))), at));
  if (end_ > 0) return Status::ok();
  end_ = static_cast<int64_t>(first_line.size());
  return write(std::as_bytes(std::span(first_line)), 0);
}

Status ChosenFile::add(const std::string& name, std::span<const std::byte> bytes) {
  const std::string line = str(name, " ", bytes.size(), "\n");
  const int64_t begin = end_ + static_cast<int64_t>(line.size());
  // The line last: without it the bytes do not count.
  RETURN_IF_ERROR(write(bytes, begin));
  RETURN_IF_ERROR(write(std::as_bytes(std::span(line)), end_));
  offsets_[name] = begin;
  end_ = begin + static_cast<int64_t>(bytes.size());
  return Status::ok();
}

Status ChosenFile::read(const std::string& name, int64_t offset, std::span<std::byte> to) const {
  for (size_t done = 0; done < to.size();) {
    const int64_t count = platform::read_bytes(file_, to.subspan(done),
                                               offsets_.at(name) + offset + static_cast<int64_t>(done));
    if (count <= 0)
      return Status::error(str(path_, ": cannot read ", name, ": ",
                               count < 0 ? platform::last_error() : "it ends early",
                               "; run the same command again"));
    done += static_cast<size_t>(count);
  }
  return Status::ok();
}

void ChosenFile::remove() { platform::remove_file(path_.c_str()); }

void ChosenFile::remove(const std::string& folder) {
  platform::remove_file(path_join(folder, kFile).c_str());
}

Status ChosenRows::pack_chosen(const ParameterPlan& plan, int64_t row_begin, int64_t rows, uint32_t* words,
                               std::byte* scales) const {
  const int64_t row_words = plan.format.words(plan.row_size),
                row_scales = plan.format.groups(plan.row_size) * size_of(plan.format.dtype);
  const std::string& name = plan.parameter.name;
  RETURN_IF_ERROR(chosen->read(name, row_begin * row_words * 4,
                               {reinterpret_cast<std::byte*>(words), size_t(rows * row_words * 4)}));
  return chosen->read(name, plan.rows * row_words * 4 + row_begin * row_scales,
                      {scales, size_t(rows * row_scales)});
}

Status ChosenRows::pack(const ParameterPlan& plan, int64_t row_begin, std::span<const float> values,
                        uint32_t* words, std::byte* scales) const {
  const int64_t columns = plan.row_size, rows = static_cast<int64_t>(values.size()) / columns;
  const int64_t row_words = plan.format.words(columns),
                row_scales = plan.format.groups(columns) * size_of(plan.format.dtype);
  const std::string& name = plan.parameter.name;
  if (chosen && chosen->has(name)) return pack_chosen(plan, row_begin, rows, words, scales);
  auto found = importance.find(name);
  const std::vector<float>* all = found == importance.end() ? nullptr : &found->second;
  const int64_t experts = all ? static_cast<int64_t>(all->size()) / columns : 1,
                expert_rows = plan.rows / experts;
  for (int64_t r = 0; r < rows;) {
    const int64_t expert = (row_begin + r) / expert_rows,
                  count = std::min(rows - r, (expert + 1) * expert_rows - row_begin - r);
    std::span<const float> part = values.subspan(size_t(r * columns), size_t(count * columns));
    std::vector<float> finite(part.begin(), part.end());
    for (float& v : finite)
      if (!std::isfinite(v)) v = 0;
    pack_codes(1, plan.format, columns,
               choose_codes(1, plan.format, columns, finite, all ? all->data() + expert * columns : nullptr),
               words + r * row_words, scales + r * row_scales);
    for (int64_t i = 0; i < count; ++i)
      if (std::span<const float> row = part.subspan(size_t(i * columns), size_t(columns)); !is_finite(row))
        quantize_row(plan.format, row, words + (r + i) * row_words, scales + (r + i) * row_scales);
    r += count;
  }
  return Status::ok();
}

}  // namespace mlc::weights
