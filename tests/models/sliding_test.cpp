// A toy llama compiled with a sliding window, at O0: against the plain model while the window holds
// everything, and beyond it against a llama in f64 that keeps a list of its keys per layer. Pages come in
// random order and are NaN until written.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "serve/engine.h"
#include "support/compiled_model.h"
#include "support/native_kernels.h"
#include "support/poisoned_device.h"
#include "support/reference_model.h"

namespace mlc::testing {
namespace {

using runtime::StepSequence;
using runtime::WantLogits;
using Vector = std::vector<double>;

// As in logits_test.cpp: two computations of the same logits, of which one is in f32.
const double kFloatBound = 2 * std::ldexp(std::sqrt(256.0) * std::sqrt(8.0 * 2 + 2), -24);
constexpr const char* kScheme = "q4f16_1";

std::string source() { return toy_file("llama", ""); }

// Llama as its papers have it, in f64, for one sequence. Each layer keeps unrotated keys and values of the
// tokens that the window holds, in order: a list, without pages or storage indices.
class ListLlama {
 public:
  ListLlama(size_t window, size_t sinks) : window_(window), sinks_(sinks) {
    const std::unique_ptr<Checkpoint> checkpoint = must(Checkpoint::open(source()));
    config_ = must(
        frontend::parse_hf_config(must(read_json_file(source() + "/config.json")), "auto", "config.json"));
    const QuantScheme scheme = must(find_quant_scheme(kScheme));
    for (const frontend::Parameter& p : frontend::build_model(config_, scheme).parameters)
      weights_[p.name] = load_parameter(*checkpoint, p, scheme, Storage::kAsStored);
    layers_.resize(static_cast<size_t>(config_.get_int("num_hidden_layers")));
  }

  // Logits of each token; the window slides after the last.
  std::vector<float> step(std::span<const int32_t> tokens) {
    std::vector<float> logits;
    for (int32_t token : tokens) {
      const size_t position = layers_[0].keys.size();
      const graph::HostTensor& table = weights_.at("model.embed_tokens.weight");
      Vector x(static_cast<size_t>(table.shape[1]));
      for (size_t i = 0; i < x.size(); ++i) x[i] = table.floats[static_cast<size_t>(token) * x.size() + i];
      for (size_t layer = 0; layer < layers_.size(); ++layer) run_layer(layer, position, x);
      for (double v : times("lm_head", normed("model.norm", x))) logits.push_back(static_cast<float>(v));
    }
    for (Layer& layer : layers_)
      while (layer.keys.size() > window_) {
        layer.keys.erase(layer.keys.begin() + static_cast<int64_t>(sinks_));
        layer.values.erase(layer.values.begin() + static_cast<int64_t>(sinks_));
      }
    return logits;
  }

 private:
  struct Layer {
    std::vector<Vector> keys, values;
  };

  Vector times(const std::string& name, const Vector& x) const {
    const graph::HostTensor& w = weights_.at(name + ".weight");
    Vector y(static_cast<size_t>(w.shape[0]));
    for (size_t r = 0; r < y.size(); ++r)
      for (size_t c = 0; c < x.size(); ++c) y[r] += w.floats[r * x.size() + c] * x[c];
    return y;
  }

  Vector normed(const std::string& name, Vector x) const {
    const double mean =
        std::inner_product(x.begin(), x.end(), x.begin(), 0.0) / static_cast<double>(x.size());
    const std::vector<float>& w = weights_.at(name + ".weight").floats;
    for (size_t i = 0; i < x.size(); ++i) x[i] *= w[i] / std::sqrt(mean + config_.get_double("rms_norm_eps"));
    return x;
  }

  // One head of x rotated to a position: pairs (d, d + n/2) turn by position * theta^(-2d/n),
  // arXiv:2104.09864.
  Vector rotated(const Vector& x, size_t head, size_t position) const {
    const size_t n = static_cast<size_t>(config_.get_int("head_dim")), half = n / 2;
    Vector out(n);
    for (size_t d = 0; d < half; ++d) {
      const double frequency =
          std::pow(config_.get_double("position_embedding_base"), -2.0 * double(d) / double(n));
      const double angle = double(position) * frequency, a = x[head * n + d], b = x[head * n + d + half];
      out[d] = a * std::cos(angle) - b * std::sin(angle);
      out[d + half] = b * std::cos(angle) + a * std::sin(angle);
    }
    return out;
  }

