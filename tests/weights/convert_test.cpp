// Streaming: the same bytes for any number of threads, resuming, and what wrong checkpoints get.
#include "weights/convert.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/half.h"
#include "base/strings.h"
#include "formats/quant/group.h"
#include "support/temp_folder.h"
#include "weights/block.h"
#include "weights/journal.h"
#include "weights/ranks.h"

namespace mlc::weights {
namespace {

using frontend::Parameter;

struct Tensor {
  std::string name;
  std::vector<int64_t> shape;
};

// A float32 safetensors file of smooth numbers.
std::string write_checkpoint(const std::string& folder, const std::vector<Tensor>& tensors) {
  Json header = Json::object();
  std::vector<float> data;
  for (const Tensor& t : tensors) {
    size_t begin = data.size(), count = 1;
    for (int64_t dim : t.shape) count *= static_cast<size_t>(dim);
    for (size_t i = 0; i < count; ++i) data.push_back(std::sin(static_cast<float>(i % 99991 + begin % 17)));
    header[t.name] = {{"dtype", "F32"}, {"shape", t.shape}, {"data_offsets", {4 * begin, 4 * data.size()}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  uint64_t size = text.size();
  std::string path = path_join(folder, "model.safetensors");
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&size), 8);
  out << text;
  out.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(4 * data.size()));
  return path;
}

Parameter linear(const std::string& name, std::vector<int64_t> shape, std::vector<std::string> sources = {}) {
  Parameter p;
  p.name = name, p.shape = std::move(shape), p.role = WeightRole::kLinear;
  p.source = sources.empty() ? SourceExpr::of(name) : SourceExpr::rows_of(sources);
  return p;
}

class Convert : public ::testing::Test {
 protected:
  std::unique_ptr<Checkpoint> checkpoint(const std::vector<Tensor>& tensors) {
    auto opened = Checkpoint::open(write_checkpoint(folder_.path(), tensors));
    EXPECT_TRUE(opened.is_ok()) << opened.status().message();
    return std::move(opened).value();
  }
  std::string out(const std::string& name) { return folder_.file(name); }
  std::string index_of(const std::string& folder) { return *read_file(path_join(folder, kTensorCacheFile)); }

