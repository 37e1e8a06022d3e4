// The codes and scales that the calibrated quantizers choose, and where `best` keeps what it has chosen until
// the shards are written.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/platform/platform.h"
#include "base/status.h"
#include "weights/block.h"
#include "weights/quantize/matrix.h"

namespace mlc::weights {

// Whether the format is one that codes can be chosen for: groups of unsigned codes about a constant.
bool can_choose(const WeightFormat& format);

struct Codes {
  std::vector<uint8_t> codes;  // [rows, columns]
  std::vector<float> scales;   // [rows, groups]
};

// For rows of `columns` values each, all finite. `importance` [columns] or nullptr; with `feedback` errors
// are fed back along the columns.
Codes choose_codes(int threads, const WeightFormat& format, int64_t columns, std::span<const float> values,
                   const float* importance, const Feedback* feedback = nullptr);
// As quantize_row() lays them out.
void pack_codes(int threads, const WeightFormat& format, int64_t columns, const Codes& codes, uint32_t* words,
                std::byte* scales);
// What packed rows stand for, as kernels compute it.
void unpack_rows(int threads, const WeightFormat& format, int64_t columns, const uint32_t* words,
                 const std::byte* scales, std::span<float> values);

// A file of packed parameters in the output folder: finished ones survive an interruption.
//
// Layout: line 1 what it is of (a fingerprint), then for each parameter a line "NAME BYTES" and that many
// bytes: the words of all rows, then the scales of all rows as quantize_row() stores them.
class ChosenFile {
 public:
  // Opens or begins the file; one of another fingerprint is replaced, a half-written end is cleared.
  static Result<std::unique_ptr<ChosenFile>> open(const std::string& folder, const std::string& fingerprint);
  ~ChosenFile();
  ChosenFile(const ChosenFile&) = delete;
  ChosenFile& operator=(const ChosenFile&) = delete;

  bool has(const std::string& name) const { return offsets_.contains(name); }
  Status add(const std::string& name, std::span<const std::byte> bytes);
  // Bytes [offset, offset + to.size()) of a parameter that it has.
  Status read(const std::string& name, int64_t offset, std::span<std::byte> to) const;
  void remove();
  // The same of a folder's file that an interrupted conversion left.
  static void remove(const std::string& folder);

 private:
  ChosenFile(std::string path, platform::File file) : path_(std::move(path)), file_(file) {}
  Status write(std::span<const std::byte> bytes, int64_t at);
  Status find_finished(const std::string& fingerprint);
  std::string path_;
  platform::File file_;
  int64_t end_ = 0;
  std::map<std::string, int64_t> offsets_;
};

// What calibration leaves for the conversion.
class ChosenRows : public RowQuantizer {
 public:
  // By parameter: what each input's squared error weighs, [K], or of stacked experts [E, K]; none: all the
  // same.
  std::map<std::string, std::vector<float>> importance;
  std::unique_ptr<ChosenFile> chosen;  // parameters that are packed already; nullptr: none

  Status pack(const ParameterPlan& plan, int64_t row_begin, std::span<const float> values, uint32_t* words,
              std::byte* scales) const override;
  // Rows of a parameter that `chosen` has.
  Status pack_chosen(const ParameterPlan& plan, int64_t row_begin, int64_t rows, uint32_t* words,
                     std::byte* scales) const;
};

}  // namespace mlc::weights