  Vector attend(const Layer& layer, const Vector& q, size_t position) const {
    const size_t heads = static_cast<size_t>(config_.get_int("num_attention_heads")),
                 sharing = heads / static_cast<size_t>(config_.get_int("num_key_value_heads")),
                 n = q.size() / heads;
    Vector out(q.size());
    for (size_t h = 0; h < heads; ++h) {
      const Vector query = rotated(q, h, position);
      double total = 0;
      for (size_t t = 0; t < layer.keys.size(); ++t) {
        const Vector key = rotated(layer.keys[t], h / sharing, t);
        const double dot = std::inner_product(query.begin(), query.end(), key.begin(), 0.0);
        const double weight = std::exp(dot / std::sqrt(double(n)));
        total += weight;
        for (size_t d = 0; d < n; ++d) out[h * n + d] += weight * layer.values[t][h / sharing * n + d];
      }
      for (size_t d = 0; d < n; ++d) out[h * n + d] /= total;
    }
    return out;
  }

  void run_layer(size_t index, size_t position, Vector& x) {
    const std::string block = "model.layers." + std::to_string(index) + ".";
    Layer& layer = layers_[index];
    const Vector qkv = times(block + "self_attn.qkv_proj", normed(block + "input_layernorm", x));
    const int64_t n = config_.get_int("head_dim"), q_end = n * config_.get_int("num_attention_heads"),
                  k_end = q_end + n * config_.get_int("num_key_value_heads");
    layer.keys.emplace_back(qkv.begin() + q_end, qkv.begin() + k_end);
    layer.values.emplace_back(qkv.begin() + k_end, qkv.end());
    const Vector mixed = attend(layer, {qkv.begin(), qkv.begin() + q_end}, position);
    const Vector attended = times(block + "self_attn.o_proj", mixed);
    for (size_t i = 0; i < x.size(); ++i) x[i] += attended[i];
    const Vector both = times(block + "mlp.gate_up_proj", normed(block + "post_attention_layernorm", x));
    Vector inner(both.size() / 2);
    for (size_t i = 0; i < inner.size(); ++i)
      inner[i] = both[i] / (1 + std::exp(-both[i])) * both[inner.size() + i];
    const Vector added = times(block + "mlp.down_proj", inner);
    for (size_t i = 0; i < x.size(); ++i) x[i] += added[i];
  }

  size_t window_, sinks_;
  frontend::ModelConfig config_;
  std::map<std::string, graph::HostTensor> weights_;
  std::vector<Layer> layers_;
};

std::vector<int32_t> some_tokens(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(n);
  for (int32_t& t : tokens) t = static_cast<int32_t>(random() % 512);
  return tokens;
}

class Sliding : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder = new TempFolder;
    convert_checkpoint(source(), kScheme, folder->path());
  }
  static void TearDownTestSuite() { delete folder; }

  // window 0: the plain model.
  static LoadedModel load(int64_t window, int64_t sinks, int64_t max_sequences = 1,
                          int64_t total_tokens = 0) {
    const std::string path = folder->file(str(window, "-", sinks, ".so"));
    if (!file_exists(path)) {
      Json config = toy_config("llama", kScheme);
      if (window > 0) config["sliding_window_size"] = window, config["attention_sink_size"] = sinks;
      config["max_batch_size"] = 4;
      compile_to(path, config, 0, {runnable_targets().front()});
    }
    LoadedModel m = LoadedModel::load(must(PoisonedDevice::open(2)), path, folder->path(),
                                      {.max_sequences = max_sequences,
                                       .context_tokens = 0,
                                       .total_tokens = total_tokens,
                                       .prefill_chunk = 16,
                                       .shuffle_pages = 5});
    PoisonedDevice::arena_is_allocated(*m.device);
    return m;
  }

  static void expect_close(const std::vector<float>& got, const std::vector<float>& expected,
                           const std::string& what) {
    ASSERT_EQ(got.size(), expected.size()) << what;
    for (size_t at = 0; at < got.size(); at += 512)
      ASSERT_LT(relative_rms(got.data() + at, expected.data() + at, 512), kFloatBound)
          << what << ", row " << at / 512;
  }

  static TempFolder* folder;
};
TempFolder* Sliding::folder = nullptr;

TEST_F(Sliding, WindowThatHoldsEverythingIsThePlainModel) {
  const std::vector<int32_t> tokens = some_tokens(60, 1);
  const LoadedModel plain = load(0, 0), windowed = load(64, 4);
  must(plain->sequences().add(1));
  must(windowed->sequences().add(1));
  for (size_t at = 0; at < tokens.size(); at += 12) {
    const std::vector<StepSequence> step = {{1, std::span(tokens).subspan(at, 12)}};
    expect_close(windowed.step(step, WantLogits::kAll), plain.step(step, WantLogits::kAll),
                 str("tokens from ", at));
  }
}

