// One interface over all formats: detection, arrival order, values, GGUF names and moved rows, and mutated
// files.
#include "formats/checkpoint.h"

#include <gtest/gtest.h>

#include "base/half.h"
#include "formats/build_files.h"
#include "support/temp_folder.h"

namespace mlc {
namespace {

using testing::GgufFile;
using testing::packed;
using testing::TempFolder;
using testing::TorchFile;
using testing::unpacked;

std::string small_safetensors(const std::string& name) {
  return testing::safetensors(R"({")" + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                              packed<float>({1, 2}));
}
std::string small_torch(const std::string& name) {
  return TorchFile()
      .tensor(name, "FloatStorage", "0", 2, 0, {2}, {1})
      .storage("0", packed<float>({3, 4}))
      .build();
}

// A llama of 1 layer, hidden 8, 2 heads of 4, 1 KV head; row r of q and k holds r in the file's order.
GgufFile small_llama() {
  GgufFile f;
  f.text("general.architecture", "llama")
      .count("llama.block_count", 1)
      .count("llama.context_length", 64)
      .count("llama.embedding_length", 8);
  f.count("llama.feed_forward_length", 16)
      .count("llama.attention.head_count", 2)
      .count("llama.attention.head_count_kv", 1);
  f.real("llama.attention.layer_norm_rms_epsilon", 1e-5f).real("llama.rope.freq_base", 100000.f);
  f.text("tokenizer.ggml.model", "gpt2")
      .text("tokenizer.ggml.pre", "smollm")
      .texts("tokenizer.ggml.tokens", {"<s>", "a", "b", "ab"});
  f.texts("tokenizer.ggml.merges", {"a b"}).array<int32_t>("tokenizer.ggml.token_type", 5, {3, 1, 1, 1});
  f.count("tokenizer.ggml.bos_token_id", 0).count("tokenizer.ggml.padding_token_id", 0xFFFFFFFF);
  std::vector<float> q, k;
  for (int row = 0; row < 8; ++row) q.insert(q.end(), 8, static_cast<float>(row));
  for (int row = 0; row < 4; ++row) k.insert(k.end(), 8, static_cast<float>(row));
  f.tensor("token_embd.weight", {8, 4}, 0, packed(std::vector<float>(32, 1)));
  f.tensor("blk.0.attn_q.weight", {8, 8}, 0, packed(q)).tensor("blk.0.attn_k.weight", {8, 4}, 0, packed(k));
  f.tensor("blk.0.attn_norm.weight", {8}, 0, packed(std::vector<float>(8, 2)));
  return f;
}

std::string open_problem(const std::string& path, SourceFormat format = SourceFormat::kAuto) {
  auto c = Checkpoint::open(path, format);
  return c.is_ok() ? "" : c.status().message();
}

std::vector<float> floats(const Checkpoint& c, std::string_view name) {
  std::vector<std::byte> buffer;
  int index = c.find(name);
  EXPECT_GE(index, 0) << name;
  return index < 0 ? std::vector<float>() : unpacked<float>(c.read(index, buffer));
}

TEST(Checkpoint, TorchWinsThenSafetensorsThenGguf) {
  TempFolder folder;
  EXPECT_NE(open_problem(folder.path()).find("no weights; expected one of pytorch_model.bin.index.json"),
            std::string::npos);
  folder.write("x.gguf", small_llama().build());
  EXPECT_EQ(Checkpoint::open(folder.path()).value()->format(), SourceFormat::kGguf);
  folder.write("model.safetensors", small_safetensors("s"));
  EXPECT_EQ(Checkpoint::open(folder.path()).value()->tensors()[0].name, "s");
  folder.write("pytorch_model.bin", small_torch("t"));
  EXPECT_EQ(Checkpoint::open(folder.path()).value()->tensors()[0].name, "t");
  EXPECT_EQ(Checkpoint::open(folder.path(), SourceFormat::kSafetensors).value()->tensors()[0].name, "s");
  EXPECT_EQ(Checkpoint::open(folder.path(), SourceFormat::kGguf).value()->format(), SourceFormat::kGguf);
  folder.write("y.gguf", small_llama().build());
  EXPECT_NE(open_problem(folder.path(), SourceFormat::kGguf).find("2 GGUF files (x.gguf, y.gguf"),
            std::string::npos);
  EXPECT_NE(open_problem(folder.file("model.safetensors"), SourceFormat::kTorch).find("--source-format"),
            std::string::npos);
  EXPECT_NE(open_problem(folder.file("absent.bin")).find("no such file"), std::string::npos);
  EXPECT_NE(open_problem(folder.write("model.onnx", "x")).find("unknown kind of checkpoint"),
            std::string::npos);
}

TEST(Checkpoint, FormatFlag) {
  EXPECT_EQ(parse_source_format("huggingface-torch").value(), SourceFormat::kTorch);
  EXPECT_EQ(parse_source_format("awq").value(), SourceFormat::kAuto);
  EXPECT_NE(parse_source_format("huggingface-safetensors")
                .status()
                .message()
                .find("did you mean 'huggingface-safetensor'"),
            std::string::npos);
}

TEST(Checkpoint, IndexGivesTheOrder) {
  TempFolder folder;
  std::string header =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})";
  folder.write("m-1.safetensors", testing::safetensors(header, "ab"));
  folder.write("m-2.safetensors", small_safetensors("c"));
  std::string index =
      folder.write("model.safetensors.index.json",
                   R"({"weight_map":{"b":"m-1.safetensors","c":"m-2.safetensors","a":"m-1.safetensors"}})");
  auto c = Checkpoint::open(folder.path()).value();
  std::vector<std::string> names;
  for (const SourceTensor& t : c->tensors()) names.push_back(t.name);
  EXPECT_EQ(names, (std::vector<std::string>{"b", "a", "c"}));
  EXPECT_EQ(c->tensors()[2].file, 1);
  EXPECT_EQ(floats(*c, "c"), (std::vector<float>{1, 2}));
  EXPECT_EQ(c->find("d"), -1);

