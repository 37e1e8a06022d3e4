// Rotation factors of positions: every kind of rope_scaling that transformers has (modeling_rope_utils), in
// f64 on the host, as the f32 table that kernels read. Kernels never compute a sine.
//
// With frequencies f(d) = theta^(-2d / rotary_dim), d = 0 .. rotary_dim/2 - 1, a = attention factor, L = the
// text's length, M = max_position_embeddings, O = original_max_position_embeddings:
//   default, gptj  f
//   linear         f / factor (arXiv:2306.15595)
//   dynamic        f of the base theta * (factor * max(L, M) / M - (factor - 1))^(rotary_dim / (rotary_dim -
//   2)) yarn           between f / factor and f, by how often a frequency turns within O (arXiv:2309.00071);
//                  a = attention_factor, or mscale's, or 0.1 ln(factor) + 1
//   longrope       f / short_factor(d), in texts longer than O f / long_factor(d) (arXiv:2402.13753);
//                  a = attention_factor, or sqrt(1 + ln(factor) / ln(O)) with factor M / O where none is
//                  stated
//   llama3         f / factor for long wavelengths, f for short ones, a ramp between (arXiv:2407.21783)
#pragma once

#include <limits>
#include <vector>

#include "base/json.h"

namespace mlc::runtime {

class RopeTable {
 public:
  // `spec` is the manifest's "rope": {"kind": "none" or one of the above, "rotary_dim", "theta", "scaling":
  // the parameters of the kind by Hugging Face's names}.
  static Result<RopeTable> create(const Json& spec, const std::string& what);

  int64_t rotary_dim() const { return rotary_dim_; }
  // Whether factors depend on the text's length. Keys stay rotated as they were when they entered the cache,
  // as in transformers: a text read in one step and one read in several differ then.
  bool depends_on_length() const { return longest_within_ < kAnyLength; }

  // Bytes of the tables of positions 0 .. positions - 1; `reserve` takes that memory, so that asking for
  // their factors allocates nothing.
  int64_t table_bytes(int64_t positions) const;
  void reserve(int64_t positions);
  // Writes rotary_dim floats: cosines of the rotary_dim/2 frequencies at `position`, then the sines, times
  // the attention factor, as in a text of `text_length` tokens, more than `position`.
  void factors(int64_t position, int64_t text_length, float* out);

 private:
  static constexpr int64_t kAnyLength = std::numeric_limits<int64_t>::max();

  // Frequencies, in radians per position, and the rows of positions 0, 1, ... as far as asked for.
  struct Table {
    std::vector<double> frequencies;
    std::vector<float> rows;
  };

  Status set_kind(const std::string& kind, const Json& scaling, const std::string& what);
  Status set_dynamic(const Json& scaling, const std::string& what);
  Status set_yarn(const Json& scaling, const std::string& what);
  Status set_longrope(const Json& scaling, const std::string& what);
  void set_powers(double theta, std::vector<double>& frequencies) const;
  void write_row(const std::vector<double>& frequencies, int64_t position, float* out) const;

  int64_t rotary_dim_ = 0;
  double theta_ = 0, attention_factor_ = 1;
  int64_t longest_within_ = kAnyLength;  // the longest text that takes its rows from `within_`
  Table within_, beyond_;
  double dynamic_factor_ = 0;  // above 0: the frequencies of `beyond_` are those of texts of `beyond_length_`
  int64_t beyond_length_ = 0;
};

}  // namespace mlc::runtime
