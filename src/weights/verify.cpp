// Runs two models along a text and compares what they predict.
#include "weights/verify.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/strings.h"
#include "base/threads.h"
#include "frontend/config.h"
#include "weights/quantize/run_model.h"

namespace mlc::weights {
namespace {

constexpr int64_t kBlockElements = 1 << 20;  // of a block of logits, and of the final linear's rows for it

// A model whose hidden states before the final linear are there.
class HiddenStates {
 public:
  HiddenStates(const VerifyModel& model, const Windows& windows, int threads,
               const std::function<void(int64_t)>& progress)
      : model_(model), config_(model.config), windows_(windows), threads_(threads), progress_(progress) {}

  Status run() {
    ASSIGN_OR_RETURN(built_, build_streamed(config_));
    ASSIGN_OR_RETURN(arguments_, step_arguments(config_, windows_));
    stream_ = std::make_unique<Stream>(*built_.module, windows_, arguments_,
                                       stream_parameters(model_.weights), threads_);
    std::vector<Stream*> streams = {stream_.get()};
    RETURN_IF_ERROR(
        run_model(*built_.module, streams, [&](const graph::Node& node, bool last) -> Result<bool> {
          if (last) {
            head_ = &node;
            return false;
          }
          run_linear(*stream_, node, model_.weights);
          const std::string& name = node.inputs[1]->name;
          const ModelWeights::Shape& shape = model_.weights.shape(name);
          model_.weights.release(name);
          if (progress_) progress_(shape.rows * shape.row_size * 4);
          return true;
        }));
    const graph::Function* logits = built_.module->find_function("get_logits");
    internal_check(head_ && logits->results[0] == head_->outputs[0],
                   "logits are what the final linear and its region give");
    return Status::ok();
  }

  int64_t inputs() const { return model_.weights.shape(head_->inputs[1]->name).row_size; }
  graph::HostTensor logits(int64_t begin, int64_t end) const {
    const std::string& name = head_->inputs[1]->name;
    graph::HostTensor block = stream_->columns(*head_, model_.weights.rows(name, begin, end), begin);
    if (progress_) progress_((end - begin) * inputs() * 4);
    return block;
  }

