// The two passes over a calibration text.
#include "weights/quantize/calibrate.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/strings.h"
#include "base/threads.h"
#include "formats/quant/scheme.h"
#include "frontend/layers/parameters.h"
#include "graph/ops/math.h"
#include "weights/quantize/kernels.h"
#include "weights/quantize/matrix.h"
#include "weights/quantize/run_model.h"

namespace mlc::weights {
namespace {

using graph::HostTensor;
using graph::Node;
using graph::Value;

constexpr size_t kGoodWindows = 8;  // of the text that good reads: more change little
constexpr float kCorrection =
    0.5f;  // of the difference between the source's inputs and the quantized model's

// Rows of a table by id, as `quantizer` packs them where it does.
HostTensor take_packed(const SourceWeights& weights, const std::string& name, std::span<const int32_t> ids,
                       const RowQuantizer& quantizer, int threads) {
  const ParameterPlan& p = weights.find(name);
  HostTensor out = weights.take(name, ids);
  if (!can_choose(p.format) || is_exact(p, weights.checkpoint())) return out;
  parallel_for(threads, static_cast<int64_t>(ids.size()), [&](int64_t i) {
    const int64_t id = std::clamp<int64_t>(ids[size_t(i)], 0, p.rows - 1);
    const std::span<float> row(out.floats.data() + i * p.row_size, static_cast<size_t>(p.row_size));
    std::vector<uint32_t> words(static_cast<size_t>(p.format.words(p.row_size)));
    std::vector<std::byte> scales(static_cast<size_t>(p.format.groups(p.row_size) * size_of(p.format.dtype)));
    if (quantizer.pack(p, id, row, words.data(), scales.data()).is_ok())
      unpack_rows(1, p.format, p.row_size, words.data(), scales.data(), row);
  });
  return out;
}

// What the second pass needs of the inputs that a linear gets in both models.
struct Inputs {
  const Value* of = nullptr;
  bool valid = false;
  Feedback feedback;
  std::vector<float> difference;  // mean of (source - quantized) quantized^T, [K, K]
};

class Calibration {
 public:
  Calibration(const frontend::ModelConfig& config, const Plan& plan, const Checkpoint& checkpoint,
              const CalibrateOptions& options)
      : config_(config), options_(options), weights_(plan, checkpoint, options.threads) {}

  Result<std::unique_ptr<ChosenRows>> run(const Windows& windows) {
    ASSIGN_OR_RETURN(const frontend::BuiltModel built, build_streamed(config_));
    module_ = built.module.get();
    RETURN_IF_ERROR(weigh_inputs(windows.first(kGoodWindows)));
    finish_importance();
    if (options_.quantizer == Quantizer::kBest) RETURN_IF_ERROR(choose(windows));
    return std::move(rows_);
  }

 private:
  // The passes.
  Status weigh_inputs(const Windows& windows) {
    ASSIGN_OR_RETURN(const StepArguments arguments, step_arguments(config_, windows));
    Stream source(*module_, windows, arguments, parameters(nullptr), options_.threads);
    std::vector<Stream*> streams = {&source};
    return run_model(*module_, streams,
                     [&](const Node& node, bool last) { return weigh(source, node, last); });
  }

  Status choose(const Windows& windows) {
    ASSIGN_OR_RETURN(rows_->chosen, ChosenFile::open(options_.folder, options_.fingerprint));
    ASSIGN_OR_RETURN(const StepArguments arguments, step_arguments(config_, windows));
    Stream source(*module_, windows, arguments, parameters(nullptr), options_.threads);
    Stream quantized(*module_, windows, arguments, parameters(rows_.get()), options_.threads);
    std::vector<Stream*> streams = {&source, &quantized};
    return run_model(*module_, streams, [&](const Node& node, bool last) -> Result<bool> {
      if (last) return false;
      return choose_linear(source, quantized, node);
    });
  }

  StreamParameters parameters(const RowQuantizer* quantizer) const {
    StreamParameters parameters = stream_parameters(weights_);
    if (quantizer)
      parameters.rows = [this, quantizer](const std::string& name, std::span<const int32_t> ids) {
        return take_packed(weights_, name, ids, *quantizer, options_.threads);
      };
    return parameters;
  }