  folder.write("model.safetensors.index.json", R"({"weight_map":{"b":"m-3.safetensors"}})");
  EXPECT_NE(open_problem(index).find("m-3.safetensors: missing"), std::string::npos);
  folder.write("m.txt", "");
  folder.write("model.safetensors.index.json", R"({"weight_map":{"b":"m.txt"}})");
  EXPECT_NE(open_problem(index).find("m.txt: empty, expected weights"), std::string::npos);
  folder.write("m.txt", small_safetensors("b"));
  EXPECT_EQ(open_problem(index), "") << "the content counts";
}

TEST(Checkpoint, TorchViewsAndBfloat16) {
  TempFolder folder;
  TorchFile f;
  f.tensor("t", "FloatStorage", "0", 6, 0, {3, 2}, {1, 3})
      .tensor("bf", "BFloat16Storage", "1", 4, 1, {3}, {1});
  f.tensor("bft", "BFloat16Storage", "1", 4, 0, {2, 2}, {1, 2});
  f.storage("0", packed<float>({0, 1, 2, 3, 4, 5}));
  f.storage("1", packed<uint16_t>({f32_to_bf16(1), f32_to_bf16(2), f32_to_bf16(-3), f32_to_bf16(0.5f)}));
  auto c = Checkpoint::open(folder.write("pytorch_model.bin", f.build())).value();
  EXPECT_EQ(floats(*c, "t"), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(c->tensors()[1].dtype, DType::kF32);
  EXPECT_EQ(c->tensors()[1].stored_type, "bfloat16");
  EXPECT_EQ(c->tensors()[1].byte_size, 12);
  EXPECT_EQ(floats(*c, "bf"), (std::vector<float>{2, -3, 0.5f}));
  EXPECT_EQ(floats(*c, "bft"), (std::vector<float>{1, -3, 2, 0.5f}));
  std::vector<std::byte> buffer;
  EXPECT_EQ(unpacked<float>(c->read_rows(0, 1, 3, buffer)), (std::vector<float>{1, 4, 2, 5}));
  EXPECT_EQ(unpacked<float>(c->read_rows(2, 1, 2, buffer)), (std::vector<float>{2, 0.5f}));
  EXPECT_TRUE(c->read_rows(0, 1, 1, buffer).empty());
  c->release(0);
  EXPECT_EQ(floats(*c, "t"), (std::vector<float>{0, 3, 1, 4, 2, 5}));
}

TEST(Checkpoint, GgufNamesRowsAndConfig) {
  TempFolder folder;
  auto c = Checkpoint::open(folder.write("m.gguf", small_llama().build())).value();
  std::vector<float> q = floats(*c, "model.layers.0.self_attn.q_proj.weight"),
                     k = floats(*c, "model.layers.0.self_attn.k_proj.weight");
  // Row h*4 + j*2 + i of Hugging Face lies at h*4 + 2*i + j.
  std::vector<float> q_rows, k_rows;
  for (size_t row = 0; row < 8; ++row) q_rows.push_back(q[row * 8]);
  for (size_t row = 0; row < 4; ++row) k_rows.push_back(k[row * 8]);
  EXPECT_EQ(q_rows, (std::vector<float>{0, 2, 1, 3, 4, 6, 5, 7}));
  EXPECT_EQ(k_rows, (std::vector<float>{0, 2, 1, 3}));
  GgufBlocks blocks = *c->blocks(c->find("model.layers.0.self_attn.q_proj.weight"));
  EXPECT_EQ(blocks.rows, 8);
  EXPECT_EQ(blocks.row_bytes, 32);
  EXPECT_EQ(blocks.stored_row(6), 5);
  std::vector<std::byte> buffer;
  auto part = unpacked<float>(c->read_rows(c->find("model.layers.0.self_attn.q_proj.weight"), 5, 6, buffer));
  EXPECT_EQ(part, std::vector<float>(8, 6));
  EXPECT_EQ(floats(*c, "model.layers.0.input_layernorm.weight"), std::vector<float>(8, 2));

  Json config = c->gguf_config().value();
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["architectures"], Json::array({"LlamaForCausalLM"}));
  EXPECT_EQ(config["head_dim"], 4);
  EXPECT_EQ(config["num_key_value_heads"], 1);
  EXPECT_EQ(config["rms_norm_eps"].dump(), "1e-05");
  EXPECT_EQ(config["rope_theta"].dump(), "100000.0");
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["temperature"], 0.7);  // the file says nothing of sampling
  EXPECT_EQ(config["top_p"], 0.95);
  EXPECT_EQ(config["vocab_size"], 4);
  EXPECT_FALSE(config.contains("rope_scaling"));
  GgufTokenizer tokenizer = c->gguf_tokenizer().value();
  EXPECT_EQ(tokenizer.tokens.size(), 4u);
  EXPECT_EQ(tokenizer.merges, (std::vector<std::string>{"a b"}));
  EXPECT_EQ(tokenizer.token_types, (std::vector<int32_t>{3, 1, 1, 1}));
  EXPECT_EQ(tokenizer.bos_id, 0);
  EXPECT_FALSE(tokenizer.padding_id.has_value());
  EXPECT_EQ(tokenizer.pre, "smollm");
}