 private:
  const VerifyModel& model_;
  frontend::ModelConfig config_;
  const Windows& windows_;
  int threads_;
  const std::function<void(int64_t)>& progress_;
  frontend::BuiltModel built_;
  StepArguments arguments_;
  std::unique_ptr<Stream> stream_;
  const graph::Node* head_ = nullptr;
};

int64_t context_of(const frontend::ModelConfig& config) {
  int64_t context = INT64_MAX;
  if (config.has("context_window_size") && config.get_int("context_window_size") > 0)
    context = config.get_int("context_window_size");
  return config.sliding_window_size > 0 ? std::min(context, config.sliding_window_size) : context;
}

// The token that follows each row in its window; -1 after the last.
std::vector<int32_t> next_tokens(const Windows& windows) {
  std::vector<int32_t> next(windows.tokens.begin() + 1, windows.tokens.end());
  next.push_back(-1);
  for (size_t w = 1; w <= windows.count(); ++w) next[static_cast<size_t>(windows.begins[w] - 1)] = -1;
  return next;
}

}  // namespace

std::string_view verify_sample() {
  static constexpr char text[] =
#include "weights/verify_text.inc"
      ;
  return {text, sizeof(text) - 1};
}

double LogitComparison::Softmax::add(int64_t begin, std::span<const float> logits, int32_t next_token) {
  if (!std::ranges::all_of(logits, [](float v) { return std::isfinite(v); })) finite = false;
  if (!finite) return 0;
  const auto most = std::ranges::max_element(logits);
  double scale = 1;
  if (top < 0 || *most > largest) {
    scale = top < 0 ? 0 : std::exp(largest - *most);
    largest = *most, top = begin + (most - logits.begin());
  }
  sum *= scale;
  if (next_token >= begin && next_token < begin + static_cast<int64_t>(logits.size()))
    next = logits[static_cast<size_t>(next_token - begin)];
  return scale;
}

double LogitComparison::Softmax::log_sum() const { return largest + std::log(sum); }

LogitComparison::LogitComparison(std::vector<int32_t> next) : next_(std::move(next)), rows_(next_.size()) {}

void LogitComparison::add(int threads, int64_t begin, int64_t count, const float* a, const float* b) {
  parallel_for(threads, static_cast<int64_t>(rows_.size()), [&](int64_t r) {
    Row& row = rows_[size_t(r)];
    const int32_t next = next_[size_t(r)];
    if (next < 0) return;
    const std::span<const float> x(a + r * count, size_t(count)), y(b + r * count, size_t(count));
    row.weighted *= row.a.add(begin, x, next);
    row.b.add(begin, y, next);
    if (!row.a.finite || !row.b.finite) return;
    for (size_t i = 0; i < x.size(); ++i) {
      const double p = std::exp(x[i] - row.a.largest);
      row.a.sum += p;
      row.weighted += p * (static_cast<double>(x[i]) - y[i]);
      row.b.sum += std::exp(y[i] - row.b.largest);
    }
  });
}

Result<std::vector<VerifyPosition>> LogitComparison::finish(const std::string& a,
                                                            const std::string& b) const {
  std::vector<VerifyPosition> positions;
  for (size_t r = 0; r < rows_.size(); ++r) {
    if (next_[r] < 0) continue;
    const Row& row = rows_[r];
    for (const auto& [name, softmax] : {std::pair{&a, &row.a}, std::pair{&b, &row.b}})
      if (!softmax->finite)
        return Status::error(str(*name, ": gives a logit that is not finite at position ", r,
                                 " of the text, so there is nothing to compare"));
    const double log_a = row.a.log_sum(), log_b = row.b.log_sum();
    // sum p (log p - log q), with log p = a - log_a. Roundings may leave less than nothing of nothing.
    positions.push_back({std::max(0.0, row.weighted / row.a.sum - log_a + log_b), row.a.top == row.b.top,
                         log_a - row.a.next, log_b - row.b.next});
  }
  return positions;
}

Result<Windows> verify_windows(const VerifyModel& a, const VerifyModel& b, std::span<const int32_t> tokens,
                               int64_t positions, int64_t window) {
  for (const VerifyModel* m : {&a, &b})
    if (frontend::gives_embeddings(m->config))
      return Status::error(str(m->name, ": is of a model that gives embeddings, and logits are compared"));
  const int64_t vocab = frontend::model_shape(a.config).vocab, other = frontend::model_shape(b.config).vocab;
  if (vocab != other)
    return Status::error(str(b.name, ": has a vocabulary of ", other, " tokens, ", a.name, " one of ", vocab,
                             "; give two models of the same vocabulary"));
  for (int32_t token : tokens)
    if (token < 0 || token >= vocab)
      return Status::error(str(a.name, ": its tokenizer gives token ", token, ", the model has ", vocab,
                               "; do they belong together?"));
  if (tokens.size() < 2)
    return Status::error(
        str(a.name, ": its tokenizer makes fewer than two tokens of the text; give a longer one"));
  window = std::max<int64_t>(2, std::min({window, context_of(a.config), context_of(b.config)}));
  Windows windows;
  const auto count = static_cast<int64_t>(tokens.size());
  for (int64_t begin = 0; begin + 1 < count && positions > 0;) {
    const int64_t length = std::min({window, count - begin, positions + 1});
    windows.tokens.insert(windows.tokens.end(), tokens.begin() + begin, tokens.begin() + begin + length);
    windows.begins.push_back(static_cast<int64_t>(windows.tokens.size()));
    begin += length, positions -= length - 1;
  }
  return windows;
}

Result<VerifyReport> compare_models(const VerifyModel& a, const VerifyModel& b, const Windows& windows,
                                    const std::string& text, int threads,
                                    const std::function<void(int64_t)>& progress) {
  HiddenStates first(a, windows, threads, progress), second(b, windows, threads, progress);
  RETURN_IF_ERROR(first.run());
  RETURN_IF_ERROR(second.run());
  LogitComparison comparison(next_tokens(windows));
  const int64_t vocab = frontend::model_shape(a.config).vocab;
  const int64_t step =
      std::max<int64_t>(16, kBlockElements / std::max({windows.rows(), first.inputs(), second.inputs()}));
  for (int64_t begin = 0; begin < vocab; begin += step) {
    const int64_t end = std::min(vocab, begin + step);
    const graph::HostTensor x = first.logits(begin, end), y = second.logits(begin, end);
    comparison.add(threads, begin, end - begin, x.floats.data(), y.floats.data());
  }
  ASSIGN_OR_RETURN(std::vector<VerifyPosition> positions, comparison.finish(a.name, b.name));
  return make_verify_report(text, std::move(positions));
}

int64_t verify_bytes(const VerifyModel& model) {
  const frontend::BuiltModel built = frontend::build_model(model.config, *find_quant_scheme("q0f32"));
  return 4 * linear_elements(*built.module);
}

}  // namespace mlc::weights