  // Of a linear's parameter: [N, K], of `count` experts.
  struct Shape {
    int64_t count, n, k;
  };
  static Shape shape_of(const ParameterPlan& p) {
    const int64_t count = p.shape.size() > 2 ? p.shape[0] : 1;
    return {count, p.rows / count, p.row_size};
  }

  // First pass: adds up the squares of each linear's inputs; runs the linear but for the last.
  Result<bool> weigh(Stream& source, const Node& node, bool last) {
    const ParameterPlan& p = weights_.find(node.inputs[1]->name);
    const Shape shape = shape_of(p);
    const bool wanted = can_choose(p.format);
    for (int64_t e = 0; e < shape.count; ++e) {
      Stream::ExpertRows rows;
      const bool expert = node.op == "expert_matmul";
      if (expert) rows = source.expert_rows(node, e);
      if (wanted) add_squares(p.parameter.name, shape, e, expert ? rows.x : source.value(node.inputs[0]));
      if (last) continue;
      const std::vector<float> weight = weights_.rows(p.parameter.name, e * shape.n, (e + 1) * shape.n);
      expert ? source.multiply_expert(node, rows, weight) : source.multiply(node, weight);
    }
    went_through(p);
    return !last;
  }

  void add_squares(const std::string& name, const Shape& shape, int64_t expert, const HostTensor& x) {
    constexpr int64_t kRows = 512;  // summed by themselves, so that threads do not matter
    std::vector<float>& sums = rows_->importance[name];
    sums.resize(static_cast<size_t>(shape.count * shape.k));
    const int64_t pieces = (x.shape[0] + kRows - 1) / kRows;
    std::vector<std::vector<float>> part(static_cast<size_t>(pieces));
    parallel_for(options_.threads, pieces, [&](int64_t i) {
      part[size_t(i)].resize(static_cast<size_t>(shape.k));
      for (int64_t r = i * kRows; r < std::min(x.shape[0], (i + 1) * kRows); ++r)
        quantize_kernels().add_squares(x.floats.data() + r * shape.k, part[size_t(i)].data(), shape.k);
    });
    for (const std::vector<float>& one : part)
      for (int64_t k = 0; k < shape.k; ++k) sums[size_t(expert * shape.k + k)] += one[size_t(k)];
    input_rows_[name].resize(static_cast<size_t>(shape.count));
    input_rows_[name][size_t(expert)] += x.shape[0];
  }

  // Sums to means, with a share of their own mean added: 1 %, so that no input counts for nothing; of a table
  // that is also read by rows all of it. Experts that no row met get the mean of the others.
  void finish_importance() {
    for (auto it = rows_->importance.begin(); it != rows_->importance.end();) {
      const ParameterPlan& p = weights_.find(it->first);
      const Shape shape = shape_of(p);
      const std::vector<int64_t>& counts = input_rows_[it->first];
      std::vector<float>& h = it->second;
      const bool finite = std::ranges::all_of(h, [](float v) { return std::isfinite(v); });
      std::vector<double> all(static_cast<size_t>(shape.k));
      int64_t total = 0;
      for (int64_t e = 0; e < shape.count; ++e) {
        total += counts[size_t(e)];
        for (int64_t k = 0; k < shape.k; ++k) all[size_t(k)] += h[size_t(e * shape.k + k)];
      }
      if (!finite || total == 0) {
        it = rows_->importance.erase(it);
        continue;
      }
      for (int64_t e = 0; e < shape.count; ++e) {
        std::span<float> own(h.data() + e * shape.k, static_cast<size_t>(shape.k));
        const double rows = static_cast<double>(counts[size_t(e)] > 0 ? counts[size_t(e)] : total);
        double mean = 0;
        for (size_t k = 0; k < own.size(); ++k) {
          own[k] = static_cast<float>((counts[size_t(e)] > 0 ? own[k] : all[k]) / rows);
          mean += own[k] / static_cast<double>(own.size());
        }
        const double share = p.parameter.role == WeightRole::kEmbedding ? 1 : 0.01;
        for (float& v : own) v = static_cast<float>(v + share * mean + 1e-12);
      }
      ++it;
    }
  }