TEST(Checkpoint, GgufBlocksBecomeFloats) {
  TempFolder folder;
  GgufFile f = small_llama();
  std::string block =
      testing::Bytes().put(f32_to_f16(0.5f)).raw(std::string(16, '\x19')).data;  // low nibble 9, high 1
  f.tensor("blk.0.ffn_up.weight", {32, 2}, 2, block + block);
  auto c = Checkpoint::open(folder.write("m.gguf", f.build())).value();
  int index = c->find("model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(c->tensors()[static_cast<size_t>(index)].stored_type, "Q4_0");
  EXPECT_EQ(c->tensors()[static_cast<size_t>(index)].dtype, DType::kF32);
  std::vector<float> values = floats(*c, "model.layers.0.mlp.up_proj.weight");
  ASSERT_EQ(values.size(), 64u);
  EXPECT_EQ(values[0], 0.5f * (9 - 8));
  EXPECT_EQ(values[63], 0.5f * (1 - 8));
  EXPECT_EQ(c->blocks(index)->row_bytes, 18);
}

TEST(Checkpoint, NeoxRowsComeBack) {
  RowOrder order{RowOrder::Kind::kNeoxQkv, 2};
  std::vector<int64_t> stored;
  for (int64_t row = 0; row < 12; ++row)
    stored.push_back(order.stored_row(row, 12));  // 2 heads x (q, k, v) x 2
  EXPECT_EQ(stored, (std::vector<int64_t>{0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11}));
}

TEST(Checkpoint, Llama3ScalingIsRecognised) {
  TempFolder folder;
  GgufFile f = small_llama();
  f.count("llama.attention.key_length", 8);
  std::vector<float> factors;  // head_dim 8, theta 100000, factor 32
  for (int i = 0; i < 4; ++i) {
    double wavelength = 2 * M_PI * std::pow(100000.0, i / 4.0), smooth = (8192 / wavelength - 1) / 3;
    factors.push_back(static_cast<float>(smooth >= 1   ? 1
                                         : smooth <= 0 ? 32
                                                       : 1 / ((1 - smooth) / 32 + smooth)));
  }
  GgufFile wrong = f;
  f.tensor("rope_freqs.weight", {4}, 0, packed(factors));
  auto c = Checkpoint::open(folder.write("m.gguf", f.build())).value();
  EXPECT_EQ(c->find("rope_freqs.weight"), -1);
  Json scaling = c->gguf_config().value()["rope_scaling"];
  EXPECT_EQ(scaling["rope_type"], "llama3");
  EXPECT_EQ(scaling["factor"], 32);
  factors[0] = 3;
  wrong.tensor("rope_freqs.weight", {4}, 0, packed(factors));
  c = Checkpoint::open(folder.write("w.gguf", wrong.build())).value();
  EXPECT_NE(c->gguf_config().status().message().find("expected the rope factors of Llama 3"),
            std::string::npos);
  GgufFile none = small_llama();
  none.count("llama.attention.key_length", 1);
  none.tensor("rope_freqs.weight", {0}, 0, "");
  c = Checkpoint::open(folder.write("n.gguf", none.build())).value();
  EXPECT_NE(c->gguf_config().status().message().find("expected the rope factors of Llama 3"),
            std::string::npos);
}

TEST(Checkpoint, BadGgufModels) {
  TempFolder folder;
  auto problem = [&](const GgufFile& f) { return open_problem(folder.write("m.gguf", f.build())); };
  EXPECT_NE(
      problem(GgufFile().text("general.architecture", "mamba")).find("expected one of llama, qwen2, gptneox"),
      std::string::npos);
  EXPECT_NE(problem(small_llama().number<uint16_t>("split.count", 2, 3))
                .find("part 1 of a GGUF model in 3 parts, and part 2 is missing"),
            std::string::npos);
  auto config_problem = [&](const GgufFile& f) {
    auto c = Checkpoint::open(folder.write("m.gguf", f.build()));
    return c.is_ok() ? c.value()->gguf_config().status().message() : c.status().message();
  };
  GgufFile bare;
  bare.text("general.architecture", "llama");
  EXPECT_NE(config_problem(bare).find("llama.attention.head_count is missing"), std::string::npos);
  bare.count("llama.attention.head_count", 0);
  EXPECT_NE(config_problem(bare).find("head_count is 0; expected an integer from 1"), std::string::npos);
}

TEST(Checkpoint, GgufTensorsThatCannotBeReadSayWhy) {
  TempFolder folder;
  GgufFile f = small_llama();
  f.tensor("blk.0.attn_qq.weight", {1}, 0, "xxxx")
      .tensor("blk.1.attn_q.weight", {2, 3}, 0, std::string(24, 'x'));
  f.tensor("output.weight", {256}, 17, std::string(70, 'x'))
      .tensor("blk.0.attn_k.bias", {4}, 0, packed<float>({0, 1, 2, 3}));
  f.tensor("huge.weight", {uint64_t{1} << 62, 0}, 0, "");
  auto c = Checkpoint::open(folder.write("m.gguf", f.build())).value();
  EXPECT_EQ(c->blocks(c->find("huge.weight"))->row_bytes, 0)
      << "a dimension of an empty tensor does not overflow";
  auto unread = [&](std::string_view name) {
    return c->tensors()[static_cast<size_t>(c->find(name))].unread;
  };
  EXPECT_EQ(unread("blk.0.attn_qq.weight"), "") << "of no parameter, under its own name";
  EXPECT_NE(unread("model.layers.1.self_attn.q_proj.weight").find("expected rows in 2 heads"),
            std::string::npos);
  EXPECT_TRUE(unread("lm_head.weight").starts_with("has type IQ2_XS; expected one of"));
  EXPECT_EQ(floats(*c, "model.layers.0.self_attn.k_proj.bias"), (std::vector<float>{0, 2, 1, 3}))
      << "behind an unknown length";
}

// Every truncation and many single-byte changes of each format open or fail with a sentence, and what opens
// can be read.
TEST(Checkpoint, MutatedFilesNeverMisbehave) {
  TempFolder folder;
  TorchFile torch;
  torch.tensor("t", "FloatStorage", "0", 6, 0, {3, 2}, {1, 3}).storage("0", std::string(24, 'x'));
  struct {
    const char* name;
    std::string bytes;
  } const files[] = {
      {"m.safetensors", small_safetensors("a")}, {"m.bin", torch.build()}, {"m.gguf", small_llama().build()}};
  std::vector<std::byte> buffer;
  for (const auto& [name, sound] : files) {
    auto try_open = [&](const std::string& bytes) {
      auto c = Checkpoint::open(folder.write(name, bytes));
      if (!c.is_ok()) {
        EXPECT_TRUE(c.status().message().starts_with(folder.file(name))) << c.status().message();
        return;
      }
      for (size_t i = 0; i < c.value()->tensors().size(); ++i) {
        auto read = c.value()->read(static_cast<int>(i), buffer);
        EXPECT_EQ(static_cast<int64_t>(read.size()), c.value()->tensors()[i].byte_size);
      }
      (void)c.value()->gguf_config();
      (void)c.value()->gguf_tokenizer();
    };
    for (size_t length = 0; length < sound.size(); length += 1 + sound.size() / 400) {
      auto c = Checkpoint::open(folder.write(name, sound.substr(0, length)));
      EXPECT_FALSE(c.is_ok()) << name << " cut to " << length;
    }
    uint32_t random = 12345;
    for (int i = 0; i < 600; ++i) {
      std::string bytes = sound;
      for (int flips = 0; flips < 1 + i % 2; ++flips) {
        random = random * 1664525 + 1013904223;
        bytes[(random >> 8) % bytes.size()] = static_cast<char>(i % 3 == 0   ? 0xFF
                                                                : i % 3 == 1 ? 0
                                                                             : random >> 4);
      }
      try_open(bytes);
    }
  }
}

}  // namespace
}  // namespace mlc