  mlc::testing::TempFolder folder_;
};

TEST_F(Convert, SameBytesForAnyNumberOfThreads) {
  auto source = checkpoint(
      {{"a.weight", {1500, 500}}, {"b.weight", {700, 500}}, {"qkv.weight", {240, 80}}, {"n.weight", {7}}});
  Parameter qkv = linear("qkv.weight", {240, 80});
  qkv.source = SourceExpr::permute(qkv.source, 0, {4, 3, 20}, {1, 0, 2});
  Parameter norm = linear("n.weight", {7});
  norm.role = WeightRole::kOther, norm.force_f32 = true;
  std::vector<Parameter> parameters = {linear("ab.weight", {2200, 500}, {"a.weight", "b.weight"}), qkv, norm};
  for (const char* name : {"q4f16_1", "q4f16_0", "q3f16_0", "q4f32_1", "q0bf16"}) {
    std::vector<std::string> texts;
    for (int threads : {1, 2, 5}) {
      auto plan = make_plan(parameters, {}, *find_quant_scheme(name), source.get(), "the checkpoint");
      ASSERT_TRUE(plan.is_ok()) << plan.status().message();
      std::string to = out(str(name, threads));
      auto result = convert(*plan, *source, to, {.threads = threads});
      ASSERT_TRUE(result.is_ok()) << result.status().message();
      texts.push_back(index_of(to));
    }
    EXPECT_EQ(texts[0], texts[1]) << name;
    EXPECT_EQ(texts[0], texts[2]) << name;
  }
}

// KN is the transpose of NK, and the rows of a fused QKV come out as [3, heads, head_dim].
TEST_F(Convert, LayoutsHoldTheSameNumbers) {
  auto source = checkpoint({{"qkv.weight", {24, 80}}});
  Parameter qkv = linear("qkv.weight", {24, 80});
  qkv.source = SourceExpr::permute(qkv.source, 0, {2, 3, 4}, {1, 0, 2});
  for (const char* name : {"q4f16_1", "q4f16_0"}) {
    auto plan = make_plan({qkv}, {}, *find_quant_scheme(name), source.get(), "the checkpoint");
    ASSERT_TRUE(plan.is_ok());
    ASSERT_TRUE(convert(*plan, *source, out(name), {.threads = 2}).is_ok());
  }
  auto nk = Shards::open(out("q4f16_1")), kn = Shards::open(out("q4f16_0"));
  ASSERT_TRUE(nk.is_ok() && kn.is_ok());
  auto words_nk = (*nk)->bytes(*(*nk)->find("qkv.q_weight")),
       words_kn = (*kn)->bytes(*(*kn)->find("qkv.q_weight"));
  EXPECT_EQ((*kn)->find("qkv.q_weight")->shape, (std::vector<int64_t>{12, 24}));
  std::vector<std::byte> scratch;
  std::vector<float> original(24 * 80);
  std::memcpy(original.data(), source->read(0, scratch).data(), 4 * original.size());
  WeightFormat format = find_quant_scheme("q4f16_1")->linear;
  for (size_t row = 0; row < 24; ++row) {
    for (size_t w = 0; w < 12; ++w)
      EXPECT_EQ(0,
                std::memcmp(words_nk.data() + 4 * (row * 12 + w), words_kn.data() + 4 * (w * 24 + row), 4));
    size_t part = row / 8, head = row / 4 % 2, d = row % 4, from = (head * 3 + part) * 4 + d;
    std::vector<float> expected(original.begin() + static_cast<long>(from * 80),
                                original.begin() + static_cast<long>(from * 80 + 80));
    for (float& v : expected) v = f16_to_f32(f32_to_f16(v));
    std::vector<uint32_t> words(12);
    std::vector<std::byte> scales(6);
    quantize_row_reference(format, expected, words.data(), scales.data());
    EXPECT_EQ(0, std::memcmp(words.data(), words_nk.data() + 48 * row, 48)) << row;
  }
}

// Bytes of `name` as a matrix of rows.
std::vector<std::string> rows_of(const Shards& shards, const std::string& name) {
  const TensorRecord* record = shards.find(name);
  if (!record) return {};
  std::span<const std::byte> bytes = shards.bytes(*record);
  size_t rows = static_cast<size_t>(record->shape[0]), size = bytes.size() / rows;
  std::vector<std::string> result;
  for (size_t r = 0; r < rows; ++r)
    result.emplace_back(reinterpret_cast<const char*>(bytes.data()) + r * size, size);
  return result;
}

std::vector<std::string> join_columns(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::string> result = a;
  for (size_t r = 0; r < b.size(); ++r) result[r] += b[r];
  return result;
}

std::vector<std::string> pick(const std::vector<std::string>& rows, std::vector<std::pair<int, int>> ranges) {
  std::vector<std::string> result;
  for (auto [begin, end] : ranges) result.insert(result.end(), rows.begin() + begin, rows.begin() + end);
  return result;
}

// Parts of 2 ranks hold the bytes of the whole: rows of each segment, or halves of all rows.
TEST_F(Convert, RanksDivideTheBytesOfTheWhole) {
  auto source = checkpoint(
      {{"q.weight", {64, 320}}, {"kv.weight", {64, 320}}, {"qkv.weight", {24, 160}}, {"o.weight", {6, 320}}});
  Parameter fused = linear("fused.weight", {128, 320}, {"q.weight", "kv.weight"}),
            heads = linear("qkv.weight", {24, 160}), o = linear("o.weight", {6, 320});
  fused.sharding = {.axis = 0, .unit = 16, .segments = {64, 32, 32}};
  heads.source = SourceExpr::permute(heads.source, 0, {2, 3, 4}, {1, 0, 2});
  heads.sharding = {.axis = 0, .unit = 4, .segments = {8, 8, 8}};
  o.sharding = {.axis = 1};
  for (const char* name : {"q4f16_1", "q4f16_0", "q3f16_1", "q4f32_1", "q0f16"}) {
    QuantScheme scheme = *find_quant_scheme(name);
    for (int ranks : {0, 2}) {
      auto plan = make_plan({fused, heads, o}, {}, scheme, source.get(), "FILE", {.ranks = ranks});
      ASSERT_TRUE(plan.is_ok()) << plan.status().message();
      ASSERT_TRUE(convert(*plan, *source, out(str(name, ranks)), {.threads = 2}).is_ok());
    }
    auto whole = Shards::open(out(str(name, 0))), parts = Shards::open(out(str(name, 2)));
    ASSERT_TRUE(whole.is_ok() && parts.is_ok());
    bool transposed = scheme.linear.transposed;
    for (const char* what : {"q_weight", "q_scale"}) {
      if (!scheme.quantized) what = "weight";
      auto all = [&](const char* of) { return rows_of(**whole, str(of, ".", what)); };
      auto part = [&](const char* of, int rank) {
        return rows_of(**parts, str(of, ".", what, "_shard-", rank));
      };
      ASSERT_FALSE(all("o").empty()) << name;
      if (transposed) {
        std::vector<std::string> o_parts = part("o", 0), second = part("o", 1);
        o_parts.insert(o_parts.end(), second.begin(), second.end());
        EXPECT_EQ(o_parts, all("o")) << name << what;
        continue;
      }
      EXPECT_EQ(part("fused", 0), pick(all("fused"), {{0, 32}, {64, 80}, {96, 112}})) << name << what;
      EXPECT_EQ(part("fused", 1), pick(all("fused"), {{32, 64}, {80, 96}, {112, 128}})) << name << what;
      EXPECT_EQ(part("qkv", 1), pick(all("qkv"), {{4, 8}, {12, 16}, {20, 24}})) << name << what;
      EXPECT_EQ(join_columns(part("o", 0), part("o", 1)), all("o")) << name << what;
    }
  }
}

TEST_F(Convert, RankCountsThatDoNotFit) {
  auto source = checkpoint({{"a.weight", {96, 96}}});
  Parameter outputs = linear("a.weight", {96, 96}), inputs = outputs;
  outputs.sharding = {.axis = 0, .unit = 16, .segments = {64, 32}};
  inputs.sharding = {.axis = 1};
  auto error = [&](const Parameter& p, const char* scheme, int ranks) {
    auto plan = make_plan({p}, {}, *find_quant_scheme(scheme), source.get(), "FILE", {.ranks = ranks});
    return plan.is_ok() ? "ok" : plan.status().message();
  };
  EXPECT_EQ(error(outputs, "q4f16_1", 2), "ok");
  EXPECT_EQ(
      error(outputs, "q4f16_1", 4),
      "MLC_INTERNAL_PRESHARD_NUM: 4 ranks cannot divide a.weight: its outputs (64 + 32) come in parts of "
      "16; choose a divisor of 2");
  EXPECT_EQ(error(inputs, "q0f16", 2), "ok");
  EXPECT_EQ(error(inputs, "q4f16_1", 3), "ok");  // 3 groups of 32
  EXPECT_EQ(error(inputs, "q4f16_1", 2),
            "MLC_INTERNAL_PRESHARD_NUM: 2 ranks cannot divide a.weight: its inputs (96) come in parts of 32; "
            "choose a divisor of 3");
  for (const char* text : {"0", "-1", "two", "2x", "", "99999999999"}) {
    auto count = parse_rank_count(text);
    ASSERT_FALSE(count.is_ok()) << text;
    EXPECT_EQ(count.status().message().find("MLC_INTERNAL_PRESHARD_NUM: "), 0u);
  }
  EXPECT_EQ(*parse_rank_count("8"), 8);
}

TEST_F(Convert, ARerunKeepsFinishedShards) {
  auto source = checkpoint(
      {{"big.weight", {8600, 1000}}, {"small.weight", {10, 1000}}});  // 17.2 MB of float16: a shard alone
  QuantScheme scheme = *find_quant_scheme("q0f16");
  std::vector<Parameter> parameters = {linear("big.weight", {8600, 1000}),
                                       linear("small.weight", {10, 1000})};
  parameters.push_back(linear("big2.weight", {8600, 1000}, {"big.weight"}));
  auto make = [&] { return make_plan(parameters, {}, scheme, source.get(), "the checkpoint"); };
  auto plan = make();
  ASSERT_TRUE(plan.is_ok()) << plan.status().message();
  ASSERT_EQ(plan->index.shards.size(), 2u);
  std::string to = out("result");
  ASSERT_TRUE(convert(*plan, *source, to, {.threads = 2}).is_ok());
  std::string complete = index_of(to);
  // As after an interruption: the journal names shard 0, there is no index, and shard 1 is not there.
  plan = make();
  {
    auto journal = Journal::open(to, conversion_fingerprint(*plan, *source), *plan);
    ASSERT_TRUE(journal.is_ok());
    ASSERT_TRUE((*journal)->add("params_shard_0.bin").is_ok());
  }
  std::filesystem::remove(path_join(to, kTensorCacheFile));
  std::filesystem::remove(path_join(to, "params_shard_1.bin"));
  struct stat before{}, after{};
  ::stat(path_join(to, "params_shard_0.bin").c_str(), &before);
  auto result = convert(*plan, *source, to, {.threads = 2});
  ASSERT_TRUE(result.is_ok()) << result.status().message();
  EXPECT_EQ(result->kept_shards, 1);
  ::stat(path_join(to, "params_shard_0.bin").c_str(), &after);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_EQ(index_of(to), complete);
  EXPECT_FALSE(file_exists(path_join(to, kJournalFile)));
  // A journal of another conversion counts for nothing.
  ASSERT_TRUE(write_file(path_join(to, kJournalFile), "00\nparams_shard_0.bin\n").is_ok());
  plan = make();
  result = convert(*plan, *source, to, {.threads = 2});
  ASSERT_TRUE(result.is_ok());
  EXPECT_EQ(result->kept_shards, 0);
  EXPECT_EQ(index_of(to), complete);
}

TEST_F(Convert, WrongCheckpointsGetOneSentence) {
  auto source = checkpoint({{"a.weight", {64, 32}}, {"b.weight", {64, 16}}});
  QuantScheme scheme = *find_quant_scheme("q4f16_1");
  auto error = [&](std::vector<Parameter> parameters) {
    auto plan = make_plan(parameters, {}, scheme, source.get(), "FILE");
    return plan.is_ok() ? "ok" : plan.status().message();
  };
  Parameter a = linear("a.weight", {64, 32}), b = linear("b.weight", {64, 16});
  EXPECT_EQ(error({a, b}), "ok");
  std::string missing = error({a, b, linear("x", {1, 1}, {"a.wieght"})});
  EXPECT_EQ(missing.find("FILE: tensor 'a.wieght' is missing, needed for x; did you mean 'a.weight'?"), 0u)
      << missing;
  std::string shape = error({a, linear("b.weight", {64, 32})});
  EXPECT_NE(shape.find("tensor 'b.weight' has shape [64, 16], expected [64, 32] for b.weight"),
            std::string::npos)
      << shape;
  std::string together = error({b, linear("aa.weight", {200, 32}, {"a.weight", "a.weight"})});
  EXPECT_NE(together.find("have shapes [64, 32] + [64, 32], expected [200, 32] together"), std::string::npos)
      << together;
  EXPECT_EQ(error({a}), "ok");  // b.weight is noted: src/weights/extra_test.cpp
}

TEST_F(Convert, NothingHalfWrittenWhereTheDiskRefuses) {
  auto source = checkpoint({{"a.weight", {64, 32}}});
  auto plan =
      make_plan({linear("a.weight", {64, 32})}, {}, *find_quant_scheme("q4f16_1"), source.get(), "FILE");
  ASSERT_TRUE(plan.is_ok());
  std::string to = out("blocked");
  std::filesystem::create_directories(
      path_join(to, "params_shard_0.bin"));  // a directory where the shard should go
  auto result = convert(*plan, *source, to, {});
  ASSERT_FALSE(result.is_ok());
  EXPECT_FALSE(file_exists(path_join(to, kTensorCacheFile)));
  for (const auto& entry : std::filesystem::directory_iterator(to))
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << entry.path();
}

}  // namespace
}  // namespace mlc::weights