  // Second pass.
  Result<bool> choose_linear(Stream& source, Stream& quantized, const Node& node) {
    const ParameterPlan& p = weights_.find(node.inputs[1]->name);
    const Shape shape = shape_of(p);
    const bool expert = node.op == "expert_matmul";
    const bool wanted = can_choose(p.format) && !is_exact(p, weights_.checkpoint());
    std::vector<std::byte> packed;
    for (int64_t e = 0; e < shape.count; ++e) {
      Stream::ExpertRows source_rows, rows;
      if (expert) source_rows = source.expert_rows(node, e), rows = quantized.expert_rows(node, e);
      std::vector<float> weight = weights_.rows(p.parameter.name, e * shape.n, (e + 1) * shape.n);
      expert ? source.multiply_expert(node, source_rows, weight) : source.multiply(node, weight);
      if (wanted && rows_->chosen->has(p.parameter.name)) {
        RETURN_IF_ERROR(read_chosen(p, shape, e, weight));
      } else if (wanted) {
        // Experts' rows of the two models differ: theirs are quantized for their own inputs alone.
        const HostTensor& y = expert ? rows.x : quantized.value(node.inputs[0]);
        const HostTensor& x = expert ? rows.x : source.value(node.inputs[0]);
        choose_rows(p, shape, e, expert ? nullptr : node.inputs[0], x, y, weight, packed);
      }
      expert ? quantized.multiply_expert(node, rows, weight) : quantized.multiply(node, weight);
    }
    if (!packed.empty()) RETURN_IF_ERROR(rows_->chosen->add(p.parameter.name, packed));
    went_through(p);
    return true;
  }

  // Codes of rows [N, K] in packed form, of all experts: words, then scales.
  struct Packed {
    uint32_t* words;
    std::byte* scales;
  };
  static Packed place_of(const ParameterPlan& p, const Shape& shape, int64_t expert,
                         std::vector<std::byte>& packed) {
    const int64_t row_words = p.format.words(p.row_size),
                  row_scales = p.format.groups(p.row_size) * size_of(p.format.dtype);
    packed.resize(static_cast<size_t>(p.rows * (row_words * 4 + row_scales)));
    return {reinterpret_cast<uint32_t*>(packed.data()) + expert * shape.n * row_words,
            packed.data() + p.rows * row_words * 4 + expert * shape.n * row_scales};
  }

  Status read_chosen(const ParameterPlan& p, const Shape& shape, int64_t expert, std::vector<float>& weight) {
    const int64_t row_words = p.format.words(p.row_size),
                  row_scales = p.format.groups(p.row_size) * size_of(p.format.dtype);
    std::vector<uint32_t> words(static_cast<size_t>(shape.n * row_words));
    std::vector<std::byte> scales(static_cast<size_t>(shape.n * row_scales));
    RETURN_IF_ERROR(rows_->pack_chosen(p, expert * shape.n, shape.n, words.data(), scales.data()));
    unpack_rows(options_.threads, p.format, shape.k, words.data(), scales.data(), weight);
    return Status::ok();
  }

  // Chooses for rows of `weight` [N, K] by source inputs x and quantized ones y; what they stand for replaces
  // the weight.
  void choose_rows(const ParameterPlan& p, const Shape& shape, int64_t expert, const Value* of,
                   const HostTensor& x, const HostTensor& y, std::vector<float>& weight,
                   std::vector<std::byte>& packed) {
    if (of == nullptr || inputs_.of != of) gather(of, x, y);
    const Packed to = place_of(p, shape, expert, packed);
    const bool finite = std::ranges::all_of(weight, [](float v) { return std::isfinite(v); });
    if (finite && inputs_.valid) {
      if (of) correct(shape, weight);
      pack_codes(options_.threads, p.format, shape.k,
                 choose_codes(options_.threads, p.format, shape.k, weight, nullptr, &inputs_.feedback),
                 to.words, to.scales);
    } else {
      const Status packed_by_rows = rows_->pack(p, expert * shape.n, weight, to.words, to.scales);
      internal_check(packed_by_rows.is_ok(), "rows that are not chosen yet are packed without a file");
    }
    unpack_rows(options_.threads, p.format, shape.k, to.words, to.scales, weight);
  }

