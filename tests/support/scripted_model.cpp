// Writes scripted models.
#include "support/scripted_model.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "base/file.h"
#include "formats/build_files.h"

namespace mlc::testing {

const char* const kChatml =
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% "
    "endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const char* const kTurnOnly =
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' }}{% endfor "
    "%}";

namespace {

constexpr int64_t kHeadDim = 64, kInner = 64;

bool is_plain(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

std::string utf8(int code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

// Every byte in GPT-2's order of ids, with the character that stands for it.
std::vector<std::pair<int, std::string>> byte_characters() {
  std::vector<std::pair<int, std::string>> all;
  for (int byte = 0; byte < 256; ++byte)
    if (is_plain(byte)) all.push_back({byte, utf8(byte)});
  for (int byte = 0, other = 0; byte < 256; ++byte)
    if (!is_plain(byte)) all.push_back({byte, utf8(256 + other++)});
  return all;
}

std::string printable(const std::string& bytes) {
  static const std::vector<std::pair<int, std::string>> all = byte_characters();
  std::string text;
  for (unsigned char byte : bytes)
    text +=
        std::find_if(all.begin(), all.end(), [&](const auto& entry) { return entry.first == byte; })->second;
  return text;
}

Json tokenizer_json(const Json& vocabulary, const Json& merges, const Json& added) {
  Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  Json model = {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", false},
                {"byte_fallback", false},
                {"ignore_merges", false},
                {"vocab", vocabulary},
                {"merges", merges}};
  return {{"version", "1.0"},          {"truncation", nullptr}, {"padding", nullptr},
          {"added_tokens", added},     {"normalizer", nullptr}, {"pre_tokenizer", byte_level},
          {"post_processor", nullptr}, {"decoder", byte_level}, {"model", model}};
}

// Width that has a dimension per token and whole heads.
int64_t width_of(const ScriptedModel& model) {
  return (model.vocab_size() + kHeadDim - 1) / kHeadDim * kHeadDim;
}

struct Tensor {
  std::string name, gguf_name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// Any numbers do: what they make is multiplied by zero.
std::vector<float> noise(int64_t count) {
  std::vector<float> values;
  uint32_t state = 1;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    values.push_back((static_cast<float>(state >> 8) / 8388608.0f - 1.0f) * 0.1f);
  }
  return values;
}

std::vector<Tensor> tensors_of(const ScriptedModel& model) {
  const int64_t vocab = model.vocab_size(), width = width_of(model);
  auto filled = [](int64_t count, float value) {
    return std::vector<float>(static_cast<size_t>(count), value);
  };
  std::vector<float> embedding = filled(vocab * width, 0), head = filled(vocab * width, 0);
  for (int64_t token = 0; token < vocab; ++token) {
    embedding[static_cast<size_t>(token * width + token)] = 1;
    head[static_cast<size_t>(model.next[static_cast<size_t>(token)] * width + token)] = 5;
  }
  std::vector<Tensor> all = {{"model.embed_tokens", "token_embd", {vocab, width}, embedding},
                             {"model.norm", "output_norm", {width}, filled(width, 1)},
                             {"lm_head", "output", {vocab, width}, head}};
  auto block = [&](const std::string& name, const std::string& gguf_name, std::vector<int64_t> shape,
                   std::vector<float> values) {
    all.push_back({"model.layers.0." + name, "blk.0." + gguf_name, std::move(shape), std::move(values)});
  };
  for (const char* part : {"q", "k", "v"})
    block(std::string("self_attn.") + part + "_proj", std::string("attn_") + part, {width, width},
          noise(width * width));
  block("self_attn.o_proj", "attn_output", {width, width}, filled(width * width, 0));
  block("mlp.gate_proj", "ffn_gate", {kInner, width}, noise(kInner * width));
  block("mlp.up_proj", "ffn_up", {kInner, width}, noise(kInner * width));
  block("mlp.down_proj", "ffn_down", {width, kInner}, filled(width * kInner, 0));
  block("input_layernorm", "attn_norm", {width}, filled(width, 1));
  block("post_attention_layernorm", "ffn_norm", {width}, filled(width, 1));
  return all;
}

std::string safetensors_of(const ScriptedModel& model) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const Tensor& tensor : tensors_of(model)) {
    std::string bytes = packed(tensor.values);
    header[tensor.name + ".weight"] = {{"dtype", "F32"},
                                       {"shape", tensor.shape},
                                       {"data_offsets", {data.size(), data.size() + bytes.size()}}};
    data += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return safetensors(text, data);
}

void lay_over(Json& object, const Json& changes) {
  for (const auto& [key, value] : changes.items()) {
    if (value.is_discarded())
      object.erase(key);
    else
      object[key] = value;
  }
}

void write(const std::string& path, const std::string& bytes) {
  if (Status status = write_file(path, bytes); !status.is_ok()) throw std::runtime_error(status.message());
}

}  // namespace

int32_t ScriptedModel::id(const std::string& token) const { return ids.at(token); }

ScriptedModel scripted(const Script& script) {
  ScriptedModel model;
  Json vocabulary = Json::object(), merges = Json::array(), added = Json::array();
  auto add = [&](const std::string& token, const std::string& text) {
    auto id = static_cast<int32_t>(model.ids.size());
    if (model.ids.emplace(token, id).second) vocabulary[text] = id;
  };
  std::vector<std::pair<int, std::string>> bytes = byte_characters();
  if (!script.gpt2_order) std::sort(bytes.begin(), bytes.end());
  for (const auto& [byte, text] : bytes) add(std::string(1, static_cast<char>(byte)), text);
  for (const auto& [left, right] : script.merges) {
    add(left + right, printable(left + right));
    merges.push_back({printable(left), printable(right)});
  }
  for (const std::string& special : script.specials) {
    auto id = static_cast<int32_t>(model.ids.size());
    model.ids.emplace(special, id);
    added.push_back({{"id", id},
                     {"content", special},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  model.tokenizer = tokenizer_json(vocabulary, merges, added);
  model.end = script.end;
  model.next.assign(model.ids.size(), model.id(script.fallback.empty() ? script.end : script.fallback));
  std::string last = script.start;
  for (const std::string& token : script.answer) model.follow(last, token), last = token;
  if (!script.answer.empty()) model.follow(last, script.loop ? script.answer.front() : script.end);
  return model;
}

ScriptedModel hi() { return scripted({.answer = {"H", "i"}}); }

Json dropped() { return Json(Json::value_t::discarded); }

std::string write_folder(const std::string& folder, const ScriptedModel& model, const Changes& changes) {
  const int64_t width = width_of(model);
  Json config = {{"architectures", {"LlamaForCausalLM"}},
                 {"model_type", "llama"},
                 {"hidden_size", width},
                 {"intermediate_size", kInner},
                 {"num_hidden_layers", 1},
                 {"num_attention_heads", width / kHeadDim},
                 {"num_key_value_heads", width / kHeadDim},
                 {"rms_norm_eps", 1e-6},
                 {"vocab_size", model.vocab_size()},
                 {"max_position_embeddings", 512},
                 {"hidden_act", "silu"},
                 {"rope_theta", 10000.0},
                 {"tie_word_embeddings", false},
                 {"bos_token_id", nullptr},
                 {"eos_token_id", model.id(model.end)},
                 {"torch_dtype", "float32"}};
  Json tokenizer_config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                           {"eos_token", model.end},
                           {"clean_up_tokenization_spaces", false}};
  if (!changes.chat_template.empty()) tokenizer_config["chat_template"] = changes.chat_template;
  Json generation = {{"temperature", 0.0}};
  lay_over(config, changes.config), lay_over(tokenizer_config, changes.tokenizer_config),
      lay_over(generation, changes.generation);
  std::map<std::string, std::string> files = {{"config.json", config.dump(1)},
                                              {"tokenizer.json", model.tokenizer.dump(1)},
                                              {"tokenizer_config.json", tokenizer_config.dump(1)},
                                              {"generation_config.json", generation.dump(1)},
                                              {"model.safetensors", safetensors_of(model)}};
  for (const auto& [name, content] : changes.files) files[name] = content;
  for (const std::string& name : changes.without) files.erase(name);
  if (Status made = make_directories(folder); !made.is_ok()) throw std::runtime_error(made.message());
  for (const auto& [name, content] : files) write(path_join(folder, name), content);
  return folder;
}

namespace {

// GGUF keeps the two numbers that llama's rotation turns side by side; Hugging Face keeps them half a head
// apart.
std::vector<float> side_by_side(const Tensor& tensor) {
  const int64_t rows = tensor.shape[0], columns = tensor.shape[1], half = kHeadDim / 2;
  std::vector<float> out(tensor.values.size());
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t within = row % kHeadDim, to = row - within + within % half * 2 + within / half;
    std::copy_n(tensor.values.begin() + row * columns, columns, out.begin() + to * columns);
  }
  return out;
}

void add_tokenizer(GgufFile& file, const ScriptedModel& model, const GgufChanges& changes) {
  std::vector<std::string> tokens(model.ids.size()), merges;
  std::vector<int32_t> types(model.ids.size(), 1);  // normal
  for (const auto& [text, id] : model.tokenizer["model"]["vocab"].items()) tokens[id.get<size_t>()] = text;
  for (const Json& added : model.tokenizer["added_tokens"]) {
    tokens[added["id"].get<size_t>()] = added["content"].get<std::string>();
    types[added["id"].get<size_t>()] = 3;  // control
  }
  for (const Json& pair : model.tokenizer["model"]["merges"])
    merges.push_back(pair[0].get<std::string>() + " " + pair[1].get<std::string>());
  file.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", changes.pre);
  file.texts("tokenizer.ggml.tokens", tokens).array<int32_t>("tokenizer.ggml.token_type", 5, types);
  if (changes.merges) file.texts("tokenizer.ggml.merges", merges);
  if (changes.end_token)
    file.count("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(model.id(model.end)));
  if (!changes.chat_template.empty()) file.text("tokenizer.chat_template", changes.chat_template);
}

}  // namespace

std::string write_gguf(const std::string& path, const ScriptedModel& model, const GgufChanges& changes) {
  const auto width = static_cast<uint32_t>(width_of(model)), heads = width / static_cast<uint32_t>(kHeadDim);
  const std::string prefix = changes.architecture + ".";
  GgufFile file;
  file.text("general.architecture", changes.architecture)
      .count(prefix + "context_length", 512)
      .count(prefix + "block_count", 1);
  file.count(prefix + "embedding_length", width)
      .count(prefix + "feed_forward_length", static_cast<uint32_t>(kInner));
  file.count(prefix + "attention.head_count", heads).count(prefix + "attention.head_count_kv", heads);
  file.real(prefix + "attention.layer_norm_rms_epsilon", 1e-6f).real(prefix + "rope.freq_base", 10000.0f);
  file.count("general.file_type", 0);
  add_tokenizer(file, model, changes);
  for (const auto& [key, value] : changes.texts) file.text(key, value);
  for (const Tensor& tensor : tensors_of(model)) {
    bool rotated = tensor.name.ends_with(".q_proj") || tensor.name.ends_with(".k_proj");
    std::vector<uint64_t> inner_first(tensor.shape.rbegin(), tensor.shape.rend());
    file.tensor(tensor.gguf_name + ".weight", inner_first, 0,
                packed(rotated ? side_by_side(tensor) : tensor.values));
  }
  write(path, file.build());
  return path;
}

}  // namespace mlc::testing