TEST_F(Sliding, SmallerWindowsAreAListOfKeys) {
  const std::vector<int32_t> tokens = some_tokens(90, 2);
  const std::pair<int64_t, int64_t> windows[] = {{17, 0}, {20, 4}, {40, 18}};
  for (auto [window, sinks] : windows) {
    const LoadedModel m = load(window, sinks);
    must(m->sequences().add(1));
    ListLlama reference(static_cast<size_t>(window), static_cast<size_t>(sinks));
    const size_t steps[] = {1, 5, 16, 1, 1, 1, 9, 16, 3, 1, 16, 1, 16, 1, 1, 1};
    size_t at = 0;
    for (size_t n : steps) {
      const std::span<const int32_t> part = std::span(tokens).subspan(at, n);
      expect_close(m.step({{1, part}}, WantLogits::kAll), reference.step(part),
                   str("window ", window, ", ", sinks, " sinks, tokens from ", at));
      at += n;
    }
    ASSERT_EQ(at, tokens.size());
  }
}

TEST_F(Sliding, SequencesInOneStepSlideByThemselves) {
  const std::vector<int32_t> first = some_tokens(50, 3), second = some_tokens(50, 4);
  const LoadedModel m = load(20, 4, /*max_sequences=*/3, /*total_tokens=*/120);
  ListLlama a(20, 4), b(20, 4);
  for (int64_t id : {1, 2}) must(m->sequences().add(id));
  for (size_t at = 0; at < 40; at += 8) {
    const std::span<const int32_t> x = std::span(first).subspan(at, 8), y = std::span(second).subspan(at, 3);
    std::vector<float> expected = a.step(x), more = b.step(y);
    expected.insert(expected.end(), more.begin(), more.end());
    expect_close(m.step({{1, x}, {2, y}}, WantLogits::kAll), expected, str("step at ", at));
  }
  must(m->sequences().fork(1, 3, m->sequences().length(1)));  // goes on alone
  const std::vector<float> parent = m.step({{1, std::span(first).subspan(40, 5)}}, WantLogits::kAll);
  expect_close(m.step({{3, std::span(first).subspan(40, 5)}}, WantLogits::kAll), parent, "fork");
  expect_close(parent, a.step(std::span(first).subspan(40, 5)), "parent of a fork");
}

TEST_F(Sliding, LongGenerationStaysInItsPages) {
  const LoadedModel m = load(32, 4);
  // 32 + 16 tokens in 3 pages, and 2 that may be in part dropped.
  EXPECT_EQ(m->memory().state.store.groups[0].pages, 5);
  const auto tokenizer =
      must(Tokenizer::load(std::string(MLC_SOURCE_DIR) + "/tests/data/weights/tokenizers/llama"));
  serve::Engine engine(*m.model, tokenizer);
  serve::GenerationConfig config;
  config.temperature = 1;
  config.seed = 7;
  config.max_tokens = 300;
  config.ignore_eos = true;
  for (serve::RequestId id : {1, 2}) {  // the second finds a kept sequence that has slid
    int64_t tokens = 0;
    std::string error;
    serve::FinishReason finish = serve::FinishReason::kNone;
    must(engine.add_request({id, some_tokens(100, 5), config, [&](const serve::StreamUpdate& u) {
                               tokens += u.token >= 0;
                               finish = u.finish;
                               error = u.error;
                             }}));
    while (engine.step()) EXPECT_LE(m->sequences().used().pages[0], 5);
    EXPECT_EQ(tokens, 300) << error;
    EXPECT_EQ(finish, serve::FinishReason::kLength) << error;
  }
}

TEST_F(Sliding, ManifestSaysTheWindow) {
  const LoadedModel plain = load(0, 0), windowed = load(20, 4);
  const Json& manifest = windowed->manifest();
  EXPECT_EQ(find_int(manifest, "sliding_window_size"), 20);
  EXPECT_EQ(find_int(manifest, "attention_sink_size"), 4);
  EXPECT_EQ(find_int(manifest, "context_window_size"), -1);
  EXPECT_EQ(find_int(manifest, "prefill_chunk_size"), 20);
  EXPECT_EQ(find_int(plain->manifest(), "sliding_window_size"), -1);
}

}  // namespace
}  // namespace mlc::testing