  void gather(const Value* of, const HostTensor& x, const HostTensor& y) {
    const int64_t rows = y.shape[0], k = y.shape[1];
    inputs_.of = of, inputs_.valid = rows > 0;
    if (rows == 0) return;
    const float per_row = 1.f / static_cast<float>(rows);
    std::vector<float> moments(static_cast<size_t>(k * k));
    add_moments(options_.threads, rows, k, y.floats.data(), moments.data());
    for (float& v : moments) v *= per_row;
    inputs_.valid = make_feedback(options_.threads, k, std::move(moments), inputs_.feedback);
    if (!inputs_.valid || &x == &y) return;
    std::vector<float>& change = change_;
    change.resize(y.floats.size());
    parallel_for(options_.threads, rows, [&](int64_t r) {
      for (int64_t i = r * k; i < (r + 1) * k; ++i)
        change[size_t(i)] = (x.floats[size_t(i)] - y.floats[size_t(i)]) * per_row;
    });
    inputs_.difference.resize(static_cast<size_t>(k * k));
    multiply(options_.threads, k, k, rows, MatrixView{change.data(), k}.transposed(), {y.floats.data(), k},
             inputs_.difference.data(), k);
  }

  // weight += kCorrection * weight * difference * H^-1, with H^-1 = U^T U.
  void correct(const Shape& shape, std::vector<float>& weight) {
    std::vector<float> a(weight.size()), b(weight.size());
    const int64_t n = shape.n, k = shape.k;
    const MatrixView u{inputs_.feedback.factor.data(), k};
    multiply(options_.threads, n, k, k, {weight.data(), k}, {inputs_.difference.data(), k}, a.data(), k);
    multiply(options_.threads, n, k, k, {a.data(), k}, u.transposed(), b.data(), k);
    for (float& v : b) v *= kCorrection;
    multiply(options_.threads, n, k, k, {b.data(), k}, u, weight.data(), k, Store::kAdd);
  }

  void went_through(const ParameterPlan& p) {
    weights_.release(p.parameter.name);
    if (options_.progress) options_.progress(p.rows * p.row_size * 4);
  }

  frontend::ModelConfig config_;
  const CalibrateOptions& options_;
  SourceWeights weights_;
  graph::Module* module_ = nullptr;
  std::unique_ptr<ChosenRows> rows_ = std::make_unique<ChosenRows>();
  std::map<std::string, std::vector<int64_t>> input_rows_;  // that importance is the sum of, by expert
  Inputs inputs_;
  std::vector<float> change_;  // of gather(): kept for the next layer's
};

}  // namespace

Result<Quantizer> parse_quantizer(const std::string& name) {
  for (const Quantizer q : {Quantizer::kMlc, Quantizer::kGood, Quantizer::kBest})
    if (name == name_of(q)) return q;
  return Status::error(str("--quantizer: found '", name, "', expected mlc, good or best",
                           did_you_mean(name, {"mlc", "good", "best"})));
}

std::string name_of(Quantizer quantizer) {
  return quantizer == Quantizer::kMlc ? "mlc" : quantizer == Quantizer::kGood ? "good" : "best";
}

Quantizer quantizer_by_size(const Plan& plan) {
  const bool any = std::ranges::any_of(
      plan.parameters, [](const ParameterPlan& p) { return can_choose(p.format) && !p.exact && p.rank < 0; });
  return any && plan.source_elements <= kGoodParameters ? Quantizer::kGood : Quantizer::kMlc;
}

Status check_choosable(const QuantScheme& scheme) {
  if (can_choose(scheme.linear)) return Status::ok();
  return Status::error(str("--quantizer: ", scheme.name,
                           " has no codes to choose; use it with q4f16_1, q4f32_1, q3f16_1 or leave it out"));
}

int64_t calibrate_bytes(const Plan& plan, Quantizer quantizer) {
  int64_t bytes = 0;
  for (const ParameterPlan& p : plan.parameters)
    if (p.shape.size() > 1) bytes += p.rows * p.row_size * 4;
  return bytes * (quantizer == Quantizer::kBest ? 2 : 1);
}

Result<std::unique_ptr<ChosenRows>> calibrate(const frontend::ModelConfig& config, const Plan& plan,
                                              const Checkpoint& checkpoint, const Windows& windows,
                                              const CalibrateOptions& options) {
  RETURN_IF_ERROR(check_choosable(plan.scheme));
  for (const ParameterPlan& p : plan.parameters)
    if (p.rank >= 0)
      return Status::error(
          "--quantizer: weights that are split for ranks (MLC_INTERNAL_PRESHARD_NUM) are packed by mlc only; "
          "unset one "
          "of the two");
  return Calibration(config, plan, checkpoint, options).run(windows);
}

}  // namespace mlc::weights
